#pragma once

#include <optional>
#include <string_view>

#include "absl/status/statusor.h"
#include "engine/model/chat/arguments.h"
#include "engine/model/chat/workspace.h"

namespace baton::chat {

// What a name stands for that no variable has.
std::optional<Function> FindFunction(std::string_view name);

// raise_exception ends the rendering with its message.
absl::StatusOr<Value> CallFunction(Function function, const Arguments& arguments,
                                   Workspace& workspace);

}  // namespace baton::chat
