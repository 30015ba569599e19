#include "engine/model/tokenizer.h"

#include <map>

#include "catch2/catch.hpp"
#include "engine/model/gguf.h"
#include "tests/support/gguf_writer.h"
#include "tests/support/status_matchers.h"

namespace baton {
namespace {

// Token i is the byte i; 256 is " a" with a space that a text's start drops; 257 is special.
class ByteTokenizer final : public Tokenizer {
 public:
  std::vector<TokenId> Encode(std::string_view text) const override {
    std::vector<TokenId> tokens;
    for (const char c : text) {
      tokens.push_back(static_cast<uint8_t>(c));
    }
    return tokens;
  }
  std::string TokenBytes(TokenId token, bool first) const override {
    if (token == 256) {
      return first ? "a" : " a";
    }
    return token < 256 ? std::string(1, static_cast<char>(token)) : "";
  }
  int32_t vocabulary() const override { return 258; }
  std::optional<TokenId> bos() const override { return 257; }
  bool add_bos() const override { return true; }
  bool IsEndOfText(TokenId) const override { return false; }
};

const std::string kBad = "\xEF\xBF\xBD";

TEST_CASE("characters come out whole", "[stream_decoder]") {
  const ByteTokenizer tokenizer;
  StreamDecoder decoder(tokenizer);
  CHECK(decoder.Push('x') == "x");
  CHECK(decoder.Push(0xF0).empty());
  CHECK(decoder.Push(0x9F).empty());
  CHECK(decoder.Push(0x98).empty());
  CHECK(decoder.Push(0x80) == "\xF0\x9F\x98\x80");
  CHECK(decoder.Push(0xE2).empty());
  CHECK(decoder.Push('y') == kBad + "y");
  CHECK(decoder.Push(0x80) == kBad);
  CHECK(decoder.Push(0xC3).empty());
  CHECK(decoder.Push(0xC3) == kBad);
  CHECK(decoder.Push(0xA9) == "\xC3\xA9");
  CHECK(decoder.Push(257).empty());
  CHECK(decoder.Finish().empty());
  CHECK(decoder.Push(0xF0).empty());
  CHECK(decoder.Push(0x9F).empty());
  CHECK(decoder.Finish() == kBad);
  CHECK(decoder.Finish().empty());
}

TEST_CASE("a text's first space is dropped once, after special tokens too", "[stream_decoder]") {
  const ByteTokenizer tokenizer;
  CHECK(DecodeAll(tokenizer, {256, 256}) == "a a");
  CHECK(DecodeAll(tokenizer, {257, 256, 257, 256}) == "a a");
  StreamDecoder continued(tokenizer, /*continues=*/true);
  CHECK(continued.Push(256) == " a");
}

TEST_CASE("decoding any bytes gives UTF-8", "[stream_decoder]") {
  const ByteTokenizer tokenizer;
  CHECK(DecodeAll(tokenizer, tokenizer.Encode("a\xFF\xC3\xA9\xED\xA0\x80")) ==
        "a" + kBad + "\xC3\xA9" + kBad + kBad + kBad);
  CHECK(DecodeAll(tokenizer, {}).empty());
}

TEST_CASE("a prompt starts with bos where the model wants it", "[tokenizer]") {
  CHECK(EncodePrompt(ByteTokenizer(), "ab") == std::vector<TokenId>{257, 'a', 'b'});
}

TEST_CASE("unknown kinds of tokenizers are refused by name", "[tokenizer]") {
  GgufWriter writer;
  writer.AddString("tokenizer.ggml.model", "t5");
  const std::string bytes = writer.Bytes();
  const auto file = GgufFile::FromMemory("t.gguf", std::as_bytes(std::span(bytes)));
  REQUIRE_OK(file);
  REQUIRE_STATUS(MakeTokenizer(**file), absl::StatusCode::kUnimplemented, "'t5'");
}

}  // namespace
}  // namespace baton
