#pragma once

#include <cstdint>

namespace baton {

// How the values of a row lie, one after another: IEEE half precision, the upper half of a float,
// whole numbers of a byte, or these with an f32 behind the row that all are multiplied by.
enum class RowKind : uint8_t { kF32, kF16, kBf16, kInt8, kScaledInt8 };

// rows: [row_count] of the kind, each of so many bytes, no alignment; out: [row_count], or
// [row_count, dimension], row-major
using StoredDistanceFn = void (*)(const float* query, const void* rows, int64_t row_count,
                                  int64_t dimension, float* out);
using StoredValuesFn = void (*)(const void* rows, int64_t row_count, int64_t dimension, float* out);

struct StoredKernels {
  StoredDistanceFn inner_product = nullptr;  // negated
  StoredDistanceFn l2 = nullptr;             // squared
  StoredValuesFn values = nullptr;
};

}  // namespace baton
