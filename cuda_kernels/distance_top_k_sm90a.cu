#include "cuda_kernels/distance_top_k_sm90a.h"

#include "cuda_kernels/arch/named_barrier.h"
#include "cuda_kernels/arch/sm90a.h"
#include "cuda_kernels/distance_list.h"
#include "cuda_kernels/key_collector.h"
#include "cuda_kernels/launch.h"
#include "cuda_kernels/shared.h"
#include "cuda_kernels/tile_map_sm90a.h"

namespace baton::cuda {
namespace {

constexpr int kGroupThreads = 128;  // of a warpgroup
constexpr int kGroups = 2;          // that multiply; a third one brings the tiles
constexpr int kThreads = (kGroups + 1) * kGroupThreads;
constexpr int kWarps = kGroups * kGroupThreads / kWarpThreads;
constexpr int kQueries = kGroups * 64;
constexpr int kRows = 128;
constexpr int kDepth = 64;  // columns of a stage: 128 bytes, a swizzled row
constexpr int kStages = 6;
constexpr int kQueryBytes = kQueries * kDepth * 2;
constexpr int kRowBytes = kRows * kDepth * 2;
constexpr int kStageBytes = kQueryBytes + kRowBytes;
constexpr int kConsumersBarrier = 1;  // of the groups that multiply

struct TileMaps {
  CUtensorMap queries;
  CUtensorMap rows;
};

// 2 * cols FLOP to each query and row; reads a split's rows once to each tile of queries. One block
// to a tile of queries and a split, whose k nearest it leaves in the workspace.
__global__ void __launch_bounds__(kThreads, 1)
    DistanceKernel(DistanceTopKArgs args, const __grid_constant__ TileMaps maps) {
  SharedMemory memory;
  unsigned char* const unaligned = memory.Shared<unsigned char>(kStages * kStageBytes + 1024);
  uint64_t* const full = memory.Shared<uint64_t>(kStages);
  uint64_t* const empty = memory.Shared<uint64_t>(kStages);
  uint64_t* const lasts = memory.Shared<uint64_t>(kQueries);
  unsigned* const counts = memory.Shared<unsigned>(kQueries);
  unsigned* const histograms = memory.Shared<unsigned>(kWarps * kKeyDigits);
  unsigned char* const stages = unaligned + (1024 - SharedAddress(unaligned) % 1024) % 1024;

  const int64_t first_query = static_cast<int64_t>(blockIdx.x) * kQueries;
  const int64_t all_tiles = CeilDiv(args.row_count, kRows);
  const int64_t first_tile = all_tiles * blockIdx.y / args.splits;
  const int64_t tiles = all_tiles * (blockIdx.y + 1) / args.splits - first_tile;
  const int64_t depths = CeilDiv(args.cols, kDepth);

  if (threadIdx.x == 0) {
    for (int stage = 0; stage < kStages; ++stage) {
      BarrierInit(&full[stage], 1);
      BarrierInit(&empty[stage], kGroups * kGroupThreads / kWarpThreads);
    }
    BarrierInitFence();
  }
  for (int i = static_cast<int>(threadIdx.x); i < kQueries; i += kThreads) {
    lasts[i] = kNoKey - 1;
    counts[i] = 0;
  }
  __syncthreads();  // barriers and lists are there

  if (threadIdx.x >= kGroups * kGroupThreads) {
    GiveRegistersBack<56>();
    if (threadIdx.x != kGroups * kGroupThreads) return;
    PrefetchTileMap(&maps.queries);
    PrefetchTileMap(&maps.rows);
    int stage = 0;
    int parity = 1;  // fresh stages are empty
    for (int64_t tile = first_tile; tile < first_tile + tiles; ++tile) {
      for (int col = 0; col < static_cast<int>(args.cols); col += kDepth) {
        BarrierWait(&empty[stage], parity);
        BarrierArriveExpect(&full[stage], kStageBytes);
        unsigned char* const to = stages + stage * kStageBytes;
        CopyTile(to, &maps.queries, col, static_cast<int>(first_query), &full[stage]);
        CopyTile(to + kQueryBytes, &maps.rows, col, static_cast<int>(tile) * kRows, &full[stage]);
        if (++stage == kStages) {
          stage = 0;
          parity ^= 1;
        }
      }
    }
    return;
  }

  TakeRegisters<224>();
  const int warp = static_cast<int>(threadIdx.x) / kWarpThreads;
  const int lane = static_cast<int>(threadIdx.x) % kWarpThreads;
  const int group = static_cast<int>(threadIdx.x) / kGroupThreads;
  const bool leads = lane == 0;  // of each warp: one may be done before another
  const int64_t query_count = min(args.query_count - first_query, static_cast<int64_t>(kQueries));
  const int64_t room = DistanceListRoom(args.k);
  const int64_t full_from = room - kRows;
  auto* const lists = static_cast<uint64_t*>(args.workspace);
  const auto list = [&](int query) {
    return lists + ((first_query + query) * args.splits + blockIdx.y) * room;
  };

  float products[kRows / 2];
  int stage = 0;
  int parity = 0;
  for (int64_t tile = 0; tile < tiles; ++tile) {
    int before = -1;  // the stage whose products may still be under way
    for (int64_t depth = 0; depth < depths; ++depth) {
      BarrierWait(&full[stage], parity);
      unsigned char* const from = stages + stage * kStageBytes;
      const uint64_t a = SwizzledMatrix(from + group * 64 * kDepth * 2);
      const uint64_t b = SwizzledMatrix(from + kQueryBytes);
      ProductsBegin();
#pragma unroll
      for (int k = 0; k < kDepth; k += 16) {
        ProductN128(products, Advanced(a, k * 2), Advanced(b, k * 2), depth > 0 || k > 0);
      }
      ProductsEnd();
      if (before >= 0) {
        ProductsWait<1>();
        if (leads) BarrierArrive(&empty[before]);
      }
      before = stage;
      if (++stage == kStages) {
        stage = 0;
        parity ^= 1;
      }
    }
    ProductsWait<0>();
    HoldProducts(products);
    if (leads) BarrierArrive(&empty[before]);

    const int64_t tile_row = (first_tile + tile) * kRows;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int query = warp * 16 + half * 8 + lane / 4;
      const bool there = query < query_count;
      const float query_term = there && args.metric != VectorMetric::kInnerProduct
                                   ? args.query_terms[first_query + query]
                                   : 0;
      const uint32_t* const live =
          args.live != nullptr ? args.live + (first_query + query) * args.live_stride : nullptr;
      const uint64_t last = lasts[query];
#pragma unroll
      for (int n = 0; n < kRows / 8; ++n) {
#pragma unroll
        for (int i = 0; i < 2; ++i) {
          const int64_t row = tile_row + n * 8 + lane % 4 * 2 + i;
          if (!there || row >= args.row_count) continue;
          const float row_term =
              args.metric != VectorMetric::kInnerProduct ? args.row_terms[row] : 0;
          const float product = products[n * 4 + half * 2 + i];
          const uint64_t key = KeyOf(DistanceFrom(args.metric, product, query_term, row_term),
                                     static_cast<uint32_t>(row));
          if (key > last) continue;
          if (live != nullptr && (live[row / 32] >> (row % 32) & 1) == 0) continue;
          list(query)[atomicAdd(&counts[query], 1u)] = key;
        }
      }
    }
    NamedBarrierWait(kConsumersBarrier, kGroups * kGroupThreads);  // keys are in their lists
    const bool ends = tile + 1 == tiles;
    for (int query = warp; query < query_count; query += kWarps) {
      int count = static_cast<int>(counts[query]);
      if (count > (ends ? args.k : full_from)) {
        const KeptKeys kept =
            KeepSmallest(list(query), count, args.k, histograms + warp * kKeyDigits);
        count = kept.count;
        if (lane == 0) {
          lasts[query] = kept.last;
          counts[query] = static_cast<unsigned>(kept.count);
        }
      }
      for (int i = count + lane; ends && i < args.k; i += kWarpThreads) list(query)[i] = kNoKey;
    }
    NamedBarrierWait(kConsumersBarrier, kGroups * kGroupThreads);  // and lists are thin
  }
}

}  // namespace

cudaError_t DistanceTopKSm90a(const DistanceTopKArgs& args, cudaStream_t stream) {
  if (args.query_count == 0) return cudaSuccess;
  constexpr int64_t kTileRowMax = (int64_t{1} << 31) - kRows;  // a tile's place is an int
  if (!CanRun(args) || args.row_count < 1 || args.row_count > kTileRowMax ||
      args.splits > CeilDiv(args.row_count, kRows) || !IsSm90()) {
    return cudaErrorInvalidValue;
  }
  TileMaps maps;
  cudaError_t status = MakeTileMap(
      {.matrix = args.queries, .rows = args.query_count, .cols = args.cols, .box_rows = kQueries},
      &maps.queries);
  if (status == cudaSuccess) {
    status = MakeTileMap(
        {.matrix = args.rows, .rows = args.row_count, .cols = args.cols, .box_rows = kRows},
        &maps.rows);
  }
  if (status != cudaSuccess) return status;
  constexpr size_t kShared =
      SharedPiece(kStages * kStageBytes + 1024) + 2 * SharedPiece(kStages * sizeof(uint64_t)) +
      SharedPiece(kQueries * sizeof(uint64_t)) + SharedPiece(kQueries * sizeof(unsigned)) +
      SharedPiece(kWarps * kKeyDigits * sizeof(unsigned));
  static_assert(kShared <= kSharedBytesMax);
  status = Launch(&DistanceKernel,
                  {dim3(static_cast<unsigned>(CeilDiv(args.query_count, kQueries)),
                        static_cast<unsigned>(args.splits)),
                   kThreads, kShared},
                  stream, args, maps);
  return status == cudaSuccess ? MergeDistanceLists(args, stream) : status;
}

}  // namespace baton::cuda
