#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "cuda_kernels/kv_blocks.h"
#include "cuda_kernels/launch.h"

namespace baton::cuda {

enum class RopeKind : int32_t {
  kAdjacent,  // dimensions (2i, 2i + 1) turn together
  kHalves,    // (i, i + rope_dims / 2)
};

// Takes the product for queries, keys and values apart: adds biases, normalises each head (RMS),
// rotates queries and keys by their position, writes queries to q, and appends keys and values to
// the sequences' blocks. T: float or __nv_bfloat16. q may be qkv where the strides are the same.
template <typename T>
struct PlaceQkvArgs {
  const T* qkv;              // [rows, (heads + 2 * kv_heads) * head_dim], rows `stride` apart
  const float* bias;         // [(heads + 2 * kv_heads) * head_dim], or null
  const float* query_norm;   // [head_dim], or null
  const float* key_norm;     // [head_dim], or null
  const float2* rotations;   // [positions, rope_dims / 2]: cos and sin
  const int32_t* positions;  // [rows]; below 0: the row pads the batch, nothing is written
  const int32_t* sequences;  // [rows], of kv.block_table
  T* q;                      // [rows, heads * head_dim], rows `q_stride` apart
  PagedKv kv;
  int64_t rows;
  int64_t stride;    // elements
  int64_t q_stride;  // elements
  int32_t heads;
  int32_t rope_dims;  // of each head the first that rotate; even, 0 for none
  RopeKind rope;
  float epsilon;
};
// Even head dimensions up to 512.
template <typename T>
cudaError_t PlaceQkv(const PlaceQkvArgs<T>& args, const LaunchStream& stream);

}  // namespace baton::cuda
