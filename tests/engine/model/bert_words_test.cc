#include "engine/model/bert_words.h"

#include <ctime>

#include "catch2/catch.hpp"
#include "engine/model/utf8.h"

namespace baton {
namespace {

using Words = std::vector<std::string>;

Words Split(std::string_view text) { return SplitBertWords(text, {}); }

TEST_CASE("white space splits, punctuation stands alone", "[bert_words]") {
  CHECK(Split("").empty());
  CHECK(Split(" \t\r\n\u00a0\u2003\u2028\u3000").empty());
  CHECK(Split("Hello, World!") == Words{"hello", ",", "world", "!"});
  CHECK(Split("a\u00a0b\u3000c\u2029d") == Words{"a", "b", "c", "d"});
  CHECK(Split("3.5<=$x^`~") == Words{"3", ".", "5", "<", "=", "$", "x", "^", "`", "~"});
  CHECK(Split("it\u2019s \u00bfno?") == Words{"it", "\u2019", "s", "\u00bf", "no", "?"});
  CHECK(Split("5\u20ac") == Words{"5\u20ac"});  // a symbol outside ASCII is none of them
  CHECK(Split("[CLS] x") == Words{"[", "cls", "]", "x"});
}

TEST_CASE("ideographs stand alone, kana and hangul do not", "[bert_words]") {
  CHECK(Split("\u6771\u4eacA") == Words{"\u6771", "\u4eac", "a"});
  CHECK(Split("x\U00020000\uf900") == Words{"x", "\U00020000", "\u8c48"});
  CHECK(Split("\u3072\u3089") == Words{"\u3072\u3089"});
  CHECK(Split("\ud55c") == Words{"\u1112\u1161\u11ab"});  // decomposed
}

TEST_CASE("accents go, in either form, and in any order", "[bert_words]") {
  CHECK(Split("R\u00dcBEN ru\u0308ben") == Words{"ruben", "ruben"});
  CHECK(Split("\u01d5\u1f82\u0130") == Words{"u\u03b1i"});
  CHECK(Split("\u00c6\u00d8\u00df\u03a3") == Words{"\u00e6\u00f8\u00df\u03c3"});
  // Marks that are no accents come in canonical order: class 224 before class 9 comes behind it.
  CHECK(Split("a\u302e\u1b44") == Words{"a\u1b44\u302e"});
  CHECK(Split("a\u302e\u0301\u1b44b") == Words{"a\u1b44\u302e"
                                               "b"});
}

TEST_CASE("what stands for no text is dropped", "[bert_words]") {
  CHECK(Split(std::string_view("a\0b\x01\x7f", 5)) == Words{"ab"});
  CHECK(Split("a\u200bb\u00adc\ufeff\ufffdd\ue000e\u0378f") == Words{"abcdef"});
  CHECK(Split("a\xff\xc3\xed\xa0\x80"
              "b") == Words{"ab"});
}

TEST_CASE("case and accents stay where a model is cased", "[bert_words]") {
  CHECK(SplitBertWords("Caf\u00c9 x", {.lowercase = false, .strip_accents = false}) ==
        Words{"Caf\u00c9", "x"});
  CHECK(SplitBertWords("Caf\u00c9", {.lowercase = true, .strip_accents = false}) ==
        Words{"caf\u00e9"});
  CHECK(SplitBertWords("Caf\u00c9", {.lowercase = false, .strip_accents = true}) == Words{"CafE"});
}

TEST_CASE("every character's words split into themselves again", "[bert_words]") {
  for (char32_t c = 1; c < 0x110000; ++c) {
    if (c >= 0xD800 && c < 0xE000) {
      continue;
    }
    std::string text;
    AppendUtf8(c, text);
    for (const std::string& word : Split(text)) {
      if (Split(word) != Words{word}) {
        CAPTURE(static_cast<uint32_t>(c));
        REQUIRE(Split(word) == Words{word});
      }
    }
  }
}

TEST_CASE("long runs of marks take n log n time", "[bert_words]") {
  std::string text = "a";
  for (int i = 0; i < 200'000; ++i) {
    text += i < 100'000 ? "\u302e" : "\u1b44";
  }
  const std::clock_t start = std::clock();
  CHECK(Split(text).size() == 1);
  CHECK(std::clock() - start < 5 * CLOCKS_PER_SEC);
}

}  // namespace
}  // namespace baton
