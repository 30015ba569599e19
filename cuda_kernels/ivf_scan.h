#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "cuda_kernels/merge_top_k.h"

namespace baton::cuda {

// Scans lists of an inverted file (engine/vector/ivf_index.h) by their codes as they lie there, in
// whole numbers: a row's key is the same bits as on the host, so the candidates are the same ones.
// Of each query's probed lists the k live rows with the smallest keys, then the lower row.
struct IvfLists {
  const uint32_t* begin;      // [lists]: a list's first place, of product codes a multiple of 32
  const uint32_t* list_rows;  // [lists]
  const uint32_t* rows;       // [places]
  const uint8_t* codes;       // product codes: [places / 32, groups, 64] (engine/vector/pq_scan.h);
                              // of a byte: [places, stride], aligned to 16
  const float* terms;         // [places], added to a key; null: zeros
};
// What both kinds of codes share.
struct IvfScanTask {
  IvfLists lists;
  const uint32_t* probes;  // [query_count, probe_count]: lists, each once to a query; kNoRow: none
  const uint32_t* live;    // as in DistanceTopKArgs, by row; null: all
  int64_t live_stride;     // words; 0: one bitmap for all queries
  uint64_t* keys;          // [query_count, k], or null (merge_top_k.h)
  float* distances;        // [query_count, k], or null; infinity where there are fewer
  uint32_t* nearest;       // [query_count, k], or null; kNoRow where there are fewer
  void* workspace;         // IvfScanWorkspaceBytes, aligned to 8
  int64_t query_count;
  int64_t probe_count;
  int32_t k;       // 1 to kTopKMax
  int32_t splits;  // IvfScanSplits
};

// key = (base + term) + scale * (sum over m of tables[m][code m])
struct IvfPqScanArgs {
  IvfScanTask task;
  const uint8_t* tables;  // [query_count, 4 * groups, 16], as PqTables fills them
  const float* bases;     // [query_count, probe_count]: the list's distance and the tables' bias
  const float* scales;    // [query_count]
  int64_t groups;         // 1 to kIvfGroupsMax
};
inline constexpr int64_t kIvfGroupsMax = 128;
cudaError_t IvfPqScan(const IvfPqScanArgs& args, cudaStream_t stream);

// key = factor * (query . code) [+ square_factor * (code . code)] [+ term]
struct IvfByteScanArgs {
  IvfScanTask task;
  const int8_t* high;    // [query_count, stride]: query = 128 * high + low, as QueryEncoder has it
  const int8_t* low;     // [query_count, stride]
  const float* factors;  // [query_count]
  float square_factor;   // 0: squares do not count
  int64_t stride;        // of codes, and of the query's: a multiple of 16, at most kIvfStrideMax
};
inline constexpr int64_t kIvfStrideMax = 16384;
cudaError_t IvfByteScan(const IvfByteScanArgs& args, cudaStream_t stream);

// Into how many parts a query's lists are dealt so that the multiprocessors are busy.
struct IvfScanShape {
  int64_t query_count;
  int64_t probe_count;
  int64_t multiprocessors;
};
int32_t IvfScanSplits(const IvfScanShape& shape);
inline constexpr int32_t kIvfSplitsMax = 64;

struct IvfWorkspaceShape {
  int64_t query_count;
  int64_t k;
  int64_t splits;
};
int64_t IvfScanWorkspaceBytes(const IvfWorkspaceShape& shape);

}  // namespace baton::cuda
