#pragma once

#include <optional>
#include <string_view>

#include "server/token_file.h"

namespace baton {

// The scopes that an RPC needs, all of them; by "Service/Method". Nothing: it is not declared, and
// nobody with a token may call it.
std::optional<Scopes> ScopesOf(std::string_view method);

}  // namespace baton
