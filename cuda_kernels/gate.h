#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "cuda_kernels/launch.h"

namespace baton::cuda {

enum class GateKind : int32_t {
  kSilu,  // x * sigmoid(x): SwiGLU
  kGelu,  // the tanh approximation, Hendrycks and Gimpel (2016): GeGLU
};

// y = activation(gate) * up. T: float or __nv_bfloat16. gate and up may be halves of one product;
// y may be gate where the strides are the same.
template <typename T>
struct GateArgs {
  const T* gate;  // [rows, dim], rows `stride` apart
  const T* up;    // [rows, dim], rows `stride` apart
  T* y;           // [rows, dim], rows `y_stride` apart
  int64_t rows;
  int64_t dim;
  int64_t stride;    // elements
  int64_t y_stride;  // elements
  GateKind kind;
};
template <typename T>
cudaError_t Gate(const GateArgs<T>& args, const LaunchStream& stream);

}  // namespace baton::cuda
