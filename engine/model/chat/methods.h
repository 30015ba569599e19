#pragma once

#include <optional>
#include <string_view>

#include "absl/status/statusor.h"
#include "engine/model/chat/arguments.h"
#include "engine/model/chat/workspace.h"

namespace baton::chat {

// The name, in static storage, of a method that values of this kind have, such as "strip" of texts.
std::optional<std::string_view> FindMethod(const Value& self, std::string_view name);

// self.name(arguments), of a name that FindMethod knows.
absl::StatusOr<Value> CallMethod(const Method& method, const Arguments& arguments,
                                 Workspace& workspace);

}  // namespace baton::chat
