#include "engine/model/pretokenizer.h"

#include <ctime>
#include <random>
#include <string>

#include "catch2/catch.hpp"

namespace baton {
namespace {

using Pieces = std::vector<std::string_view>;

Pieces Split(std::string_view name, std::string_view text) {
  const auto rules = FindPretokenizer(name);
  REQUIRE(rules.has_value());
  return Pretokenizer(rules->patterns).Split(text);
}

constexpr std::string_view kNames[] = {
    "default",         "gpt-2",     "phi-2",    "mpt",       "olmo",         "jais",
    "llama-bpe",       "llama3",    "llama-v3", "qwen2",     "stablelm2",    "starcoder",
    "refact",          "command-r", "smollm",   "codeshell", "deepseek-llm", "deepseek-coder",
    "deepseek-r1-qwen"};

TEST_CASE("models split words in their own ways", "[pretokenizer]") {
  CHECK(Split("gpt-2", "I'll pay 2024  dollars!!") ==
        Pieces{"I", "'ll", " pay", " 2024", " ", " dollars", "!!"});
  CHECK(Split("llama-bpe", "I'LL pay 2024\n\n x") ==
        Pieces{"I", "'LL", " pay", " ", "202", "4", "\n\n", " x"});
  CHECK(Split("qwen2", "a 123") == Pieces{"a", " ", "1", "2", "3"});
  CHECK(Split("starcoder", "x 12y") == Pieces{"x", " ", "1", "2", "y"});
  CHECK(Split("deepseek-coder", "a b\n12") == Pieces{"a", " b", "\n", "1", "2"});
  CHECK(Split("deepseek-llm", "ab, c  ") == Pieces{"ab", ",", " c", "  "});
  CHECK_FALSE(FindPretokenizer("no such").has_value());
  CHECK(Split("gpt-2", "").empty());
}

TEST_CASE("letters of every script are letters", "[pretokenizer]") {
  CHECK(Split("gpt-2", "\xD0\xBD\xD0\xB5 \xE4\xBD\xA0\xE5\xA5\xBD") ==
        Pieces{"\xD0\xBD\xD0\xB5", " \xE4\xBD\xA0\xE5\xA5\xBD"});
}

TEST_CASE("bytes that are not UTF-8 are pieces of their own", "[pretokenizer]") {
  CHECK(Split("gpt-2",
              "ab\xFF\xFE"
              "cd \xE2\x96") == Pieces{"ab", "\xFF\xFE", "cd", " ", "\xE2\x96"});
  CHECK(Split("llama3", "\x80") == Pieces{"\x80"});
}

TEST_CASE("pieces of random bytes always make up the text", "[pretokenizer]") {
  constexpr uint64_t kSeed = 20240607;
  CAPTURE(kSeed);
  std::mt19937_64 random(kSeed);
  const std::string_view alphabet[] = {" ",
                                       "\n",
                                       "\r",
                                       "a",
                                       "Z",
                                       "7",
                                       "'s",
                                       "'",
                                       "\xC3\xA9",
                                       "\xE4\xBD\xA0",
                                       "\xFF",
                                       "\xE2",
                                       "!",
                                       "\t",
                                       "\xF0\x9F\x98\x80",
                                       std::string_view("\0", 1)};
  for (const std::string_view name : kNames) {
    const auto rules = FindPretokenizer(name);
    REQUIRE(rules.has_value());
    const Pretokenizer pretokenizer(rules->patterns);
    for (int round = 0; round < 200; ++round) {
      std::string text;
      for (uint64_t length = random() % 60; length > 0; --length) {
        text += alphabet[random() % std::size(alphabet)];
      }
      std::string joined;
      for (const std::string_view piece : pretokenizer.Split(text)) {
        REQUIRE_FALSE(piece.empty());
        joined += piece;
      }
      CAPTURE(name, text);
      REQUIRE(joined == text);
    }
  }
}

TEST_CASE("long runs of anything split in linear time", "[pretokenizer]") {
  for (const std::string_view unit : {" ", "a", "\n", " \n", "7", "!", "'", "\xE4\xBD\xA0", "\xFF",
                                      " a", "  a", "\xC2\xA0", "A", "'s"}) {
    std::string text;
    while (text.size() < 200'000) {
      text += unit;
    }
    for (const std::string& whole : {text, text + "x"}) {
      for (const std::string_view name :
           {"default", "gpt-2", "llama3", "qwen2", "starcoder", "deepseek-llm", "deepseek-coder"}) {
        const std::clock_t start = std::clock();  // of this process: other load does not count
        size_t bytes = 0;
        for (const std::string_view piece : Split(name, whole)) {
          bytes += piece.size();
        }
        CAPTURE(name, unit);
        CHECK(bytes == whole.size());
        // Quadratic time would be a minute.
        CHECK(std::clock() - start < 10 * CLOCKS_PER_SEC);
      }
    }
  }
}

}  // namespace
}  // namespace baton
