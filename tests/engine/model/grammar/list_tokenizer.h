#pragma once

#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "engine/model/grammar/grammar_vocabulary.h"
#include "engine/model/tokenizer.h"

namespace baton {

// A tokenizer that is only a list of its tokens' bytes; those without are special.
class ListTokenizer : public Tokenizer {
 public:
  ListTokenizer(std::vector<std::string> tokens, std::set<TokenId> end_of_text)
      : tokens_(std::move(tokens)), end_of_text_(std::move(end_of_text)) {}

  std::vector<TokenId> Encode(std::string_view) const override { return {}; }
  std::string TokenBytes(TokenId token, bool) const override {
    return tokens_[static_cast<size_t>(token)];
  }
  int32_t vocabulary() const override { return static_cast<int32_t>(tokens_.size()); }
  std::optional<TokenId> bos() const override { return std::nullopt; }
  bool add_bos() const override { return false; }
  bool IsEndOfText(TokenId token) const override { return end_of_text_.contains(token); }

 private:
  const std::vector<std::string> tokens_;
  const std::set<TokenId> end_of_text_;
};

// Token 0 ends a text, 1 to 256 are the bytes, then come `others`.
inline std::shared_ptr<const GrammarVocabulary> ByteVocabulary(
    const std::vector<std::string>& others = {}) {
  std::vector<std::string> tokens = {""};
  for (int byte = 0; byte < 256; ++byte) {
    tokens.emplace_back(1, static_cast<char>(byte));
  }
  tokens.insert(tokens.end(), others.begin(), others.end());
  return std::make_shared<const GrammarVocabulary>(ListTokenizer(std::move(tokens), {0}));
}

}  // namespace baton
