#pragma once

#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <cstdint>

#include "cuda_kernels/launch.h"
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
cudaError_t QuantGemv(const QuantGemvArgs<T>& args, const LaunchStream& stream);

// The same by other tiles, to time them side by side: warps of a block, and rows of weights to
// each. The first is what QuantGemv takes. One token.
inline constexpr const char* kQuantGemvVariants[] = {"4 warps x 2 rows", "4 warps x 1 row",
                                                     "4 warps x 4 rows", "8 warps x 2 rows"};
cudaError_t QuantGemvVariant(const QuantGemvArgs<__nv_bfloat16>& args, int32_t variant,
                             const LaunchStream& stream);

}  // namespace baton::cuda
