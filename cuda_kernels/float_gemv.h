#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "cuda_kernels/launch.h"

namespace baton::cuda {

// y = x * weights^T for a few rows of x: what decoding with unquantised weights is. Sums are f32,
// in an order that does not depend on the number of rows. W: float, __half or __nv_bfloat16. T:
// float or __nv_bfloat16. Y: T, or float where all are __nv_bfloat16.
template <typename W, typename T, typename Y = T>
struct FloatGemvArgs {
  const T* x;        // [tokens, cols], rows `x_stride` apart
  const W* weights;  // [rows, cols], rows `weight_stride` apart
  Y* y;              // [tokens, rows], rows `y_stride` apart
  int64_t tokens;
  int64_t rows;
  int64_t cols;
  int64_t x_stride;  // elements, as the others
  int64_t weight_stride;
  int64_t y_stride;
};
inline constexpr int64_t kFloatGemvTokensMax = 16;  // beyond, a GEMM is quicker

// Whole vectors where pointers, strides and cols are multiples of 16 bytes; else by elements.
template <typename W, typename T, typename Y = T>
cudaError_t FloatGemv(const FloatGemvArgs<W, T, Y>& args, const LaunchStream& stream);

}  // namespace baton::cuda
