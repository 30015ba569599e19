#pragma once

// What the kernels of exact search share: how a product becomes a distance, and the lists of a
// workspace.

#include <cuda_runtime.h>

#include <cstdint>

#include "cuda_kernels/distance_top_k.h"
#include "cuda_kernels/launch.h"

namespace baton::cuda {

inline constexpr int kDistanceTileRowsMax = 256;

// Keys of a list in the workspace: those that are kept, and what comes before it is thinned out.
__host__ __device__ constexpr int64_t DistanceListRoom(int64_t k) {
  const int64_t kept = CeilDiv(k, 32) * 32;
  return kept + (kept < 256 ? 256 : kept) + kDistanceTileRowsMax;
}

__device__ __forceinline__ float DistanceFrom(VectorMetric metric, float product, float query_term,
                                              float row_term) {
  if (metric == VectorMetric::kInnerProduct) return -product;
  if (metric == VectorMetric::kCosine) return -__fmul_rn(__fmul_rn(product, query_term), row_term);
  const float distance = __fadd_rn(query_term, __fsub_rn(row_term, 2 * product));
  return distance < 0 ? 0 : distance;  // rounding; NaN stays one
}

// The lists of all splits as the answer.
inline cudaError_t MergeDistanceLists(const DistanceTopKArgs& args, cudaStream_t stream) {
  return MergeTopK({.keys = static_cast<const uint64_t*>(args.workspace),
                    .bases = nullptr,
                    .merged = args.keys,
                    .distances = args.distances,
                    .rows = args.nearest,
                    .queries = args.query_count,
                    .lists = args.row_count > 0 ? args.splits : 0,
                    .length = args.k,
                    .list_stride = DistanceListRoom(args.k),
                    .k = args.k},
                   stream);
}

}  // namespace baton::cuda
