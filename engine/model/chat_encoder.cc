#include "engine/model/chat_encoder.h"

#include <optional>

#include "engine/model/chat/marked_text.h"
#include "engine/model/chat/python_text.h"

namespace baton {
namespace {

bool IsUserDefined(const Vocabulary& words, TokenId token) {
  return words.Type(token) == TokenType::kUserDefined;
}

// <|name|>, or the same with the full-width bars of deepseek's.
bool LooksLikeMarkup(std::string_view text) {
  constexpr std::string_view kWideBar = "\xEF\xBD\x9C";
  if (!text.starts_with('<') || !text.ends_with('>')) return false;
  const std::string_view inside = text.substr(1, text.size() - 2);
  return (inside.starts_with('|') && inside.ends_with('|')) ||
         (inside.starts_with(kWideBar) && inside.ends_with(kWideBar));
}

bool IsBlank(std::string_view text) {
  const MarkedText::Range inside = chat::Stripped(text, chat::Side::kBoth, std::nullopt);
  return inside.begin == inside.end;
}

}  // namespace

ChatEncoder::ChatEncoder(const Vocabulary& words, bool strips)
    : words_(words),
      special_(words,
               [&words](TokenId token) {
                 return words.IsSpecial(token) || IsUserDefined(words, token);
               }),
      user_(words, [&words](TokenId token) { return IsUserDefined(words, token); }),
      strips_(strips) {
  for (TokenId token = 0; token < words.size(); ++token) {
    if (IsUserDefined(words, token) &&
        (LooksLikeMarkup(words.Text(token)) || words.IsEndOfText(token))) {
      always_markup_.insert(token);
    }
  }
}

TokenSet ChatEncoder::MarkupOf(std::string_view template_source) const {
  TokenSet markup = always_markup_;
  if (user_.empty()) return markup;
  for (; !template_source.empty(); template_source.remove_prefix(1)) {
    const auto token = user_.LongestPrefix(template_source);
    // Vocabularies also have line ends and runs of spaces as tokens, for any text.
    if (token.has_value() && !IsBlank(words_.Text(*token))) markup.insert(*token);
  }
  return markup;
}

std::vector<TokenId> ChatEncoder::Encode(const RenderedChat& chat, EncodeText encode_text) const {
  const TokenSet markup = MarkupOf(chat.template_source);
  const std::string_view text = chat.text.bytes();
  std::vector<TokenId> tokens;
  auto request = chat.text.from_request().begin();
  const auto request_end = chat.text.from_request().end();
  size_t start = 0;  // of the text since the last markup
  size_t at = 0;
  while (at < text.size()) {
    while (request != request_end && request->end <= at) ++request;
    if (request != request_end && request->begin <= at) {
      at = request->end;
      continue;
    }
    const size_t end = request == request_end ? text.size() : request->begin;
    const auto token = special_.LongestPrefix(text.substr(at, end - at));
    if (!token.has_value() || (IsUserDefined(words_, *token) && !markup.contains(*token))) {
      ++at;
      continue;
    }
    if (start < at) encode_text(text.substr(start, at - start), markup, tokens);
    tokens.push_back(*token);
    at += words_.Text(*token).size();
    if (strips_ && words_.Type(*token) == TokenType::kControl && token != words_.bos() &&
        words_.Text(*token) != "<|endoftext|>") {
      at += chat::Stripped(text.substr(at), chat::Side::kLeft, std::nullopt).begin;
    }
    start = at;
  }
  if (start < text.size()) encode_text(text.substr(start), markup, tokens);
  return tokens;
}

}  // namespace baton
