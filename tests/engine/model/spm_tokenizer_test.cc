#include "engine/model/spm_tokenizer.h"

#include <ctime>
#include <limits>
#include <random>
#include <string>

#include "catch2/catch.hpp"
#include "engine/model/gguf.h"
#include "tests/support/gguf_writer.h"
#include "tests/support/status_matchers.h"

namespace baton {
namespace {

struct Piece {
  std::string text;
  float score = 0;
  int32_t type = 1;
};

GgufWriter Write(const std::vector<Piece>& pieces) {
  std::vector<std::string> tokens;
  std::vector<float> scores;
  std::vector<int32_t> types;
  for (const Piece& piece : pieces) {
    tokens.push_back(piece.text);
    scores.push_back(piece.score);
    types.push_back(piece.type);
  }
  GgufWriter writer;
  writer.AddString("tokenizer.ggml.model", "llama");
  writer.AddStrings("tokenizer.ggml.tokens", tokens);
  writer.AddFloats("tokenizer.ggml.scores", scores);
  writer.AddInts("tokenizer.ggml.token_type", types);
  return writer;
}

absl::StatusOr<std::unique_ptr<const Tokenizer>> Make(const GgufWriter& writer) {
  const std::string bytes = writer.Bytes();
  const auto file = GgufFile::FromMemory("spm.gguf", std::as_bytes(std::span(bytes)));
  REQUIRE_OK(file);
  return MakeTokenizer(**file);
}

std::unique_ptr<const Tokenizer> MakeRandomModelTokenizer() {
  GgufWriter writer;
  AddRandomModelKeys({}, writer);
  auto tokenizer = Make(writer);
  REQUIRE_OK(tokenizer);
  return std::move(*tokenizer);
}

using Ids = std::vector<TokenId>;
const std::string kMark = "\xE2\x96\x81";

TEST_CASE("the best score merges first, the leftmost on ties", "[spm]") {
  GgufWriter writer = Write({{"<unk>", 0, 2},
                             {kMark, 0},
                             {"a", 0},
                             {"b", 0},
                             {"ab", -2},
                             {"ba", -1},
                             {"aa", -3},
                             {"aba", -9}});
  writer.AddBool("tokenizer.ggml.add_space_prefix", false);
  const auto tokenizer = Make(writer);
  REQUIRE_OK(tokenizer);
  CHECK((*tokenizer)->Encode("aba") == Ids{7});  // "ba" first, then "aba"
  CHECK((*tokenizer)->Encode("abab") == Ids{7, 3});
  CHECK((*tokenizer)->Encode("aaa") == Ids{6, 2});  // the left pair
  CHECK((*tokenizer)->Encode("x") == Ids{0});
  CHECK((*tokenizer)->Encode("").empty());
}

TEST_CASE("SPM: a space goes before a text and is dropped after it", "[spm]") {
  const auto tokenizer = MakeRandomModelTokenizer();
  const auto tokens = tokenizer->Encode("the");
  REQUIRE(tokens.size() == 1);
  CHECK(tokenizer->TokenBytes(tokens[0], true) == "the");
  CHECK(tokenizer->TokenBytes(tokens[0], false) == " the");
  CHECK(DecodeAll(*tokenizer, tokenizer->Encode(" the")) == " the");
  CHECK(tokenizer->bos() == 1);
  CHECK(tokenizer->add_bos());
  CHECK(tokenizer->IsEndOfText(2));
  CHECK_FALSE(tokenizer->IsEndOfText(1));
  CHECK(EncodePrompt(*tokenizer, "the") == Ids{1, tokens[0]});
}

TEST_CASE("special tokens in a text are text", "[spm]") {
  const auto tokenizer = MakeRandomModelTokenizer();
  for (const std::string text : {"<s>", "</s>", "<unk>", "<0x41>", "a</s>b"}) {
    const auto tokens = tokenizer->Encode(text);
    for (const TokenId token : tokens) {
      CHECK(token > 2);
    }
    CHECK(DecodeAll(*tokenizer, tokens) == text);
  }
  CHECK(tokenizer->TokenBytes(1, false).empty());
  CHECK(tokenizer->TokenBytes(-1, false).empty());
  CHECK(tokenizer->TokenBytes(1 << 30, false).empty());
}

TEST_CASE("SPM: a user-defined token is one token wherever it stands", "[spm]") {
  const auto tokenizer = Make(Write({{"<unk>", 0, 2},
                                     {kMark, 0},
                                     {"a", 0},
                                     {"aa", 1},
                                     {"<x>", 0, 4},
                                     {"<x>a", 0, 4},
                                     {"</s>", 0, 3}}));
  REQUIRE_OK(tokenizer);
  CHECK((*tokenizer)->Encode("<x>") == Ids{1, 4});
  CHECK((*tokenizer)->Encode("a<x>aa") == Ids{1, 2, 5, 2});  // the longest one
  CHECK((*tokenizer)->TokenBytes(4, false) == "<x>");
}

TEST_CASE("any bytes come back, even those that are not UTF-8", "[spm]") {
  constexpr uint64_t kSeed = 77;
  CAPTURE(kSeed);
  std::mt19937_64 random(kSeed);
  const auto tokenizer = MakeRandomModelTokenizer();
  for (int round = 0; round < 2000; ++round) {
    std::string text;
    for (uint64_t length = random() % 40; length > 0; --length) {
      text += random() % 3 == 0 ? static_cast<char>(random()) : "the an"[random() % 6];
    }
    std::string bytes;
    bool first = true;
    for (const TokenId token : tokenizer->Encode(text)) {
      bytes += tokenizer->TokenBytes(token, first);
      first = false;
    }
    // The mark itself, U+2581, reads back as a space.
    CAPTURE(text);
    REQUIRE(bytes == text);
  }
}

TEST_CASE("long texts take n log n time", "[spm]") {
  const auto tokenizer = MakeRandomModelTokenizer();
  for (const std::string unit : {"t", "the ", "\xFF", " ", "an", "\xE4\xBD\xA0"}) {
    std::string text;
    while (text.size() < 300'000) {
      text += unit;
    }
    const std::clock_t start = std::clock();
    CHECK(DecodeAll(*tokenizer, tokenizer->Encode(text)).size() >= text.size());
    CHECK(std::clock() - start < 10 * CLOCKS_PER_SEC);
  }
}

TEST_CASE("SPM: a vocabulary that cannot work is refused by key", "[spm]") {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  REQUIRE_STATUS(Make(Write({{"<unk>", 0, 2}, {"a", nan}})), absl::StatusCode::kInvalidArgument,
                 "the score of token 1 is not a number");
  REQUIRE_STATUS(Make(Write({{"a", 0}})), absl::StatusCode::kInvalidArgument,
                 "neither all 256 byte tokens nor an unknown token");
  GgufWriter writer;
  writer.AddString("tokenizer.ggml.model", "llama");
  writer.AddStrings("tokenizer.ggml.tokens", {"a", "b"});
  SECTION("no scores") {
    REQUIRE_STATUS(Make(writer), absl::StatusCode::kNotFound, "tokenizer.ggml.scores");
  }
  SECTION("too few scores") {
    writer.AddFloats("tokenizer.ggml.scores", {1});
    REQUIRE_STATUS(Make(writer), absl::StatusCode::kInvalidArgument, "has 1 elements");
  }
}

}  // namespace
}  // namespace baton
