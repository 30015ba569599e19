#include "cuda_kernels/ivf_scan.h"

#include "cuda_kernels/arch/math.h"
#include "cuda_kernels/key_collector.h"
#include "cuda_kernels/launch.h"
#include "cuda_kernels/shared.h"
#include "cuda_kernels/vector_io.h"

namespace baton::cuda {
namespace {

constexpr int kWarps = 8;
constexpr int kThreads = kWarps * kWarpThreads;
constexpr int kWarpRows = 128;  // of a round
constexpr int kRound = kWarps * kWarpRows;
constexpr int kBlockRows = 32;  // of product codes
constexpr int kLineBytes = 64;  // of a group in a block
constexpr int kCentroids = 16;

// Offers one place's row, if it lives.
__device__ __forceinline__ void OfferRow(const IvfScanTask& task, const uint32_t* live,
                                         int64_t place, float key, KeyCollector& collector) {
  const uint32_t row = task.lists.rows[place];
  if (live != nullptr && (live[row / 32] >> (row % 32) & 1) == 0) return;
  collector.Offer(KeyOf(key, row));
}

// The rounds of a query's lists that belong to this block's split. round(probe, first, count): a
// warp's share, places [first, first + count).
template <typename Round>
__device__ __forceinline__ void ScanLists(const IvfScanTask& task, KeyCollector& collector,
                                          Round round) {
  const int warp = static_cast<int>(threadIdx.x) / kWarpThreads;
  const int64_t query = blockIdx.x;
  collector.Start();
  for (int64_t i = blockIdx.y; i < task.probe_count; i += task.splits) {
    const int64_t probe = query * task.probe_count + i;
    const uint32_t list = task.probes[probe];
    if (list == kNoRow) continue;
    const int64_t begin = task.lists.begin[list];
    const int64_t rows = task.lists.list_rows[list];
    for (int64_t first = 0; first < rows; first += kRound) {
      const int64_t mine = first + warp * kWarpRows;
      round(probe, begin + mine, min(static_cast<int64_t>(kWarpRows), rows - mine));
      collector.Settle();
    }
  }
  const uint64_t* const nearest = collector.Finish();
  uint64_t* const to =
      static_cast<uint64_t*>(task.workspace) + (query * task.splits + blockIdx.y) * task.k;
  for (int i = static_cast<int>(threadIdx.x); i < task.k; i += kThreads) to[i] = nearest[i];
}

// Reads the codes of the probed lists once, 16 * groups / 8 bytes to a row; one block to a query's
// split, a lane to a row.
__global__ void __launch_bounds__(kThreads) PqScanKernel(IvfPqScanArgs args) {
  SharedMemory memory;
  KeyCollector collector(memory, args.task.k, kRound);
  const int table_bytes = static_cast<int>(args.groups) * 4 * kCentroids;
  uint8_t* const tables = memory.Shared<uint8_t>(static_cast<size_t>(table_bytes));
  const int lane = static_cast<int>(threadIdx.x) % kWarpThreads;
  const int64_t query = blockIdx.x;
  for (int i = static_cast<int>(threadIdx.x); i < table_bytes; i += kThreads) {
    tables[i] = args.tables[query * table_bytes + i];
  }
  const uint32_t* const live =
      args.task.live != nullptr ? args.task.live + query * args.task.live_stride : nullptr;
  const float scale = args.scales[query];
  ScanLists(args.task, collector, [&](int64_t probe, int64_t first, int64_t count) {
    const float base = args.bases[probe];
    for (int64_t at = 0; at < count; at += kBlockRows) {
      const uint8_t* const codes =
          args.task.lists.codes + (first + at) / kBlockRows * args.groups * kLineBytes + lane;
      int sum = 0;
#pragma unroll 8
      for (int pair = 0; pair < 2 * static_cast<int>(args.groups); ++pair) {
        const int both = codes[pair * kBlockRows];
        const uint8_t* const table = tables + 2 * pair * kCentroids;
        sum += table[both & 15] + table[kCentroids + (both >> 4)];
      }
      if (at + lane >= count) continue;
      const int64_t place = first + at + lane;
      const float term = args.task.lists.terms != nullptr ? args.task.lists.terms[place] : 0;
      const float key = __fadd_rn(__fadd_rn(base, term), __fmul_rn(scale, static_cast<float>(sum)));
      OfferRow(args.task, live, place, key, collector);
    }
  });
}

// Reads the codes of the probed lists once, stride bytes to a row; one block to a query's split,
// some lanes to a row.
__global__ void __launch_bounds__(kThreads) ByteScanKernel(IvfByteScanArgs args) {
  SharedMemory memory;
  KeyCollector collector(memory, args.task.k, kRound);
  const int chunks = static_cast<int>(args.stride) / 16;
  uint4* const high = memory.Shared<uint4>(static_cast<size_t>(chunks));
  uint4* const low = memory.Shared<uint4>(static_cast<size_t>(chunks));
  const int lane = static_cast<int>(threadIdx.x) % kWarpThreads;
  const int64_t query = blockIdx.x;
  for (int i = static_cast<int>(threadIdx.x); i < chunks; i += kThreads) {
    high[i] = reinterpret_cast<const uint4*>(args.high)[query * chunks + i];
    low[i] = reinterpret_cast<const uint4*>(args.low)[query * chunks + i];
  }
  const uint32_t* const live =
      args.task.live != nullptr ? args.task.live + query * args.task.live_stride : nullptr;
  const float factor = args.factors[query];
  int lanes = 1;  // of a row
  while (lanes < kWarpThreads && 2 * lanes <= chunks) lanes *= 2;
  const int together = kWarpThreads / lanes;
  ScanLists(args.task, collector, [&](int64_t, int64_t first, int64_t count) {
    for (int64_t at = 0; at < count; at += together) {
      const int64_t place = first + at + lane / lanes;
      const bool there = at + lane / lanes < count;
      const auto* const code =
          reinterpret_cast<const uint4*>(args.task.lists.codes) + (there ? place : first) * chunks;
      int of_high = 0;
      int of_low = 0;
      uint32_t squares = 0;
      for (int i = lane % lanes; i < chunks; i += lanes) {
        const uint4 c = code[i];
        const uint32_t bytes[4] = {c.x, c.y, c.z, c.w};
        const uint32_t highs[4] = {high[i].x, high[i].y, high[i].z, high[i].w};
        const uint32_t lows[4] = {low[i].x, low[i].y, low[i].z, low[i].w};
#pragma unroll
        for (int word = 0; word < 4; ++word) {
          of_high = DotInt8Uint8(static_cast<int>(highs[word]), bytes[word], of_high);
          of_low = DotInt8Uint8(static_cast<int>(lows[word]), bytes[word], of_low);
          squares = DotUint8(bytes[word], bytes[word], squares);
        }
      }
      int product = 128 * of_high + of_low;
      for (int apart = lanes / 2; apart > 0; apart /= 2) {
        product += __shfl_xor_sync(kAllLanes, product, apart);
        squares += __shfl_xor_sync(kAllLanes, squares, apart);
      }
      if (!there || lane % lanes != 0) continue;
      float key = __fmul_rn(factor, static_cast<float>(product));
      if (args.square_factor != 0) {
        key = __fadd_rn(
            key, __fmul_rn(args.square_factor, static_cast<float>(static_cast<int>(squares))));
      }
      if (args.task.lists.terms != nullptr) key = __fadd_rn(key, args.task.lists.terms[place]);
      OfferRow(args.task, live, place, key, collector);
    }
  });
}

bool CanScan(const IvfScanTask& task) {
  return task.k >= 1 && task.k <= kTopKMax && task.splits >= 1 && task.splits <= kIvfSplitsMax;
}
LaunchShape ShapeOf(const IvfScanTask& task, size_t own_shared) {
  return {dim3(static_cast<unsigned>(task.query_count), static_cast<unsigned>(task.splits)),
          kThreads, KeyCollector::SharedBytes(task.k, kRound) + own_shared};
}
cudaError_t MergeSplits(const IvfScanTask& task, cudaStream_t stream) {
  return MergeTopK({.keys = static_cast<const uint64_t*>(task.workspace),
                    .bases = nullptr,
                    .merged = task.keys,
                    .distances = task.distances,
                    .rows = task.nearest,
                    .queries = task.query_count,
                    .lists = task.splits,
                    .length = task.k,
                    .list_stride = task.k,
                    .k = task.k},
                   stream);
}

}  // namespace

cudaError_t IvfPqScan(const IvfPqScanArgs& args, cudaStream_t stream) {
  if (args.task.query_count == 0) return cudaSuccess;
  if (!CanScan(args.task) || args.groups < 1 || args.groups > kIvfGroupsMax) {
    return cudaErrorInvalidValue;
  }
  const size_t tables = SharedPiece(static_cast<size_t>(args.groups) * 4 * kCentroids);
  const cudaError_t launched = Launch(&PqScanKernel, ShapeOf(args.task, tables), stream, args);
  return launched != cudaSuccess ? launched : MergeSplits(args.task, stream);
}

cudaError_t IvfByteScan(const IvfByteScanArgs& args, cudaStream_t stream) {
  if (args.task.query_count == 0) return cudaSuccess;
  if (!CanScan(args.task) || args.stride < 16 || args.stride > kIvfStrideMax ||
      !RowsAligned(args.task.lists.codes, args.stride, 16) ||
      !RowsAligned(args.high, args.stride, 16) || !RowsAligned(args.low, args.stride, 16)) {
    return cudaErrorInvalidValue;
  }
  const size_t query = 2 * SharedPiece(static_cast<size_t>(args.stride));
  const cudaError_t launched = Launch(&ByteScanKernel, ShapeOf(args.task, query), stream, args);
  return launched != cudaSuccess ? launched : MergeSplits(args.task, stream);
}

int32_t IvfScanSplits(const IvfScanShape& shape) {
  const int64_t wanted =
      shape.query_count > 0 ? CeilDiv(4 * shape.multiprocessors, shape.query_count) : 1;
  const int64_t most = shape.probe_count < kIvfSplitsMax ? shape.probe_count : kIvfSplitsMax;
  return static_cast<int32_t>(wanted < most ? wanted : most > 1 ? most : 1);
}

int64_t IvfScanWorkspaceBytes(const IvfWorkspaceShape& shape) {
  return shape.query_count * shape.splits * shape.k * static_cast<int64_t>(sizeof(uint64_t));
}

}  // namespace baton::cuda
