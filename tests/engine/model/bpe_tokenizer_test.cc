#include "engine/model/bpe_tokenizer.h"

#include <ctime>
#include <random>
#include <string>

#include "catch2/catch.hpp"
#include "engine/model/gguf.h"
#include "engine/model/utf8.h"
#include "tests/support/gguf_writer.h"
#include "tests/support/status_matchers.h"

namespace baton {
namespace {

// The 256 characters of the byte alphabet in byte order, written out independently of the code
// under test: printable Latin-1 as is, the rest from U+0100 on.
std::vector<std::string> ByteTokens() {
  std::vector<std::string> tokens;
  char32_t next = 0x100;
  for (int byte = 0; byte < 256; ++byte) {
    const bool kept =
        (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
    tokens.emplace_back();
    AppendUtf8(kept ? static_cast<char32_t>(byte) : next++, tokens.back());
  }
  return tokens;
}

struct Parts {
  std::vector<std::string> more_tokens;  // from id 256 on
  std::vector<std::string> merges;
  std::string pre = "gpt-2";
  std::vector<int32_t> more_types;
};

GgufWriter Write(const Parts& parts) {
  GgufWriter writer;
  writer.AddString("tokenizer.ggml.model", "gpt2");
  writer.AddString("tokenizer.ggml.pre", parts.pre);
  std::vector<std::string> tokens = ByteTokens();
  tokens.insert(tokens.end(), parts.more_tokens.begin(), parts.more_tokens.end());
  writer.AddStrings("tokenizer.ggml.tokens", tokens);
  std::vector<int32_t> types(256, 1);
  types.insert(types.end(), parts.more_types.begin(), parts.more_types.end());
  types.resize(tokens.size(), 1);
  writer.AddInts("tokenizer.ggml.token_type", types);
  writer.AddStrings("tokenizer.ggml.merges", parts.merges);
  return writer;
}

absl::StatusOr<std::unique_ptr<const Tokenizer>> Make(const GgufWriter& writer) {
  const std::string bytes = writer.Bytes();
  const auto file = GgufFile::FromMemory("bpe.gguf", std::as_bytes(std::span(bytes)));
  REQUIRE_OK(file);
  return MakeTokenizer(**file);
}

using Ids = std::vector<TokenId>;

TEST_CASE("merges happen in their order, from the left", "[bpe]") {
  const auto tokenizer = Make(Write({.more_tokens = {"aa", "ab", "aab",
                                                     "\xC4\xA0"
                                                     "a"},
                                     .merges = {"a a", "a b", "aa b", "\xC4\xA0 a"},
                                     .pre = "gpt-2",
                                     .more_types = {}}));
  REQUIRE_OK(tokenizer);
  CHECK((*tokenizer)->Encode("aab") == Ids{258});
  CHECK((*tokenizer)->Encode("ab") == Ids{257});
  CHECK((*tokenizer)->Encode("aaa") == Ids{256, 'a'});
  CHECK((*tokenizer)->Encode("b a") == Ids{'b', 259});
  CHECK((*tokenizer)->TokenBytes(259, true) == " a");  // BPE adds no space
  CHECK((*tokenizer)->Encode("").empty());
  CHECK_FALSE((*tokenizer)->add_bos());
}

TEST_CASE("llama-bpe takes a word that is a token whole", "[bpe]") {
  Parts parts{.more_tokens = {"ab", "cd", "abcd"},
              .merges = {"a b", "c d"},
              .pre = "gpt-2",
              .more_types = {}};
  const auto plain = Make(Write(parts));
  REQUIRE_OK(plain);
  CHECK((*plain)->Encode("abcd") == Ids{256, 257});
  parts.pre = "llama-bpe";
  const auto whole = Make(Write(parts));
  REQUIRE_OK(whole);
  CHECK((*whole)->Encode("abcd") == Ids{258});
}

TEST_CASE("special tokens in a text are text, user-defined ones are tokens", "[bpe]") {
  GgufWriter writer = Write({.more_tokens = {"<|end|>", "<tool>", "<tool>>"},
                             .merges = {},
                             .pre = "gpt-2",
                             .more_types = {3, 4, 4}});
  writer.AddUint32("tokenizer.ggml.bos_token_id", 256);
  writer.AddBool("tokenizer.ggml.add_bos_token", true);
  const auto tokenizer = Make(writer);
  REQUIRE_OK(tokenizer);
  CHECK((*tokenizer)->Encode("<|end|>") == Ids{'<', '|', 'e', 'n', 'd', '|', '>'});
  CHECK((*tokenizer)->Encode("a<tool>b") == Ids{'a', 257, 'b'});
  CHECK((*tokenizer)->Encode("<tool>>") == Ids{258});
  CHECK((*tokenizer)->TokenBytes(257, false) == "<tool>");
  CHECK((*tokenizer)->TokenBytes(256, false).empty());
  CHECK((*tokenizer)->IsEndOfText(256));
  CHECK(EncodePrompt(**tokenizer, "a") == Ids{256, 'a'});
}

TEST_CASE("any bytes come back", "[bpe]") {
  constexpr uint64_t kSeed = 5;
  CAPTURE(kSeed);
  std::mt19937_64 random(kSeed);
  const std::string pre = GENERATE("gpt-2", "llama-bpe", "deepseek-llm");
  const auto tokenizer = Make(Write(
      {.more_tokens = {"th", "the"}, .merges = {"t h", "th e"}, .pre = pre, .more_types = {}}));
  REQUIRE_OK(tokenizer);
  for (int round = 0; round < 1000; ++round) {
    std::string text;
    for (uint64_t length = random() % 40; length > 0; --length) {
      text += random() % 3 == 0 ? static_cast<char>(random()) : "the 1\n"[random() % 6];
    }
    std::string bytes;
    for (const TokenId token : (*tokenizer)->Encode(text)) {
      bytes += (*tokenizer)->TokenBytes(token, false);
    }
    CAPTURE(pre, text);
    REQUIRE(bytes == text);
  }
}

TEST_CASE("one endless word takes n log n time", "[bpe]") {
  const auto tokenizer = Make(Write({.more_tokens = {"aa", "aaaa"},
                                     .merges = {"a a", "aa aa"},
                                     .pre = "gpt-2",
                                     .more_types = {}}));
  REQUIRE_OK(tokenizer);
  const std::clock_t start = std::clock();
  CHECK((*tokenizer)->Encode(std::string(400'000, 'a')).size() == 100'000);
  CHECK(std::clock() - start < 10 * CLOCKS_PER_SEC);
}

TEST_CASE("a vocabulary that cannot work is refused by key", "[bpe]") {
  using absl::StatusCode;
  REQUIRE_STATUS(Make(Write({.more_tokens = {}, .merges = {}, .pre = "martian", .more_types = {}})),
                 StatusCode::kUnimplemented, "'martian', which is not a known pre-tokenizer");
  for (const std::string merge : {"a b", "ab", "", " ", "a ", " a", "q x"}) {
    CAPTURE(merge);
    REQUIRE_STATUS(
        Make(Write(
            {.more_tokens = {"qxy"}, .merges = {"q " + merge}, .pre = "gpt-2", .more_types = {}})),
        StatusCode::kInvalidArgument, "merge 0");
    REQUIRE_STATUS(
        Make(Write({.more_tokens = {}, .merges = {merge}, .pre = "gpt-2", .more_types = {}})),
        StatusCode::kInvalidArgument, "merge 0");
  }
  GgufWriter writer;
  writer.AddString("tokenizer.ggml.model", "gpt2");
  writer.AddStrings("tokenizer.ggml.tokens", {"a", "b"});
  REQUIRE_STATUS(Make(writer), StatusCode::kInvalidArgument, "no token for byte 0");
  writer.AddUint32("tokenizer.ggml.unknown_token_id", 1);
  REQUIRE_STATUS(Make(writer), StatusCode::kNotFound, "tokenizer.ggml.merges");
  writer.AddStrings("tokenizer.ggml.merges", {});
  const auto tokenizer = Make(writer);
  REQUIRE_OK(tokenizer);
  CHECK((*tokenizer)->Encode("a?") == Ids{0, 1});
}

}  // namespace
}  // namespace baton
