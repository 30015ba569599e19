#pragma once

#include <initializer_list>
#include <string_view>

#include "absl/status/status.h"

// What a JSON library does not do: bounds before it recurses, and values as they were written.
namespace baton {

// Deeper nesting is refused: others read a document recursively.
inline constexpr int kJsonDepthMax = 128;
// INVALID_ARGUMENT where arrays and objects are within one another deeper than that. Any text.
absl::Status CheckJsonDepth(std::string_view text);

// The value at this path of keys as it stands in a valid JSON document, an object's keys in the
// order they were written in; of a key that is there twice the last. Empty where there is none.
std::string_view RawJsonValue(std::string_view document,
                              std::initializer_list<std::string_view> path);

}  // namespace baton
