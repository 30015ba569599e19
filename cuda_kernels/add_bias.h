#pragma once

#include <cuda_runtime.h>

#include <cstdint>

namespace baton::cuda {

enum class BiasThen : int32_t {
  kNothing,
  kGelu,  // v * (1 + erf(v / sqrt(2))) / 2, Hendrycks and Gimpel (2016)
};

// x = f(x + bias), row by row. T: float or __nv_bfloat16.
template <typename T>
struct AddBiasArgs {
  T* x;               // [rows, dim], row-major, read and written
  const float* bias;  // [dim]
  int64_t rows;
  int64_t dim;
  BiasThen then;
};
template <typename T>
cudaError_t AddBias(const AddBiasArgs<T>& args, cudaStream_t stream);

}  // namespace baton::cuda
