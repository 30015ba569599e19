#include "engine/model/grammar/cache.h"

#include <string>
#include <thread>
#include <vector>

#include "engine/base/strings.h"
#include "tests/engine/model/grammar/list_tokenizer.h"
#include "tests/support/status_matchers.h"

namespace baton {
namespace {

using Kind = TextConstraint::Kind;
constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;

ListTokenizer ByteTokenizer() {
  std::vector<std::string> tokens = {""};
  for (int byte = 0; byte < 256; ++byte) tokens.emplace_back(1, static_cast<char>(byte));
  return ListTokenizer(std::move(tokens), {0});
}

TextConstraint Literal(const std::string& text) {
  return {.kind = Kind::kGrammar, .text = StrCat("root ::= \"", text, "\"")};
}

TEST_CASE("a grammar is compiled once while it is kept, the ones used last are", "[cache]") {
  const ListTokenizer tokenizer = ByteTokenizer();
  GrammarCache cache(tokenizer, {.grammars = 2});
  CHECK(*cache.Get({}) == nullptr);
  CHECK(cache.size() == 0);
  const auto a = *cache.Get(Literal("a"));
  const auto b = *cache.Get(Literal("b"));
  CHECK(a != b);
  CHECK(*cache.Get(Literal("a")) == a);
  const auto c = *cache.Get(Literal("c"));  // b was used longest ago
  CHECK(cache.size() == 2);
  CHECK(*cache.Get(Literal("a")) == a);
  CHECK(*cache.Get(Literal("c")) == c);
  CHECK(*cache.Get(Literal("b")) != b);
  CHECK(&a->vocabulary() == &c->vocabulary());
  // The same text asks for something else.
  const auto object = *cache.Get({.kind = Kind::kJsonObject});
  CHECK(*cache.Get({.kind = Kind::kJsonSchema, .text = "{}"}) != object);
  CHECK(*cache.Get({.kind = Kind::kJsonObject}) == object);
}

TEST_CASE("what is kept is bounded in bytes, one is always kept", "[cache]") {
  const ListTokenizer tokenizer = ByteTokenizer();
  GrammarCache cache(tokenizer, {.bytes = 200'000});
  const auto small = *cache.Get(Literal("a"));
  CHECK(small->bytes() < 10'000);
  CHECK(*cache.Get(Literal("a")) == small);
  const auto large = *cache.Get(Literal(std::string(20'000, 'x')));
  CHECK(large->bytes() > 200'000);
  CHECK(cache.size() == 1);
  CHECK(*cache.Get(Literal(std::string(20'000, 'x'))) == large);
}

TEST_CASE("what is wrong names the field", "[cache]") {
  const ListTokenizer tokenizer = ByteTokenizer();
  GrammarCache cache(tokenizer);
  const auto refused = [&cache](Kind kind, const std::string& text, const std::string& message) {
    INFO(text);
    REQUIRE_STATUS(cache.Get({.kind = kind, .text = text}), kInvalid, message);
  };
  refused(Kind::kGrammar, "", "grammar: no rule is called root");
  refused(Kind::kGrammar, "root ::=\n  \"a", "grammar line 2, column 5: expected \"");
  refused(Kind::kGrammar, "root ::= \"a\" root", "grammar: root cannot match any text");
  refused(Kind::kGrammar, "root ::= \"\" | \"\"", "grammar: it matches no text but the empty one");
  refused(Kind::kJsonSchema, "", "json_schema: the text is not JSON");
  refused(Kind::kJsonSchema, R"({"if": true})", "json_schema at #: the keyword if");
  refused(Kind::kJsonSchema, R"({"items": {"$ref": "#"}, "minItems": 1})",
          "json_schema: as a grammar: root cannot match any text");
  CHECK(cache.size() == 0);

  const ListTokenizer two({"", "a", "b"}, {0});
  GrammarCache poor(two);
  REQUIRE_STATUS(poor.Get(Literal("x")), kInvalid,
                 "grammar: no token of the vocabulary continues the text");
  REQUIRE_STATUS(poor.Get({.kind = Kind::kJsonObject}), kInvalid, "json_object: ");
  REQUIRE_OK(poor.Get(Literal("ba")));
}

TEST_CASE("several threads ask at once", "[cache]") {
  const ListTokenizer tokenizer = ByteTokenizer();
  GrammarCache cache(tokenizer, {.grammars = 3});
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&cache, t] {
      for (int i = 0; i < 50; ++i) {
        const auto grammar =
            cache.Get(Literal(std::string(1, static_cast<char>('a' + (i * t) % 5))));
        if (!grammar.ok() || *grammar == nullptr) std::abort();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(cache.size() == 3);
}

}  // namespace
}  // namespace baton
