#pragma once

#include <cstddef>
#include <cstdint>

#include "engine/base/simd_level.h"
#include "engine/vector/scan_screen.h"

namespace baton {

// Rows coded by 4 bits a value lie in blocks of 16, so that each lane of a register sums up another
// row and what screens read follows each other:
//   f32 low, step, error, size, [16] each: ScanRows
//   lines [NibbleLines(dimension)] of 64 bytes: [16 rows, 4]; byte b of line l has value 8 l + b in
//   its low bits, value 8 l + 4 + b in its high ones, zero beyond the dimension
inline constexpr int64_t kNibbleBlockRows = 16;
inline constexpr int64_t kNibbleLineBytes = 64;
inline constexpr int64_t kNibbleLineValues = 8;
inline constexpr int64_t kNibbleTermsBytes = 4 * kNibbleBlockRows * int64_t{sizeof(float)};
constexpr int64_t NibbleLines(int64_t dimension) {
  return (dimension + kNibbleLineValues - 1) / kNibbleLineValues;
}
constexpr int64_t NibbleBlockBytes(int64_t dimension) {
  return kNibbleTermsBytes + NibbleLines(dimension) * kNibbleLineBytes;
}
// The dimension may be so large: no sum of products overflows, not of 16 times a code either.
inline constexpr int64_t kNibbleDimensionMax = int64_t{2} * (INT32_MAX / (240 * 127));

struct NibbleScreen {
  const int8_t* query = nullptr;  // [lines, 8], zero beyond the dimension
  int64_t lines = 0;
  const std::byte* blocks = nullptr;  // [block_count, NibbleBlockBytes], aligned to 64 bytes
  int64_t block_count = 0;
};

// Writes the places, ascending, of those rows whose key is not above their limit (ScanLimits), with
// product = sum over j of query[j] * code[j]; returns how many there are.
//   places: [block_count, 16]
using NibbleScreenFn = int64_t (*)(const ScanLimits& limits, const NibbleScreen& screen,
                                   uint32_t* places);

// The function compiled for `level`, which the processor must support. kCosine is as kDot.
NibbleScreenFn NibbleScreenFor(Metric metric, SimdLevel level = DetectedSimdLevel());

}  // namespace baton
