#pragma once

#include <span>
#include <string_view>

#include "absl/status/statusor.h"
#include "engine/model/chat/workspace.h"

namespace baton::chat {

bool HasTest(std::string_view name);

// value is name(arguments), as Jinja's test of that name has it. Of a name that HasTest knows.
absl::StatusOr<bool> ApplyTest(std::string_view name, const Value& value,
                               std::span<const Value> arguments, Workspace& workspace);

}  // namespace baton::chat
