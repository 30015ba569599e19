#pragma once

#include <string>
#include <string_view>

#include "absl/status/status.h"

namespace baton {

// JSON pointers (RFC 6901) as URI fragments: "#" is the whole document, "#/a/0" an element of it.

// `key` behind `parent`; ~ and / become ~0 and ~1, the rest stays as it is.
std::string JsonPointerTo(const std::string& parent, std::string_view key);

// The key that one part of a pointer, between two slashes, stands for: %HH, ~0 and ~1 undone.
std::string JsonPointerKey(std::string_view part);

// INVALID_ARGUMENT, with the byte: JSON nested deeper than nesting_max, before it is parsed. Text
// that is not JSON passes.
absl::Status CheckJsonNesting(std::string_view text, int nesting_max);

}  // namespace baton
