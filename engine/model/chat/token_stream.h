#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/base/strings.h"
#include "engine/model/chat/lexer.h"

namespace baton::chat {

// Tokens one after another; behind the last one, that one again.
class TokenStream {
 public:
  explicit TokenStream(std::vector<Token> tokens) : tokens_(std::move(tokens)) {}

  const Token& current() const { return tokens_[at_]; }
  const Token& next() const { return tokens_[at_ + 1 < tokens_.size() ? at_ + 1 : at_]; }
  Token Take() { return at_ + 1 < tokens_.size() ? std::move(tokens_[at_++]) : tokens_[at_]; }
  bool TakeSign(std::string_view sign) { return TakeIf(Token::Kind::kSign, sign); }
  bool TakeName(std::string_view name) { return TakeIf(Token::Kind::kName, name); }

  // The current token for a message: "'endif'".
  std::string Shown() const { return StrCat("'", Escaped(current().text), "'"); }
  absl::Status ErrorHere(std::string_view what) const { return TemplateError(current().at, what); }

 private:
  bool TakeIf(Token::Kind kind, std::string_view text) {
    if (!current().Is(kind, text)) return false;
    Take();
    return true;
  }

  std::vector<Token> tokens_;  // not empty
  size_t at_ = 0;
};

}  // namespace baton::chat
