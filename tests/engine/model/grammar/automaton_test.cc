#include "engine/model/grammar/automaton.h"

#include <set>
#include <string>

#include "engine/model/grammar/gbnf_parser.h"
#include "tests/support/status_matchers.h"

namespace baton {
namespace {

absl::StatusOr<GrammarAutomaton> Compile(const std::string& text, GrammarLimits limits = {}) {
  limits.text_bytes_max = size_t{1} << 24;
  const auto rules = ParseGbnf(text, limits);
  REQUIRE_OK(rules);
  return CompileGrammar(*rules, limits);
}

TEST_CASE("left recursion is found and its rules are named", "[grammar]") {
  const auto check = [](const std::string& text, const std::string& message) {
    INFO(text);
    REQUIRE_STATUS(Compile(text), absl::StatusCode::kInvalidArgument, message);
  };
  check("root ::= root \"a\" | \"a\"", "left recursion, root -> root without a character between");
  check("root ::= \"x\" a\na ::= b\nb ::= (c)*\nc ::= a \"y\" | \"z\"", "a -> b -> c -> a");
  check("root ::= \"\" empty root \"a\" | \"b\"\nempty ::= \"e\"?", "root -> root");
  check("root ::= (\"a\"? root)+ ", "root -> root");
  check("root ::= (\"\"){2} root", "root -> root");
  check(R"(root ::= a
a ::= b
b ::= c
c ::= d
d ::= e
e ::= f
f ::= g
g ::= h
h ::= i
i ::= a)",
        "a -> b -> c -> d -> e -> f -> g -> h -> ... -> a without");
  REQUIRE_OK(Compile("root ::= \"(\" root \")\" root | \"\""));
  REQUIRE_OK(Compile("root ::= \"a\" root | \"a\""));
}

TEST_CASE("a grammar that matches nothing is refused, a part that does is left out", "[grammar]") {
  const char* const kNothing = "root cannot match any text";
  REQUIRE_STATUS(Compile("root ::= \"a\" root"), absl::StatusCode::kInvalidArgument, kNothing);
  REQUIRE_STATUS(Compile("root ::= \"a\" []"), absl::StatusCode::kInvalidArgument, kNothing);
  REQUIRE_STATUS(Compile("root ::= a\na ::= \"x\" b\nb ::= \"y\" a"),
                 absl::StatusCode::kInvalidArgument, kNothing);
  const auto automaton =
      Compile("root ::= \"a\" | \"b\" b | [] | \"c\" ([]{3} \"d\")\nb ::= \"x\" b");
  REQUIRE_OK(automaton);
  const auto bytes = automaton->Bytes(automaton->states[automaton->root]);
  REQUIRE(bytes.size() == 1);
  CHECK(bytes[0].low == 'a');
  CHECK(bytes[0].high == 'a');
}

TEST_CASE("an expression becomes deterministic", "[grammar]") {
  const auto automaton = Compile("root ::= (\"ab\" | \"ac\" | [a-f] \"d\")* \"ae\"");
  REQUIRE_OK(automaton);
  for (const GrammarState& state : automaton->states) {
    int end = -1;
    for (const ByteEdge& edge : automaton->Bytes(state)) {
      CHECK(edge.low > end);
      end = edge.high;
    }
  }
}

TEST_CASE("what would be too large is refused by its limit", "[grammar]") {
  REQUIRE_STATUS(Compile("root ::= \"ab\"{50}", {.states_max = 100}),
                 absl::StatusCode::kInvalidArgument, "more than 100 states");
  REQUIRE_STATUS(Compile("root ::= [a-b]{50} [c-d]{50}", {.edges_max = 90}),
                 absl::StatusCode::kInvalidArgument, "more than 90 edges");
  // Repetitions of repetitions, of something and of nothing.
  REQUIRE_STATUS(Compile("root ::= (((\"ab\"{65536}){65536}){65536}){65536}{65536}"),
                 absl::StatusCode::kInvalidArgument, "more than");
  REQUIRE_OK(Compile("root ::= \"x\" ((\"\"{65536}){65536}){65536}"));
  // Each level is looked at once, not twice.
  REQUIRE_OK(Compile("root ::= \"a\"" + std::string(60, '?')));
  // Deterministic it would have 2^30 states.
  REQUIRE_OK(Compile("root ::= [ab]* \"a\" [ab]{30}"));
  // Long chains of rules take no stack.
  std::string chain = "root ::= r0\n";
  for (int i = 0; i < 16'000; ++i) {
    chain += "r" + std::to_string(i) + " ::= \"a\"? r" + std::to_string(i + 1) + "\n";
  }
  REQUIRE_OK(Compile(chain + "r16000 ::= \"b\""));
}

TEST_CASE("states that short tokens cannot tell apart share a class", "[grammar]") {
  const auto classes = [](const std::string& text) {
    const auto automaton = Compile(text);
    REQUIRE_OK(automaton);
    std::set<uint32_t> found;
    for (const GrammarState& state : automaton->states) {
      found.insert(state.mask_class);
    }
    return std::pair(found.size(), automaton->states.size());
  };
  const auto [few, many] = classes("root ::= [a-z]{0,1000}");
  CHECK(many == 1001);
  CHECK(few == GrammarAutomaton::kClassBytes + 1);
  // Calls, too: each is of one byte at least.
  const auto [calls, states] =
      classes("root ::= \"[\" x{0,1000} \"]\"\nx ::= \"a\" x \"c\" | \"b\"");
  CHECK(states > 1000);
  CHECK(calls < 2 * GrammarAutomaton::kClassBytes + 10);
}

TEST_CASE("what can follow a rule is known", "[grammar]") {
  const auto automaton = Compile(
      "root ::= \"x\" a \"y\" | \"(\" b \")\"\na ::= \"1\" a \"2\" | b opt\n"
      "b ::= \"<\" b \">\" | \"q\"\nopt ::= \"+\" opt | \"\"");
  REQUIRE_OK(automaton);
  // b: behind itself >, in root ), before opt +, at the end of a also y and 2.
  ByteSet expected;
  for (const char c : {'>', ')', '+', 'y', '2'}) {
    expected.set(static_cast<size_t>(c));
  }
  CHECK(std::count(automaton->follow.begin(), automaton->follow.end(), expected) == 1);
}

}  // namespace
}  // namespace baton
