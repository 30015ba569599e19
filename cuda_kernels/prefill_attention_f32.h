#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "cuda_kernels/kv_blocks.h"
#include "cuda_kernels/prefill_attention.h"

namespace baton::cuda {

// PrefillAttention for models that compute in f32 and keep f32 keys and values: the same tiles and
// softmax, products and sums of f32 without tensor cores. What golden models are compared by.
struct PrefillAttentionF32Args {
  const float* q;            // [rows, heads * head_dim], rows `q_stride` apart
  float* out;                // [rows, heads, head_dim], row-major
  const PrefillTile* tiles;  // [tile_count], those with most to do first
  const int32_t* lengths;    // as in PrefillAttentionArgs
  PagedKv kv;                // of f32
  int64_t tile_count;
  int64_t q_stride;  // elements
  int32_t heads;     // a multiple of kv_heads
  int32_t window;    // positions; 0: all
  float scale;
  float score_cap;  // score = cap * tanh(score / cap); 0: none
};

// Head dimensions up to 256 that are multiples of 8.
bool CanRun(const PrefillAttentionF32Args& args);
cudaError_t PrefillAttentionF32(const PrefillAttentionF32Args& args, cudaStream_t stream);

}  // namespace baton::cuda
