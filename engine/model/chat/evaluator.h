#pragma once

#include "absl/status/statusor.h"
#include "engine/model/chat/syntax.h"
#include "engine/model/chat/workspace.h"

namespace baton::chat {

// Runs a template over its variables. INVALID_ARGUMENT names line and column, and what went wrong
// or which limit was reached.
absl::StatusOr<MarkedText> Evaluate(const Block& block, const Dict& variables,
                                    Workspace& workspace);

}  // namespace baton::chat
