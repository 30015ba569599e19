#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/model/chat/syntax.h"

namespace baton::chat {

struct Token {
  enum class Kind : uint8_t {
    kText,         // outside of tags
    kOutputBegin,  // {{
    kOutputEnd,    // }}
    kBlockBegin,   // {%
    kBlockEnd,     // %}
    kName,
    kInteger,
    kFloat,
    kString,  // `text` is what it means
    kSign,    // an operator, bracket or separator
    kEnd,     // of the template
  };
  Kind kind;
  SourcePosition at;
  std::string text;

  bool Is(Kind wanted, std::string_view wanted_text) const {
    return kind == wanted && text == wanted_text;
  }
};

// A template's source as tokens, the last one kEnd. Comments are gone, raw blocks are text, and
// white space is as Jinja leaves it with trim_blocks and lstrip_blocks, which is how transformers
// renders: the line end behind a block tag goes, and so does the space before one that begins its
// line. INVALID_ARGUMENT names line and column.
absl::StatusOr<std::vector<Token>> Lex(std::string_view source);

// "template line 3, column 14: what"
absl::Status TemplateError(SourcePosition at, std::string_view what);

}  // namespace baton::chat
