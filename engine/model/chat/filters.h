#pragma once

#include <string_view>

#include "absl/status/statusor.h"
#include "engine/model/chat/arguments.h"
#include "engine/model/chat/workspace.h"

namespace baton::chat {

bool HasFilter(std::string_view name);

// value | name(arguments), as Jinja's filter of that name does it; tojson as transformers' own. Of
// a name that HasFilter knows.
absl::StatusOr<Value> ApplyFilter(std::string_view name, const Value& value,
                                  const Arguments& arguments, Workspace& workspace);

}  // namespace baton::chat
