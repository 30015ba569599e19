#pragma once

#include <cuda_runtime.h>

#include <cstdint>

namespace baton::cuda {

// Adds a branch to the residual stream and normalises it for the next:
//   x += branch + branch_bias
//   y = (x - mean(x)) / sqrt(variance(x) + epsilon) * weight + bias
// T: float or __nv_bfloat16. Null branch: none; null y: not wanted. y may not alias.
template <typename T>
struct LayerNormArgs {
  float* x;                  // [rows, dim], row-major, read and written
  const T* branch;           // [rows, dim], row-major, or null
  const float* branch_bias;  // [dim], or null; only with a branch
  const float* weight;       // [dim]
  const float* bias;         // [dim], or null
  T* y;                      // [rows, dim], row-major, or null
  int64_t rows;
  int64_t dim;  // at most kNormDimMax (rms_norm.h)
  float epsilon;
  bool post_norm;  // the stream itself goes on normalised, as in BERT: x is what y is, in f32
};

template <typename T>
cudaError_t LayerNorm(const LayerNormArgs<T>& args, cudaStream_t stream);

}  // namespace baton::cuda
