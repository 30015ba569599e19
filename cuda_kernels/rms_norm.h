#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "cuda_kernels/launch.h"

namespace baton::cuda {

// Adds a branch to the residual stream and normalises it for the next:
//   b = branch + branch_bias
//   x += branch_weight == null ? b : b / rms(b) * branch_weight
//   y = x / rms(x) * weight,  with rms(v) = sqrt(mean(v^2) + epsilon)
// T: float or __nv_bfloat16. Null branch: none; null y: x is all that is wanted. y may not alias.
template <typename T>
struct RmsNormArgs {
  float* x;                    // [rows, dim], row-major, read and written
  const T* branch;             // [rows, dim], row-major, or null
  const float* branch_bias;    // [dim], or null
  const float* branch_weight;  // [dim], or null
  const float* weight;         // [dim]
  T* y;                        // [rows, dim], row-major, or null
  int64_t rows;
  int64_t dim;  // at most kNormDimMax
  float epsilon;
};
inline constexpr int64_t kNormDimMax = 32768;

template <typename T>
cudaError_t RmsNorm(const RmsNormArgs<T>& args, const LaunchStream& stream);

}  // namespace baton::cuda
