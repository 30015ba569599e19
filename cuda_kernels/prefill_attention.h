#pragma once

#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <cstdint>

#include "cuda_kernels/kv_blocks.h"

namespace baton::cuda {

// Rows of one sequence that a block of the kernel computes together.
struct PrefillTile {
  int32_t first_row;  // of q and out
  int32_t rows;       // 1 to kPrefillTileRows, one behind the other in the sequence
  int32_t position;   // of the first row
  int32_t sequence;   // of kv.block_table
};
inline constexpr int32_t kPrefillTileRows = 128;

// Many queries of a sequence over its keys and values, their own included, on tensor cores (Dao,
// "FlashAttention-2", 2023): out = softmax(cap(q . k * scale)) v over each row's last `window`
// positions. Keys and values are in the blocks already. Products are bf16, sums f32.
struct PrefillAttentionArgs {
  const __nv_bfloat16* q;    // [rows, heads * head_dim], rows `q_stride` apart
  __nv_bfloat16* out;        // [rows, heads, head_dim], row-major
  const PrefillTile* tiles;  // [tile_count], those with most to do first
  // [sequences]: positions that all rows of a sequence attend to, those behind them too, as in
  // encoders; null: each to what stands before it. Not with a window.
  const int32_t* lengths;
  PagedKv kv;  // of f16, bf16 or int8; what is not bf16 is rounded to it
  int64_t tile_count;
  int64_t q_stride;  // elements
  int32_t heads;     // a multiple of kv_heads
  int32_t window;    // positions; 0: all
  float scale;
  float score_cap;  // score = cap * tanh(score / cap); 0: none
};

// Head dimensions up to 256 that are multiples of 8. f32: prefill_attention_f32.h.
bool CanRun(const PrefillAttentionArgs& args);
cudaError_t PrefillAttention(const PrefillAttentionArgs& args, cudaStream_t stream);

// The same by other tiles, to time them side by side: keys of a tile. The first is what
// PrefillAttention takes. Head dimensions up to 128.
inline constexpr const char* kPrefillVariants[] = {"64 keys", "32 keys", "128 keys"};
cudaError_t PrefillAttentionVariant(const PrefillAttentionArgs& args, int32_t variant,
                                    cudaStream_t stream);

}  // namespace baton::cuda
