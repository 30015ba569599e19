#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "cuda_kernels/quant_planes.h"

namespace baton::cuda {

// Consecutive rows of a quantised matrix as T, for a GEMM of many tokens. T: float or
// __nv_bfloat16.
template <typename T>
struct DequantiseWeightsArgs {
  QuantPlanes weights;  // [shape.rows, shape.cols]
  QuantShape shape;
  int64_t first_row;
  int64_t rows;
  T* y;  // [rows, shape.cols], row-major, aligned to 16 bytes
};
template <typename T>
cudaError_t DequantiseWeights(const DequantiseWeightsArgs<T>& args, cudaStream_t stream);

}  // namespace baton::cuda
