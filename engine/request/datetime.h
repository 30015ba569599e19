#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace baton {

// Microseconds since 1970-01-01T00:00:00Z of an RFC 3339 text: "2026-11-21T20:18:06.5+01:00"; a
// space may stand for the T, and a date alone is its midnight in UTC. Digits below a microsecond
// are cut off; a leap second is the first instant of the next minute. Nothing for any other text.
std::optional<int64_t> ParseDatetime(std::string_view text);

}  // namespace baton
