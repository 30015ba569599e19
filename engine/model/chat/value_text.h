#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "engine/model/chat/workspace.h"

// Values as text, the text's origins kept.
namespace baton::chat {

// As {{ value }} and str() show it. INVALID_ARGUMENT: too deep, or over the budget.
absl::StatusOr<MarkedText> ToText(const Value& value, Workspace& workspace);

// As Python's json.dumps with ensure_ascii=False, which is what transformers' tojson does.
struct JsonStyle {
  std::optional<std::string> indent = {};  // absent: one line
  std::string item_separator = ", ";
  std::string key_separator = ": ";
  bool sort_keys = false;
  bool ensure_ascii = false;
};
// INVALID_ARGUMENT: also for a value that JSON has not.
absl::StatusOr<MarkedText> ToJson(const Value& value, const JsonStyle& style, Workspace& workspace);

}  // namespace baton::chat
