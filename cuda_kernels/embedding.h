#pragma once

#include <cuda_runtime.h>

#include <cstdint>

namespace baton::cuda {

// y = table[token] * scale + offsets[offset], row by row. T: float, __half or __nv_bfloat16. A
// token outside [0, vocabulary), as of the rows that pad a batch, is a row of zeros.
template <typename T>
struct EmbeddingArgs {
  const int32_t* tokens;  // [rows]
  const T* table;         // [vocabulary, dim], row-major
  const float* offsets;   // [.., dim], row-major: of positions, say; null: none are added
  const int32_t* offset;  // [rows], of offsets
  float* y;               // [rows, dim], row-major: the residual stream
  int64_t rows;
  int64_t dim;
  int64_t vocabulary;
  float scale;
};
template <typename T>
cudaError_t Embedding(const EmbeddingArgs<T>& args, cudaStream_t stream);

}  // namespace baton::cuda
