#pragma once

#include <string_view>

#include "absl/status/statusor.h"
#include "engine/model/chat/workspace.h"

namespace baton::chat {

// JSON (RFC 8259) as a value of `workspace`. Its texts and keys are the request's; numbers without
// fraction and exponent are integers where 64 bits hold them; of keys that are equal, the last one
// counts. INVALID_ARGUMENT names the byte: no JSON, no UTF-8, or nested deeper than kValueDepthMax.
absl::StatusOr<Value> ParseJson(std::string_view text, Workspace& workspace);

}  // namespace baton::chat
