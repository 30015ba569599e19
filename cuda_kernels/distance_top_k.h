#pragma once

#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <cstdint>

#include "cuda_kernels/merge_top_k.h"
#include "cuda_kernels/pack_vectors.h"

namespace baton::cuda {

// The k nearest rows of each query by exact comparison on tensor cores: products of bf16, sums of
// f32, and the selection in the same kernel, so that distances never leave the chip. Nearest first,
// ties to the lower row. Distances are of the rounded vectors: who needs those of the originals
// asks for some more and scores these again.
struct DistanceTopKArgs {
  const __nv_bfloat16* queries;  // [query_count, cols], as PackVectors writes them
  const float* query_terms;      // [query_count], as well
  const __nv_bfloat16* rows;     // [row_count, cols]
  const float* row_terms;        // [row_count]
  const uint32_t* live;  // [ceil(row_count / 32)] to a query, `live_stride` words apart: bit
                         // r % 32 of word r / 32, rows without it are not found; null: all
  int64_t live_stride;   // words; 0: one bitmap for all queries
  uint64_t* keys;        // [query_count, k], or null (merge_top_k.h)
  float* distances;      // [query_count, k], or null; infinity where fewer are live
  uint32_t* nearest;     // [query_count, k], or null; kNoRow where fewer are live
  void* workspace;       // DistanceTopKWorkspaceBytes, aligned to 8
  int64_t query_count;
  int64_t row_count;  // below 2^32 - 1
  int64_t cols;       // PackedColumns(dimension)
  VectorMetric metric;
  int32_t k;       // 1 to kTopKMax
  int32_t splits;  // DistanceTopKSplits
};

// Into how many parts rows are split so that the multiprocessors are busy.
struct DistanceTopKShape {
  int64_t query_count;
  int64_t row_count;
  int64_t multiprocessors;
};
int32_t DistanceTopKSplits(const DistanceTopKShape& shape);
inline constexpr int32_t kDistanceSplitsMax = 256;

struct DistanceWorkspaceShape {
  int64_t query_count;
  int64_t k;
  int64_t splits;
};
int64_t DistanceTopKWorkspaceBytes(const DistanceWorkspaceShape& shape);

bool CanRun(const DistanceTopKArgs& args);
cudaError_t DistanceTopK(const DistanceTopKArgs& args, cudaStream_t stream);

// The same by other tiles, to time them side by side: queries x rows of a block, and of a warp. The
// first is what DistanceTopK takes for many queries. One row or more; splits: at most as many as
// there are tiles of rows, else cudaErrorInvalidValue.
inline constexpr const char* kDistanceVariants[] = {"128 x 128 by 64 x 32", "128 x 256 by 64 x 64",
                                                    "256 x 128 by 64 x 64", "128 x 128 by 32 x 64"};
cudaError_t DistanceTopKVariant(const DistanceTopKArgs& args, int32_t variant, cudaStream_t stream);

}  // namespace baton::cuda
