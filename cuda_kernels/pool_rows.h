#pragma once

#include <cuda_runtime.h>

#include <cstdint>

namespace baton::cuda {

// The sum of some consecutive rows: what texts' vectors of the last layer are pooled by, whose mean
// has the same direction.
struct PoolRowsArgs {
  const float* x;         // [rows, dim], row-major
  const int32_t* begins;  // [pools]: first rows
  const int32_t* ends;    // [pools]: behind the last ones
  float* y;               // [pools, dim], row-major; zeros where there is no row
  int64_t pools;
  int64_t dim;
};
cudaError_t PoolRows(const PoolRowsArgs& args, cudaStream_t stream);

}  // namespace baton::cuda
