#include "engine/rag/verbatim.h"

#include "engine/base/strings.h"
#include "engine/rag/answer.h"

namespace baton {
namespace {

// As a literal of the grammar.
std::string QuotedLiteral(std::string_view text) {
  constexpr std::string_view kHex = "0123456789abcdef";
  std::string literal = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      literal += {'\\', c};
    } else if (byte < 0x20 || byte == 0x7f) {
      literal += {'\\', 'x', kHex[byte >> 4], kHex[byte & 15]};
    } else {
      literal += c;
    }
  }
  return literal + "\"";
}

std::string AnswerOf(const Citation& quote) { return StrCat(quote.quote, " [", quote.number, "]"); }

}  // namespace

std::string VerbatimGrammar(std::span<const Citation> quotes) {
  std::string grammar = StrCat("root ::= \" \"? (", QuotedLiteral(kRefusal));
  for (const Citation& quote : quotes) {
    grammar += StrCat(" | ", QuotedLiteral(AnswerOf(quote)));
  }
  return grammar + ")\n";
}

const Citation* FindVerbatim(std::span<const Citation> quotes, std::string_view answer) {
  if (answer.starts_with(' ')) answer.remove_prefix(1);
  for (const Citation& quote : quotes) {
    if (AnswerOf(quote) == answer) return &quote;
  }
  return nullptr;
}

}  // namespace baton
