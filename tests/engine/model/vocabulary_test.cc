#include "engine/model/vocabulary.h"

#include "catch2/catch.hpp"
#include "engine/model/gguf.h"
#include "tests/support/gguf_writer.h"
#include "tests/support/status_matchers.h"

namespace baton {
namespace {

using absl::StatusCode;

absl::StatusOr<Vocabulary> Read(const GgufWriter& writer) {
  const std::string bytes = writer.Bytes();
  const auto file = GgufFile::FromMemory("vocab.gguf", std::as_bytes(std::span(bytes)));
  REQUIRE_OK(file);
  return Vocabulary::Read(**file);
}

GgufWriter WithTokens(const std::vector<std::string>& tokens, const std::vector<int32_t>& types) {
  GgufWriter writer;
  writer.AddStrings("tokenizer.ggml.tokens", tokens);
  writer.AddInts("tokenizer.ggml.token_type", types);
  return writer;
}

TEST_CASE("tokens, types and ids are read", "[vocabulary]") {
  GgufWriter writer =
      WithTokens({"<unk>", "<s>", "</s>", "a", "a", "<|eot_id|>", ""}, {2, 3, 3, 1, 0, 3, 1});
  writer.AddUint32("tokenizer.ggml.bos_token_id", 1);
  writer.AddUint32("tokenizer.ggml.eos_token_id", 2);
  const auto read = Read(writer);
  REQUIRE_OK(read);
  CHECK(read->size() == 7);
  CHECK(read->Text(3) == "a");
  CHECK(read->Find("a") == 4);  // the last of equal texts
  CHECK(read->Find("b") == std::nullopt);
  CHECK(read->Type(4) == TokenType::kNormal);
  CHECK(read->IsSpecial(1));
  CHECK_FALSE(read->IsSpecial(3));
  CHECK(read->bos() == 1);
  CHECK(read->unknown() == 0);
  CHECK(read->IsEndOfText(2));
  CHECK(read->IsEndOfText(5));  // known by its name
  CHECK_FALSE(read->IsEndOfText(1));
  CHECK_FALSE(read->add_bos().has_value());
}

TEST_CASE("what ends turns ends texts, by key or by name", "[vocabulary]") {
  GgufWriter writer = WithTokens(
      {"a", "<|im_end|>", "<|end|>", "<end_of_turn>", "[EOS]", "<eos>", "</s>", "x", "y", "z"},
      {1, 3, 4, 3, 3, 3, 1, 3, 3, 3});
  writer.AddUint32("tokenizer.ggml.eos_token_id", 7);
  writer.AddUint32("tokenizer.ggml.eot_token_id", 8);
  writer.AddUint32("tokenizer.ggml.eom_token_id", 9);
  const auto read = Read(writer);
  REQUIRE_OK(read);
  CHECK(read->eos() == 7);
  for (const TokenId token : {1, 2, 3, 4, 5, 7, 8, 9}) CHECK(read->IsEndOfText(token));
  CHECK_FALSE(read->IsEndOfText(0));
  CHECK_FALSE(read->IsEndOfText(6));  // an ordinary token, whatever it spells
}

TEST_CASE("contradictions are refused by key", "[vocabulary]") {
  REQUIRE_STATUS(Read(GgufWriter()), StatusCode::kNotFound, "tokenizer.ggml.tokens");
  REQUIRE_STATUS(Read(WithTokens({}, {})), StatusCode::kInvalidArgument, "is empty");
  REQUIRE_STATUS(Read(WithTokens({"a", "b"}, {1})), StatusCode::kInvalidArgument,
                 "'tokenizer.ggml.token_type' has 1 elements");
  REQUIRE_STATUS(Read(WithTokens({"a", "b"}, {1, 7})), StatusCode::kInvalidArgument,
                 "token 1 is of unknown type 7");
  GgufWriter writer = WithTokens({"a"}, {1});
  SECTION("bos outside") {
    writer.AddUint32("tokenizer.ggml.bos_token_id", 1);
    REQUIRE_STATUS(Read(writer), StatusCode::kInvalidArgument,
                   "'tokenizer.ggml.bos_token_id' is 1, outside the vocabulary of 1 tokens");
  }
  SECTION("no bos") {
    writer.AddUint32("tokenizer.ggml.bos_token_id", 0xffffffff);
    const auto read = Read(writer);
    REQUIRE_OK(read);
    CHECK_FALSE(read->bos().has_value());
  }
  SECTION("bos wanted but unnamed") {
    writer.AddBool("tokenizer.ggml.add_bos_token", true);
    REQUIRE_STATUS(Read(writer), StatusCode::kInvalidArgument, "the file names no bos");
  }
}

TEST_CASE("the longest user-defined token is found", "[vocabulary]") {
  const auto read = Read(WithTokens({"b", "bb", "bbb", "bc", "c", "d", ""}, {4, 1, 4, 4, 4, 3, 4}));
  REQUIRE_OK(read);
  const TokenMatcher matcher(*read);
  CHECK_FALSE(matcher.empty());
  CHECK(matcher.LongestPrefix("bbbb") == 2);
  CHECK(matcher.LongestPrefix("bb") == 0);
  CHECK(matcher.LongestPrefix("bcd") == 3);
  CHECK(matcher.LongestPrefix("cb") == 4);
  CHECK(matcher.LongestPrefix("d") == std::nullopt);
  CHECK(matcher.LongestPrefix("") == std::nullopt);
  const TokenSet excluded = {2};
  CHECK(matcher.LongestPrefix("bbbb", &excluded) == matcher.LongestPrefix("bb"));
}

}  // namespace
}  // namespace baton
