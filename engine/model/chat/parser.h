#pragma once

#include <string_view>

#include "absl/status/statusor.h"
#include "engine/model/chat/syntax.h"

namespace baton::chat {

// The statements of a template. INVALID_ARGUMENT names line and column: what is no Jinja, a filter,
// test or statement that is not supported, and what is nested deeper than kNestingMax.
absl::StatusOr<Block> ParseTemplate(std::string_view source);

}  // namespace baton::chat
