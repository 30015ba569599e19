#include "engine/model/grammar/json_pattern.h"

#include <nlohmann/json.hpp>
#include <optional>
#include <regex>
#include <string>
#include <vector>

#include "engine/base/strings.h"
#include "engine/model/grammar/json_grammar.h"
#include "engine/model/grammar/matcher.h"
#include "tests/engine/model/grammar/list_tokenizer.h"
#include "tests/support/status_matchers.h"

namespace baton {
namespace {

// Whether a pattern's grammar matches the JSON string of `text`.
class Pattern {
 public:
  explicit Pattern(const std::string& pattern) {
    INFO(pattern);
    const auto gbnf = JsonPatternToGbnf(pattern, "char");
    REQUIRE_OK(gbnf);
    auto grammar =
        Grammar::FromGbnf(StrCat(kJsonRules, "root ::= ", *gbnf, "\n"), ByteVocabulary());
    REQUIRE_OK(grammar);
    auto matcher = GrammarMatcher::Make(*std::move(grammar));
    REQUIRE_OK(matcher);
    start_ = *std::move(matcher);
  }
  bool Matches(const std::string& text) const {
    const std::string quoted = nlohmann::json(text).dump();
    GrammarMatcher matcher = *start_;
    return matcher.AdvanceBytes(quoted.substr(1, quoted.size() - 2)).ok() && matcher.CanEnd();
  }

 private:
  std::optional<GrammarMatcher> start_;
};

TEST_CASE("patterns match what ECMAScript's expressions match", "[json_pattern]") {
  const char* const patterns[] = {
      "",         "a",           "^a",        "a$",       "^a$",      "^a|b$",
      "^(a|b)$",  "^(?:a|bc)+$", "^a*b+c?$",  "^a{2}$",   "^a{2,}b$", "^a{1,2}$",
      "^[a-c]+$", "^[^a-c]$",    "^\\d+$",    "^\\w$",    "^\\W$",    "^[\\d_]+$",
      "^\\S+$",   "^a\\s*b$",    "^.$",       "^\\.$",    "^a\\/b$",  "^[\\]\\-a]$",
      "^\\n$",    "^\\x41$",     "^\\u0041$", "^\"$",     "^\\\\$",   "^[\"\\\\]+$",
      "^a+?b*?$", "^(a(b|)c)*$", "b{2}",      "^()$",     "^[a-]$",   "^$",
      "^-$",      "^[\\t-\\r]$", "a|^b|c$",   "^[a\\]]$", "^,=<>!$",  "^a{0}$"};
  std::vector<std::string> texts = {"",       "\n",   "\r",  "\x01", "\x0b", "A",   "\"",
                                    "\\",     "\\\"", ".",   "/",    "a/b",  "a b", "a \t b",
                                    "-",      "]",    "_",   "0",    "12",   "_1",  ",=<>!",
                                    "abcabc", "acac", "aab", "aaab"};
  const std::string letters = "abc1 ";
  for (const char x : letters) {
    for (const char y : letters) {
      texts.push_back(std::string(1, x));
      texts.push_back({x, y});
      for (const char z : letters) {
        texts.push_back({x, y, z});
      }
    }
  }
  for (const std::string pattern : patterns) {
    const Pattern ours(pattern);
    const std::regex theirs(pattern, std::regex::ECMAScript);
    for (const std::string& text : texts) {
      const bool expected = std::regex_search(text, theirs);
      if (ours.Matches(text) != expected) {
        CAPTURE(pattern, text);
        CHECK(ours.Matches(text) == expected);
      }
    }
  }
}

TEST_CASE("patterns are of characters, not of bytes", "[json_pattern]") {
  CHECK(Pattern("^.$").Matches("\U0001F600"));
  CHECK(Pattern("^[\u00e0-\u00ff]{2}$").Matches("\u00e9\u00fc"));
  CHECK(Pattern("^\\u00e9\\u{1F600}$").Matches("\u00e9\U0001F600"));
  CHECK(Pattern("^(?<year>\\d{4})$").Matches("2024"));
  CHECK(Pattern("^\\s$").Matches("\u00a0"));
  CHECK_FALSE(Pattern("^.$").Matches("\u2028"));
  CHECK_FALSE(Pattern("^\\w$").Matches("\u00e9"));
}

TEST_CASE("what is not supported or wrong in a pattern is named", "[json_pattern]") {
  struct Case {
    const char* pattern;
    const char* error;
  };
  const Case cases[] = {
      {"a(?=b)", "pattern, byte 2: assertions, (?=...) and the like, are not supported"},
      {"(?<!a)b", "byte 1: assertions"},
      {"\\bword", "byte 1: assertions, \\b and \\B"},
      {"(a)\\1", "byte 4: back references"},
      {"\\p{L}", "byte 1: the escape \\p is not supported"},
      {"\\cA", "the escape \\c is not supported"},
      {"a^b", "byte 2: ^ is supported at the start only"},
      {"(^a)", "byte 2: ^ is supported at the start only"},
      {"(a$)", "byte 3: $ inside a group"},
      {"a$b", "byte 3: behind $ only | may stand"},
      {"*a", "byte 1: * repeats nothing"},
      {"a**", "byte 3: * repeats nothing"},
      {"a{", "byte 2: a repetition needs a number; write \\{"},
      {"a{2", "byte 2: the repetition does not end"},
      {"a{3,2}", "byte 2: the repetition's numbers are out of order"},
      {"a{100000}", "byte 2: more than 4096 repetitions"},
      {"(a", "byte 1: the group does not end"},
      {"a)", "byte 2: ) closes no group"},
      {"[a", "byte 1: the character class does not end"},
      {"[z-a]", "byte 2: the range does not lead"},
      {"[\\d-z]", "byte 2: the range does not lead"},
      {"\\", "byte 1: \\ escapes nothing"},
      {"\\x4", "the escape needs more hexadecimal digits"},
      {"\\ud83d\\ude00", "byte 1: the escape is no character; write \\u{...}"},
      {"(?i)a", "a group of this kind"},
  };
  for (const Case& one : cases) {
    INFO(one.pattern);
    REQUIRE_STATUS(JsonPatternToGbnf(one.pattern, "char"), absl::StatusCode::kInvalidArgument,
                   one.error);
  }
  REQUIRE_STATUS(JsonPatternToGbnf(std::string(100'000, '('), "char"),
                 absl::StatusCode::kInvalidArgument, "nested deeper than 24");
}

}  // namespace
}  // namespace baton
