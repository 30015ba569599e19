#pragma once

#include <cstdint>

#include "engine/base/simd_level.h"
#include "engine/request/vector_request.h"

namespace baton {

// out[i] = distance of `query` to row i, smaller is nearer: the negated inner product (cosine on
// unit vectors, dot), or the squared Euclidean distance.
//
// The result for one (query, row) is the same bits whatever the instruction set, the compiler, the
// number of rows and their alignment: 32 partial sums in a fixed order, multiply and add rounded
// separately. So there is one distance: the exact scan, the graph walk and any device's final
// candidates are comparable without a second scoring.
//   query: [dimension]; rows: [row_count, dimension], row-major; out: [row_count]
using DistanceFn = void (*)(const float* query, const float* rows, int64_t row_count,
                            int64_t dimension, float* out);

// The function for a metric, compiled for `level`; the processor must support it.
DistanceFn DistanceFor(Metric metric, SimdLevel level = DetectedSimdLevel());

}  // namespace baton
