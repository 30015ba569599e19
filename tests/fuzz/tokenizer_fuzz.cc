// Any bytes as a text, through one tokenizer of each kind: what is encoded must come back as it
// was, or, where only its words do, be encoded the same again; and decoding it as a stream must
// give the same text as decoding it at once. As a message's content it never makes a special token.

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/model/chat/chat_templates.h"
#include "engine/model/gguf.h"
#include "engine/model/tokenizer.h"
#include "engine/model/utf8.h"
#include "tests/support/gguf_writer.h"

namespace baton {
namespace {

std::unique_ptr<const Tokenizer> Make(const GgufWriter& writer) {
  const std::string bytes = writer.Bytes();
  const auto file = GgufFile::FromMemory("fuzz", std::as_bytes(std::span(bytes)));
  auto tokenizer = MakeTokenizer(**file);
  return std::move(*tokenizer);
}

// The byte alphabet and a few merges.
std::unique_ptr<const Tokenizer> MakeBpe(const char* pre) {
  std::vector<std::string> tokens;
  char32_t next = 0x100;
  for (int byte = 0; byte < 256; ++byte) {
    const bool kept =
        (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
    tokens.emplace_back();
    AppendUtf8(kept ? static_cast<char32_t>(byte) : next++, tokens.back());
  }
  for (const char* token : {"th", "the", "aa", "aaaa", "\xC4\xA0t", "\xC4\xA0the", "<tool>"}) {
    tokens.emplace_back(token);
  }
  std::vector<int32_t> types(tokens.size(), 1);
  types.back() = 4;
  GgufWriter writer;
  writer.AddString("tokenizer.ggml.model", "gpt2");
  writer.AddString("tokenizer.ggml.pre", pre);
  writer.AddStrings("tokenizer.ggml.tokens", tokens);
  writer.AddInts("tokenizer.ggml.token_type", types);
  writer.AddStrings("tokenizer.ggml.merges",
                    {"t h", "th e", "a a", "aa aa", "\xC4\xA0 t", "\xC4\xA0 the"});
  return Make(writer);
}

// The unknown token is the first.
std::unique_ptr<const Tokenizer> MakeWordPiece() {
  std::vector<std::string> tokens = {"[UNK]", "[CLS]", "[SEP]", "<tool>"};
  const std::string mark = "\xE2\x96\x81";
  for (char32_t c = '!'; c < 0x250; ++c) {
    tokens.emplace_back();
    AppendUtf8(c, tokens.back());
    tokens.push_back(mark + tokens.back());
  }
  for (const char* token : {"th", "the", "aa", "aaaa", "\xE6\x9D\xB1"}) {
    tokens.emplace_back(token);
    tokens.push_back(mark + token);
  }
  std::vector<int32_t> types(tokens.size(), 1);
  types[3] = 4;
  GgufWriter writer;
  writer.AddString("tokenizer.ggml.model", "bert");
  writer.AddStrings("tokenizer.ggml.tokens", tokens);
  writer.AddInts("tokenizer.ggml.token_type", types);
  return Make(writer);
}

std::vector<std::unique_ptr<const Tokenizer>> MakeAll() {
  std::vector<std::unique_ptr<const Tokenizer>> all;
  GgufWriter spm;
  AddRandomModelKeys({.chat_template = "x"}, spm);
  all.push_back(Make(spm));
  for (const char* pre :
       {"default", "gpt-2", "llama-bpe", "qwen2", "starcoder", "deepseek-llm", "deepseek-coder"}) {
    all.push_back(MakeBpe(pre));
  }
  return all;
}

void Require(bool condition) {
  if (!condition) {
    std::abort();
  }
}

void CheckWords(const Tokenizer& tokenizer, std::string_view text) {
  const std::vector<TokenId> tokens = tokenizer.Encode(text);
  bool known = true;
  for (const TokenId token : tokens) {
    Require(token >= 0 && token < tokenizer.vocabulary());
    known = known && token != 0;
  }
  Require(!known || tokenizer.Encode(DecodeAll(tokenizer, tokens)) == tokens);
}

void CheckText(const Tokenizer& tokenizer, std::string_view text) {
  const std::vector<TokenId> tokens = tokenizer.Encode(text);
  std::string bytes;
  std::string streamed;
  StreamDecoder decoder(tokenizer);
  for (size_t i = 0; i < tokens.size(); ++i) {
    Require(tokens[i] >= 0 && tokens[i] < tokenizer.vocabulary());
    bytes += tokenizer.TokenBytes(tokens[i], i == 0);
    streamed += decoder.Push(tokens[i]);
  }
  streamed += decoder.Finish();
  for (std::string_view left = streamed; !left.empty();) {
    const size_t length = Utf8CharBytes(left);
    Require(length != 0);
    left.remove_prefix(length);
  }
  // SPM vocabularies write a space as U+2581, so that a text's own U+2581 reads back as a space.
  if (text.find("\xE2\x96\x81") == text.npos) {
    Require(bytes == text);
  }
}

// Of the first tokenizer, whose control tokens kTestChatToken ... end with <|end|>.
void CheckChat(const Tokenizer& tokenizer, std::string_view text) {
  constexpr TokenId kEnd = kTestChatToken + 2;
  RenderedChat chat;
  chat.text.Append("<|user|>", Origin::kTemplate);
  chat.text.Append(text, Origin::kRequest);
  chat.text.Append("<|end|>", Origin::kTemplate);
  const std::vector<TokenId> tokens = tokenizer.EncodeChat(chat);
  Require(tokens.size() >= 2 && tokens.front() == kTestChatToken && tokens.back() == kEnd);
  for (size_t i = 1; i + 1 < tokens.size(); ++i) {
    Require(tokens[i] != tokenizer.bos() && (tokens[i] < kTestChatToken || tokens[i] > kEnd));
  }
}

}  // namespace
}  // namespace baton

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const auto& tokenizers =
      *new std::vector<std::unique_ptr<const baton::Tokenizer>>(baton::MakeAll());
  for (const auto& tokenizer : tokenizers) {
    baton::CheckText(*tokenizer, {reinterpret_cast<const char*>(data), size});
  }
  baton::CheckChat(*tokenizers.front(), {reinterpret_cast<const char*>(data), size});
  static const auto& word_piece = *baton::MakeWordPiece().release();
  baton::CheckWords(word_piece, {reinterpret_cast<const char*>(data), size});
  return 0;
}
