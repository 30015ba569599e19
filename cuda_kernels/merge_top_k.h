#pragma once

#include <cuda_runtime.h>

#include <cstdint>

namespace baton::cuda {

// The k nearest of several lists for each query. A key is a distance and a row (key_collector.h,
// KeyOf): the smaller one is nearer, then the lower row; all bits set: none.
struct MergeTopKArgs {
  const uint64_t* keys;   // a query's lists `list_stride` apart, queries `query_stride`: of each
                          // list the first `length`, in any order, no row twice
  const uint32_t* bases;  // [lists], added to a list's rows; null: zeros. No sum reaches 2^32 - 1
  uint64_t* merged;       // [queries, k], nearest first; or null
  float* distances;       // [queries, k], or null; infinity behind the last
  uint32_t* rows;         // [queries, k], or null; kNoRow behind the last
  int64_t queries;
  int64_t lists;
  int64_t length;
  int64_t list_stride;       // elements
  int64_t query_stride = 0;  // elements; 0: lists * list_stride
  int32_t k;                 // 1 to kTopKMax
};
inline constexpr int32_t kTopKMax = 1024;
inline constexpr uint32_t kNoRow = 0xffffffffu;

cudaError_t MergeTopK(const MergeTopKArgs& args, cudaStream_t stream);

}  // namespace baton::cuda
