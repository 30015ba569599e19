#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/base/ids.h"

namespace baton {

class GgufFile;
struct RenderedChat;

// Text to token ids and back. Immutable and thread safe.
class Tokenizer {
 public:
  virtual ~Tokenizer() = default;

  // Any bytes are accepted: those that are not valid UTF-8 become byte or unknown tokens, or
  // nothing where the model drops U+FFFD. Text that spells a special token is treated as text. Runs
  // in O(n log n). Nothing is prepended.
  virtual std::vector<TokenId> Encode(std::string_view text) const = 0;

  // A prompt that a chat template wrote, by ChatEncoder's rules where the kind of tokenizer has
  // them: special tokens are those that the template spelled. Nothing is prepended.
  virtual std::vector<TokenId> EncodeChat(const RenderedChat& chat) const;

  // The bytes of one token; empty for special tokens and for ids outside the vocabulary.
  // `first`: the token begins a text, so that a space the tokenizer had added is dropped.
  virtual std::string TokenBytes(TokenId token, bool first) const = 0;

  virtual int32_t vocabulary() const = 0;
  virtual std::optional<TokenId> bos() const = 0;
  virtual bool add_bos() const = 0;  // whether the model wants bos before a prompt
  // What an encoder wants behind a text.
  virtual std::optional<TokenId> separator() const { return std::nullopt; }
  virtual std::optional<TokenId> eos() const { return std::nullopt; }
  virtual bool IsEndOfText(TokenId token) const = 0;
  // How the vocabulary spells a token of its own.
  virtual std::string_view Spelling(TokenId /*token*/) const { return ""; }
};

// The tokenizer described by a GGUF's tokenizer.ggml.* keys. UNIMPLEMENTED: a kind or pre-tokenizer
// that is not supported. INVALID_ARGUMENT: keys missing or contradicting each other.
absl::StatusOr<std::unique_ptr<const Tokenizer>> MakeTokenizer(const GgufFile& file);

// bos where the model wants it, then the text.
std::vector<TokenId> EncodePrompt(const Tokenizer& tokenizer, std::string_view text);
// bos where the model wants it and the template did not write it, then the chat.
std::vector<TokenId> EncodeChatPrompt(const Tokenizer& tokenizer, const RenderedChat& chat);
// All tokens' bytes; invalid UTF-8 replaced by U+FFFD.
std::string DecodeAll(const Tokenizer& tokenizer, const std::vector<TokenId>& tokens);

// Turns a growing sequence of tokens into text, holding back the bytes of an unfinished character.
class StreamDecoder {
 public:
  // `continues`: the tokens follow on a text, as generated ones do on a prompt, so that a leading
  // space belongs to them.
  explicit StreamDecoder(const Tokenizer& tokenizer, bool continues = false)
      : tokenizer_(tokenizer), first_(!continues) {}
  // The whole characters that `token` completes; invalid bytes become U+FFFD.
  std::string Push(TokenId token);
  // What is still held back at the end, as U+FFFD.
  std::string Finish();

 private:
  const Tokenizer& tokenizer_;
  std::string pending_;
  bool first_;
};

}  // namespace baton
