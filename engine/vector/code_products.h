#pragma once

#include <cstdint>

#include "engine/base/simd_level.h"
#include "engine/vector/query_code.h"

namespace baton {

// Values of a row's code are padded with zeros to this many: whole cache lines and registers, or a
// power of two that divides them.
constexpr int64_t CodeStride(int64_t dimension) {
  if (dimension <= 16) return 16;
  if (dimension <= 32) return 32;
  return (dimension + 63) / 64 * 64;
}

// Values of a query may be so large, or so far below zero: high is at most 127, and no sum of
// products overflows.
constexpr int32_t QueryValueMax(int64_t stride) {
  const int64_t no_overflow = INT32_MAX / (255 * stride);
  return static_cast<int32_t>(no_overflow < 127 * 128 ? no_overflow : 127 * 128);
}

// products[i] = sum over j of query[j] * code[j], squares[i] = sum over j of code[j] * code[j], of
// the first `length` values of the code in row rows[i], exactly. Squares cost little beside reading
// the code; not asked for where null, nor where the length is above kSquaresStrideMax.
//   codes: [any, stride], row-major; rows, products, squares: [count]; stride of CodeStride
//   length: stride, or whole cache lines of it
using CodeProductsFn = void (*)(const QueryCode& query, const uint8_t* codes, int64_t stride,
                                int64_t length, const uint32_t* rows, int64_t count,
                                int32_t* products, int32_t* squares);
inline constexpr int64_t kSquaresStrideMax = INT32_MAX / (255 * 255) / 64 * 64;

// The function compiled for `level`; the processor must support it.
CodeProductsFn CodeProductsFor(SimdLevel level = DetectedSimdLevel());

}  // namespace baton
