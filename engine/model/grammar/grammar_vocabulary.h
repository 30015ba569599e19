#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/ids.h"
#include "engine/model/grammar/token_trie.h"

namespace baton {

class Tokenizer;

// What grammars need of a tokenizer's tokens, worked out once for each tokenizer: some 15 MB and a
// few 100 ms for 150,000 tokens. Immutable and thread safe.
class GrammarVocabulary {
 public:
  static constexpr size_t kTokenBytesMax = 4096;  // longer tokens are never allowed

  explicit GrammarVocabulary(const Tokenizer& tokenizer);

  int32_t size() const { return static_cast<int32_t>(ends_.size()); }
  bool Contains(TokenId token) const { return token >= 0 && token < size(); }
  // Empty: a special token, which stands for no text.
  std::string_view Bytes(TokenId token) const {
    const size_t begin = token == 0 ? 0 : ends_[static_cast<size_t>(token) - 1];
    return std::string_view(bytes_).substr(begin, ends_[static_cast<size_t>(token)] - begin);
  }
  // By id.
  const std::vector<TokenId>& end_of_text() const { return end_of_text_; }
  bool IsEndOfText(TokenId token) const;

  const TokenTrie& short_tokens() const { return short_tokens_; }  // <= kClassBytes
  const TokenTrie& long_tokens() const { return long_tokens_; }    // the others

 private:
  std::string bytes_;         // of all tokens, by id
  std::vector<size_t> ends_;  // [tokens] in bytes_
  std::vector<TokenId> end_of_text_;
  TokenTrie short_tokens_;
  TokenTrie long_tokens_;
};

}  // namespace baton
