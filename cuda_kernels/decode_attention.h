#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "cuda_kernels/kv_blocks.h"
#include "cuda_kernels/launch.h"

namespace baton::cuda {

// One query to a sequence over all its keys and values, split among blocks (Dao et al.,
// "Flash-Decoding", 2023): out = softmax(cap(q . k * scale)) v over the last `window` positions.
enum class ActivationElement : int32_t { kF32, kBF16 };
struct DecodeAttentionArgs {
  const void* q;  // [sequences, heads * head_dim] of `element`, rows `q_stride` apart
  void* out;      // [sequences, heads, head_dim] of `element`, row-major
  ActivationElement element;
  const int32_t* lengths;  // [sequences]: positions to attend to, the query's own included;
                           // 0 or below: the row pads the batch, out is zeros
  PagedKv kv;
  float* workspace;  // DecodeAttentionWorkspaceBytes, aligned to 16; not read where splits is 1
  int64_t sequences;
  int64_t q_stride;  // elements
  int32_t heads;     // a multiple of kv_heads
  int32_t splits;    // DecodeAttentionSplits
  int32_t window;    // positions; 0: all
  float scale;
  float score_cap;  // score = cap * tanh(score / cap); 0: none
};

// Into how many parts to split each sequence so that the multiprocessors are busy: a function of
// the batch's shape alone, so that a captured graph goes on while sequences grow. 1 where the
// result must not depend on the batch.
struct DecodeAttentionShape {
  int64_t sequences;
  int64_t kv_heads;
  int64_t positions_max;
  int64_t multiprocessors;
};
int32_t DecodeAttentionSplits(const DecodeAttentionShape& shape);
inline constexpr int32_t kDecodeSplitsMax = 64;

struct DecodeWorkspaceShape {
  int64_t sequences;
  int64_t heads;
  int64_t head_dim;
  int64_t splits;
};
int64_t DecodeAttentionWorkspaceBytes(const DecodeWorkspaceShape& shape);

// Head dimensions up to 256 that are multiples of 8.
bool CanRun(const DecodeAttentionArgs& args);
cudaError_t DecodeAttention(const DecodeAttentionArgs& args, const LaunchStream& stream);

// The same by other tiles, to time them side by side: warps of a block, and vectors that a lane has
// under way. The first is what DecodeAttention takes. bf16 keys and values, head dimensions from 72
// to 128, at most four heads to a kv head.
inline constexpr const char* kDecodeVariants[] = {"4 warps, 4 vectors", "4 warps, 2 vectors",
                                                  "4 warps, 8 vectors", "8 warps, 4 vectors"};
cudaError_t DecodeAttentionVariant(const DecodeAttentionArgs& args, int32_t variant,
                                   const LaunchStream& stream);

}  // namespace baton::cuda
