#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "cuda_kernels/launch.h"

namespace baton::cuda {

// Activations as int8, 32 of them with a scale (largest magnitude / 127), for products with
// quantised weights. T: float or __nv_bfloat16.
template <typename T>
struct QuantiseRowsArgs {
  const T* x;      // [rows, cols], rows `stride` apart
  int8_t* quants;  // [rows, cols], row-major, aligned to 16 bytes
  float2* scales;  // [rows, cols / 32], row-major: the scale, and scale times the sum of quants
  int64_t rows;
  int64_t cols;    // a multiple of 32
  int64_t stride;  // elements
};
template <typename T>
cudaError_t QuantiseRows(const QuantiseRowsArgs<T>& args, const LaunchStream& stream);

}  // namespace baton::cuda
