#include "engine/rag/chunker.h"

#include <algorithm>
#include <chrono>
#include <random>
#include <string>

#include "catch2/catch.hpp"
#include "engine/model/utf8.h"
#include "tests/engine/rag/random_text.h"
#include "tests/support/status_matchers.h"

namespace baton {
namespace {

std::vector<std::string> Texts(std::string_view text, const ChunkOptions& options) {
  std::vector<std::string> texts;
  for (const Chunk& chunk : SplitPassages(text, options)) texts.emplace_back(Slice(text, chunk));
  return texts;
}
using Strings = std::vector<std::string>;

int64_t Chars(std::string_view text) {
  int64_t chars = 0;
  for (; !text.empty(); ++chars) text.remove_prefix(std::max<size_t>(1, Utf8CharBytes(text)));
  return chars;
}

// A sentence of exactly `chars` characters.
std::string SentenceOf(int chars, char letter) {
  return std::string(static_cast<size_t>(chars - 1), letter) + ".";
}

TEST_CASE("short texts are one passage, blank ones none", "[chunker]") {
  CHECK(Texts("  One. Two.\n", {}) == Strings{"One. Two."});
  CHECK(Texts("", {}).empty());
  CHECK(Texts(" \n \n", {}).empty());
}

TEST_CASE("passages are whole sentences up to the limit, with overlap", "[chunker]") {
  const std::string a = SentenceOf(30, 'A'), b = SentenceOf(30, 'B'), c = SentenceOf(30, 'C'),
                    d = SentenceOf(30, 'D'), e = SentenceOf(90, 'E');
  const std::string text = a + " " + b + " " + c + " " + d + " " + e;
  // Two sentences of 30 and a space are 61 characters.
  CHECK(Texts(text, {.passage_chars_max = 100, .passage_overlap_chars = 30}) ==
        Strings{a + " " + b + " " + c, c + " " + d, e});
  CHECK(Texts(text, {.passage_chars_max = 100, .passage_overlap_chars = 29}) ==
        Strings{a + " " + b + " " + c, d, e});
  CHECK(Texts(text, {.passage_chars_max = 92, .passage_overlap_chars = 0}) ==
        Strings{a + " " + b + " " + c, d, e});
  CHECK(Texts(text, {.passage_chars_max = 91, .passage_overlap_chars = 0}) ==
        Strings{a + " " + b, c + " " + d, e});
}

TEST_CASE("a paragraph that would be torn begins a passage", "[chunker]") {
  const std::string a = SentenceOf(60, 'A'), b = SentenceOf(30, 'B'), c = SentenceOf(30, 'C');
  const ChunkOptions options = {.passage_chars_max = 100, .passage_overlap_chars = 40};
  CHECK(Texts(a + "\n\n" + b + " " + c, options) == Strings{a, b + " " + c});
  CHECK(Texts(a + "\n\n" + b + "\n\n" + c, options) == Strings{a + "\n\n" + b, c});
}

TEST_CASE("headings stay with what follows", "[chunker]") {
  const std::string a = SentenceOf(60, 'A'), b = SentenceOf(60, 'B');
  const ChunkOptions options = {.passage_chars_max = 100, .passage_overlap_chars = 40};
  CHECK(Texts(a + "\n\n# One\n## Two\n" + b, options) == Strings{a, "# One\n## Two\n" + b});
  // One too long to follow whole follows in part.
  const std::string words = "Word " + std::string(60, 'x') + " " + std::string(60, 'y') + ".";
  CHECK(Texts("# Head\n" + words, options) ==
        Strings{"# Head\nWord " + std::string(60, 'x'), std::string(60, 'y') + "."});
  CHECK(Texts("# Only\n\n## Headings\n", options) == Strings{"# Only\n\n## Headings"});
}

TEST_CASE("an over-long sentence is cut at white space or between characters", "[chunker]") {
  const ChunkOptions options = {.passage_chars_max = 64, .passage_overlap_chars = 0};
  std::string words;
  for (int i = 0; i < 40; ++i) words += "word" + std::to_string(i) + " ";
  for (const std::string& text : Texts(words, options)) {
    CHECK(text.size() <= 64);
    CHECK(text.starts_with("word"));
  }
  std::string wide;
  for (int i = 0; i < 130; ++i) wide += "\u00e9";
  const Strings texts = Texts(wide, options);
  REQUIRE(texts.size() == 3);
  CHECK(texts[0].size() == 128);
  CHECK(texts[1].size() == 128);
  CHECK(texts[2].size() == 4);
}

TEST_CASE("any bytes: limits, order, coverage, whole characters", "[chunker]") {
  const uint64_t seed = std::random_device()();
  CAPTURE(seed);
  std::mt19937_64 random(seed);
  for (int round = 0; round < 400; ++round) {
    const std::string text = RandomText(random, random() % 600);
    ChunkOptions options;
    options.passage_chars_max = static_cast<int32_t>(64 + random() % 200);
    options.passage_overlap_chars =
        static_cast<int32_t>(random() % ((options.passage_chars_max + 1) / 2));
    REQUIRE_OK(ValidateChunkOptions(options));
    std::vector<bool> starts(text.size() + 1);
    for (size_t at = 0; at < text.size();
         at += std::max<size_t>(1, Utf8CharBytes(std::string_view(text).substr(at)))) {
      starts[at] = true;
    }
    starts[text.size()] = true;

    int64_t covered = 0;
    Chunk last = {-1, -1};
    for (const Chunk& chunk : SplitPassages(text, options)) {
      REQUIRE(chunk.begin > last.begin);
      REQUIRE(chunk.end > last.end);
      REQUIRE(starts[chunk.begin]);
      REQUIRE(starts[chunk.end]);
      REQUIRE_FALSE(IsSpaceByte(text[chunk.begin]));
      REQUIRE_FALSE(IsSpaceByte(text[chunk.end - 1]));
      REQUIRE(Chars(Slice(text, chunk)) <= options.passage_chars_max);
      if (chunk.begin < last.end) {
        REQUIRE(Chars(Slice(text, {chunk.begin, last.end})) <= options.passage_overlap_chars);
      }
      for (; covered < chunk.begin; ++covered) REQUIRE(IsSpaceByte(text[covered]));
      covered = chunk.end;
      last = chunk;
    }
    for (; covered < static_cast<int64_t>(text.size()); ++covered) {
      REQUIRE(IsSpaceByte(text[covered]));
    }
  }
}

TEST_CASE("time is linear whatever the text", "[chunker]") {
  // Each would take minutes if any step looked back or ahead without bound.
  constexpr size_t kBytes = 1 << 18;
  const ChunkOptions options = {.passage_chars_max = 8192, .passage_overlap_chars = 4095};
  for (const std::string unit : {"a", ".", "a. ", "A.\n\n", "# \n", "- \n", "J. ", ")", "\xe3",
                                 "\n", "x. y. z.\n\n# h\n", "#", "1", "1.", "\"", "| \n"}) {
    CAPTURE(unit);
    std::string text;
    while (text.size() < kBytes) text += unit;
    const auto start = std::chrono::steady_clock::now();
    SplitPassages(text, options);
    const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - start;
    CHECK(taken.count() < 5);
  }
}

TEST_CASE("options out of bounds are named", "[chunker]") {
  CHECK(ValidateChunkOptions({}).ok());
  REQUIRE_STATUS(ValidateChunkOptions({.passage_chars_max = 63, .passage_overlap_chars = 0}),
                 absl::StatusCode::kInvalidArgument,
                 "passage_chars_max must be 64 to 8192, got 63");
  REQUIRE_STATUS(ValidateChunkOptions({.passage_chars_max = 8193, .passage_overlap_chars = 0}),
                 absl::StatusCode::kInvalidArgument, "got 8193");
  REQUIRE_STATUS(ValidateChunkOptions({.passage_chars_max = 100, .passage_overlap_chars = 50}),
                 absl::StatusCode::kInvalidArgument,
                 "passage_overlap_chars must be at least 0 and less than half of "
                 "passage_chars_max (100), got 50");
  REQUIRE_STATUS(ValidateChunkOptions({.passage_chars_max = 100, .passage_overlap_chars = -1}),
                 absl::StatusCode::kInvalidArgument, "got -1");
}

}  // namespace
}  // namespace baton
