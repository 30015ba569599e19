#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "cuda_kernels/quant_planes.h"

namespace baton::cuda {

// y = x * weights^T for a few rows of x, the weights as they are stored: products of int8 (dp4a)
// within 32 weights, f32 across them, in an order that does not depend on the number of rows.
// T: float or __nv_bfloat16.
template <typename T>
struct QuantGemvArgs {
  const int8_t* quants;  // [tokens, shape.cols], row-major, as QuantiseRows writes them
  const float2* scales;  // [tokens, shape.cols / 32], as well
  QuantPlanes weights;   // [shape.rows, shape.cols]
  QuantShape shape;
  T* y;  // [tokens, shape.rows], rows `y_stride` apart
  int64_t tokens;
  int64_t y_stride;  // elements
};
inline constexpr int64_t kGemvTokensMax = 8;  // beyond, a GEMM is quicker

template <typename T>
cudaError_t QuantGemv(const QuantGemvArgs<T>& args, cudaStream_t stream);

}  // namespace baton::cuda
