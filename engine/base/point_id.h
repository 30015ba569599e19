#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "engine/base/ids.h"

namespace baton {

// Of a PointId: a number is below 2^64, a UUID is not.
inline uint64_t UpperHalf(PointId id) { return absl::Uint128High64(id); }
inline uint64_t LowerHalf(PointId id) { return absl::Uint128Low64(id); }
inline bool IsUuid(PointId id) { return UpperHalf(id) != 0; }
inline PointId MakePointId(uint64_t upper, uint64_t lower) {
  return absl::MakeUint128(upper, lower);
}

// A number in decimal, a UUID as "f81d4fae-7dec-11d0-a765-00a0c91e6bf6".
std::string IdText(PointId id);

// From that form, one without hyphens, or one behind "urn:uuid:", in either case. Nothing for any
// other text, nor where the first 8 bytes are zero, as of the nil UUID: those are numbers.
std::optional<PointId> ParseUuid(std::string_view text);

}  // namespace baton
