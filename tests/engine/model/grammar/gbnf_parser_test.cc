#include "engine/model/grammar/gbnf_parser.h"

#include <string>

#include "tests/support/status_matchers.h"

namespace baton {
namespace {

// A grammar as text that shows how it was read.
std::string Shown(const GrammarExpr& expr) {
  std::string text;
  switch (expr.kind) {
    case GrammarExpr::Kind::kLiteral:
      return "'" + expr.literal + "'";
    case GrammarExpr::Kind::kClass:
      for (const CodePointRange& range : expr.ranges) {
        text += (text.empty() ? "" : " ") + std::to_string(range.first) + "-" +
                std::to_string(range.last);
      }
      return "[" + text + "]";
    case GrammarExpr::Kind::kRule:
      return "#" + std::to_string(expr.rule);
    case GrammarExpr::Kind::kSequence:
    case GrammarExpr::Kind::kAlternatives:
      for (const GrammarExpr& part : expr.parts) {
        const bool sequence = expr.kind == GrammarExpr::Kind::kSequence;
        text += (text.empty() ? "" : sequence ? " " : " | ") + Shown(part);
      }
      return "(" + text + ")";
    case GrammarExpr::Kind::kRepeat:
      return Shown(expr.parts[0]) + "{" + std::to_string(expr.repeat_min) + "," +
             (expr.repeat_max == kUnboundedRepeat ? "" : std::to_string(expr.repeat_max)) + "}";
  }
  return text;
}

std::string Read(const std::string& text) {
  const auto rules = ParseGbnf(text, {});
  REQUIRE_OK(rules);
  std::string shown;
  for (const GrammarRule& rule : rules->rules) {
    shown += rule.name + "=" + Shown(rule.body) + ";";
  }
  return shown + std::to_string(rules->root);
}

TEST_CASE("each element of the notation is read", "[gbnf]") {
  CHECK(Read(R"(root ::= "a" "b")") == "root=('a' 'b');0");
  CHECK(Read(R"(root ::= "a" | "b" "c")") == "root=(('a') | ('b' 'c'));0");
  CHECK(Read("root ::= [a-cx]") == "root=([97-99 120-120]);0");
  CHECK(Read("root ::= [a-]") == "root=([45-45 97-97]);0");
  CHECK(Read("root ::= [a-cb-de]") == "root=([97-101]);0");
  CHECK(Read("root ::= [^b]") == "root=([0-97 99-55295 57344-1114111]);0");
  CHECK(Read("root ::= .") == "root=([0-55295 57344-1114111]);0");
  CHECK(Read("root ::= []") == "root=([]);0");
  CHECK(Read(R"(root ::= "\n\r\t\\\"\[\]\x41\u00e9\U0001F600")") ==
        "root=('\n\r\t\\\"[]A\u00e9\U0001F600');0");
  CHECK(Read(R"(root ::= [\]\\\-é])") == "root=([45-45 92-93 233-233]);0");
  CHECK(Read(R"(root ::= "ab"* "c"+ "d"? "e"{2} "f"{2,} "g"{ 2 , 3 })") ==
        "root=('ab'{0,} 'c'{1,} 'd'{0,1} 'e'{2,2} 'f'{2,} 'g'{2,3});0");
  CHECK(Read("root ::= a-1 _b\na-1 ::= \"x\"\n_b ::=") == "root=(#1 #2);a-1=('x');_b=();0");
  CHECK(Read("x ::= root\nroot ::= (\"a\" | (\"b\"))*") == "x=(#1);root=((('a') | (('b'))){0,});1");
}

TEST_CASE("rules end where they should", "[gbnf]") {
  CHECK(Read("# comment\n\nroot ::= \"#\" # comment\r\n  # more\n") == "root=('#');0");
  CHECK(Read("root ::=\n \"a\" |\n \"b\"\n  | \"c\" # x\n | \"d\"\n") ==
        "root=(('a') | ('b') | ('c') | ('d'));0");
  CHECK(Read("root ::= (\n \"a\"\n \"b\"\n | # x\n \"c\" )\n \n") ==
        "root=((('a' 'b') | ('c')));0");
  CHECK(Read("root ::= \"a\" |\nb ::= \"c\"") == "root=(('a') | ());b=('c');0");
  CHECK(Read("root ::= \"a\" | | b\nb::=\"\"") == "root=(('a') | () | (#1));b=('');0");
}

TEST_CASE("errors say where and what was expected", "[gbnf]") {
  struct Case {
    const char* text;
    const char* error;
  };
  const Case cases[] = {
      {"", "no rule is called root"},
      {"a ::= \"b\"", "no rule is called root"},
      {"root",
       "line 1, column 5: expected ::= behind the rule name root, found the end of the text"},
      {"root = \"a\"", "line 1, column 6: expected ::= behind the rule name root, found '='"},
      {"\n  ::= x", "line 2, column 3: expected the name of a rule, found ':'"},
      {"root ::= \"a\" )",
       "line 1, column 14: expected an element of the rule or the end of the line"},
      {"root ::= (\"a\"\n", "line 2, column 1: expected an element, | or ) to end the group"},
      {"root ::= \"aé",
       "line 1, column 13: expected \" to end the literal, found the end of the text"},
      {"root ::= \"a\nb\"", "column 12: expected \" to end the literal, found the end of the line"},
      {"root ::= [a", "column 12: expected ] to end the character class"},
      {"root ::= [z-a]", "column 11: the range z-a ends before it starts"},
      {"root ::= \"é\\q\"", "column 12: expected an escape behind \\"},
      {"root ::= \"\\x4g\"", "column 14: expected a hexadecimal digit, of 2, found 'g'"},
      {"root ::= \"\\ud800\"", "column 11: \\\\ud800 is no character"},
      {"root ::= \"\\U00110000\"", "is no character"},
      {"root ::= \"a\"{", "column 14: expected a number of repetitions, found the end of the text"},
      {"root ::= \"a\"{3,2}", "{3,2} asks for at least 3 and at most 2 repetitions"},
      {"root ::= \"a\"{99999999999999999999}", "column 14: more than 65536 repetitions"},
      {"root ::= \"a\"{1;", "expected } to end the repetition, found ';'"},
      {"root ::= *", "expected an element of the rule or the end of the line, found '*'"},
      {"root ::= \"a\"\nb ::= \"a\" c", "line 2, column 11: the rule c is not defined"},
      {"root ::= \"a\"\n root ::= \"b\"", "line 2, column 2: the rule root is defined twice"},
      {"root ::= <[7]>", "column 10: tokens as elements, <...>, are not supported"},
      {"root ::= \"\xFF\"", "line 1, column 11: the text is not UTF-8 here"},
  };
  for (const Case& one : cases) {
    INFO(one.text);
    REQUIRE_STATUS(ParseGbnf(one.text, {}), absl::StatusCode::kInvalidArgument, one.error);
  }
}

TEST_CASE("limits are named", "[gbnf]") {
  const auto parse = [](const std::string& text, const GrammarLimits& limits) {
    return ParseGbnf(text, limits);
  };
  REQUIRE_STATUS(parse("root ::= \"abc\"", {.text_bytes_max = 13}),
                 absl::StatusCode::kInvalidArgument, "14 bytes, at most 13");
  REQUIRE_STATUS(parse("root ::= a b\na ::= b\nb ::= \"\"", {.rules_max = 2}),
                 absl::StatusCode::kInvalidArgument, "column 12: more than 2 rules");
  REQUIRE_OK(parse("root ::= ((\"a\"))", {.nesting_max = 2}));
  REQUIRE_STATUS(parse("root ::= (((\"a\")))", {.nesting_max = 2}),
                 absl::StatusCode::kInvalidArgument, "column 12: nested deeper than 2");
  REQUIRE_OK(parse("root ::= (\"a\"*)+", {.nesting_max = 2}));
  REQUIRE_STATUS(parse("root ::= \"a\"***", {.nesting_max = 2}), absl::StatusCode::kInvalidArgument,
                 "column 15: nested deeper than 2");
  // The parser does not recurse further than the limit allows.
  REQUIRE_STATUS(parse("root ::= " + std::string(200'000, '('), {}),
                 absl::StatusCode::kInvalidArgument, "nested deeper than 64");
  REQUIRE_STATUS(parse("root ::= \"a\"" + std::string(200'000, '*'), {}),
                 absl::StatusCode::kInvalidArgument, "nested deeper than 64");
}

}  // namespace
}  // namespace baton
