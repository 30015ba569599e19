#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "engine/base/ids.h"

namespace baton {

class GgufFile;

using TokenSet = absl::flat_hash_set<TokenId>;

// What a token is, in GGUF's numbers.
enum class TokenType : int32_t {
  kNormal = 1,
  kUnknown = 2,
  kControl = 3,
  kUserDefined = 4,
  kUnused = 5,
  kByte = 6,
};

// The tokens of a model as its file lists them, independent of how text is split into them.
// Immutable after Read; owns its bytes.
class Vocabulary {
 public:
  // Reads tokenizer.ggml.{tokens,token_type,*_token_id,add_bos_token}. INVALID_ARGUMENT: absent,
  // empty, of contradicting lengths, or an id outside the vocabulary.
  static absl::StatusOr<Vocabulary> Read(const GgufFile& file);

  int32_t size() const { return static_cast<int32_t>(tokens_.size()); }
  bool Contains(TokenId token) const { return token >= 0 && token < size(); }
  std::string_view Text(TokenId token) const { return tokens_[static_cast<size_t>(token)]; }
  TokenType Type(TokenId token) const { return types_[static_cast<size_t>(token)]; }
  // Control and unknown tokens: they stand for no text.
  bool IsSpecial(TokenId token) const {
    return Type(token) == TokenType::kControl || Type(token) == TokenType::kUnknown;
  }
  // By exact text, of whatever type; where several tokens share a text, the last.
  std::optional<TokenId> Find(std::string_view text) const;

  std::optional<TokenId> bos() const { return bos_; }
  std::optional<TokenId> eos() const { return eos_; }
  std::optional<TokenId> unknown() const { return unknown_; }
  std::optional<TokenId> cls() const { return cls_; }              // where the file says
  std::optional<TokenId> separator() const { return separator_; }  // where the file says
  std::optional<bool> add_bos() const { return add_bos_; }         // where the file says
  bool IsEndOfText(TokenId token) const;

 private:
  Vocabulary() = default;

  std::unique_ptr<char[]> bytes_;  // of all tokens
  std::vector<std::string_view> tokens_;
  std::vector<TokenType> types_;
  absl::flat_hash_map<std::string_view, TokenId> by_text_;
  std::optional<TokenId> bos_;
  std::optional<TokenId> eos_;
  std::optional<TokenId> unknown_;
  std::optional<TokenId> cls_;
  std::optional<TokenId> separator_;
  std::optional<bool> add_bos_;
  std::vector<TokenId> end_of_text_;
};

// Finds some tokens of a vocabulary in text, before anything else is split. Immutable; the tokens'
// texts are the vocabulary's.
class TokenMatcher {
 public:
  using Wanted = absl::FunctionRef<bool(TokenId)>;

  // User-defined tokens, which are found in any text, unless they end one.
  explicit TokenMatcher(const Vocabulary& vocabulary);
  // The wanted tokens that have text.
  TokenMatcher(const Vocabulary& vocabulary, Wanted wanted);

  bool empty() const { return sorted_.empty(); }
  // The longest of the tokens that `text` starts with, but none of `excluded`. Costs one byte
  // compare where no token starts with text[0].
  std::optional<TokenId> LongestPrefix(std::string_view text,
                                       const TokenSet* excluded = nullptr) const;

 private:
  struct Entry {
    std::string_view text;
    TokenId token;
  };
  std::vector<Entry> sorted_;  // by text
  bool first_byte_[256] = {};
};

}  // namespace baton
