#include "cuda_kernels/distance_top_k.h"

#include "cuda_kernels/arch/copy_async.h"
#include "cuda_kernels/arch/mma.h"
#include "cuda_kernels/distance_list.h"
#include "cuda_kernels/key_collector.h"
#include "cuda_kernels/launch.h"
#include "cuda_kernels/shared.h"
#include "cuda_kernels/vector_io.h"

namespace baton::cuda {
namespace {

constexpr int kWarps = 8;
constexpr int kThreads = kWarps * kWarpThreads;
constexpr int kDepth = 32;  // columns of a stage
constexpr int kStages = 4;
// 16 bytes longer than they need to be: the eight rows of a matrix lie in different banks.
constexpr int kStride = kDepth + 8;

// A block's tile of products, kQueries x kRows; a warp has 16 * kM queries of it and 8 * kN rows.
template <int kWarpsAcross, int kOfM, int kOfN, int kOfBlocks = 1>
struct Tile {
  static constexpr int kBlocks = kOfBlocks;  // to a multiprocessor, as shared memory goes
  static constexpr int kM = kOfM;
  static constexpr int kN = kOfN;
  static constexpr int kWarpsDown = kWarps / kWarpsAcross;
  static constexpr int kQueries = kWarpsDown * kM * 16;
  static constexpr int kRows = kWarpsAcross * kN * 8;
};
using LargeTile = Tile</*kWarpsAcross=*/4, 4, 4, 2>;  // 128 x 128
using SmallTile = Tile</*kWarpsAcross=*/8, 1, 4, 2>;  // 16 x 256: all that is read is rows

// Columns [first, first + kDepth) of `count` rows from `from` on, zeros beyond the last row or
// column.
template <int kRows>
__device__ __forceinline__ void LoadRows(const __nv_bfloat16* matrix, int64_t from, int64_t count,
                                         int64_t first, int64_t cols, __nv_bfloat16* to) {
  constexpr int kChunks = kDepth / 8;
  static_assert(kRows * kChunks % kThreads == 0 || kRows * kChunks < kThreads);
  for (int i = static_cast<int>(threadIdx.x); i < kRows * kChunks; i += kThreads) {
    const int row = i / kChunks;
    const int col = i % kChunks * 8;
    const bool valid = row < count && first + col < cols;
    CopyAsync16(to + row * kStride + col, matrix + (valid ? (from + row) * cols + first + col : 0),
                valid);
  }
}

template <typename Of>
__device__ __forceinline__ void Multiply(const __nv_bfloat16* queries, const __nv_bfloat16* rows,
                                         float (&products)[Of::kM][Of::kN][4]) {
  const int lane = static_cast<int>(threadIdx.x) % kWarpThreads;
  const int matrix = lane / 8;
#pragma unroll
  for (int k = 0; k < kDepth; k += 16) {
    uint32_t a[Of::kM][4];
#pragma unroll
    for (int m = 0; m < Of::kM; ++m) {
      LoadMatrices(a[m], queries + (m * 16 + lane % 16) * kStride + k + lane / 16 * 8);
    }
#pragma unroll
    for (int n = 0; n < Of::kN; n += 2) {
      uint32_t b[4];
      LoadMatrices(b, rows + ((n + matrix / 2) * 8 + lane % 8) * kStride + k + matrix % 2 * 8);
#pragma unroll
      for (int m = 0; m < Of::kM; ++m) {
        MmaBf16(products[m][n], a[m], {b[0], b[1]});
        MmaBf16(products[m][n + 1], a[m], {b[2], b[3]});
      }
    }
  }
}

// 2 * cols FLOP to each query and row; reads a split's rows once to each tile of queries. One block
// to a tile of queries and a split, whose k nearest it leaves in the workspace.
template <typename Of>
__global__ void __launch_bounds__(kThreads) DistanceKernel(DistanceTopKArgs args) {
  SharedMemory memory;
  constexpr int kQueryStage = Of::kQueries * kStride;
  constexpr int kRowStage = Of::kRows * kStride;
  __nv_bfloat16* const queries = memory.Shared<__nv_bfloat16>(kStages * kQueryStage);
  __nv_bfloat16* const rows = memory.Shared<__nv_bfloat16>(kStages * kRowStage);
  uint64_t* const lasts = memory.Shared<uint64_t>(Of::kQueries);
  unsigned* const counts = memory.Shared<unsigned>(Of::kQueries);
  unsigned* const histograms = memory.Shared<unsigned>(kWarps * kKeyDigits);

  const int warp = static_cast<int>(threadIdx.x) / kWarpThreads;
  const int lane = static_cast<int>(threadIdx.x) % kWarpThreads;
  const int warp_query = warp % Of::kWarpsDown * Of::kM * 16;
  const int warp_row = warp / Of::kWarpsDown * Of::kN * 8;
  const int64_t first_query = static_cast<int64_t>(blockIdx.x) * Of::kQueries;
  const int64_t query_count =
      min(args.query_count - first_query, static_cast<int64_t>(Of::kQueries));
  const int64_t all_tiles = CeilDiv(args.row_count, Of::kRows);
  const int64_t first_tile = all_tiles * blockIdx.y / args.splits;
  const int64_t tiles = all_tiles * (blockIdx.y + 1) / args.splits - first_tile;
  const int64_t depths = CeilDiv(args.cols, kDepth);
  const int64_t steps = tiles * depths;
  const int64_t room = DistanceListRoom(args.k);
  const int64_t full = room - Of::kRows;
  auto* const lists = static_cast<uint64_t*>(args.workspace);
  const auto list = [&](int query) {
    return lists + ((first_query + query) * args.splits + blockIdx.y) * room;
  };

  for (int i = static_cast<int>(threadIdx.x); i < Of::kQueries; i += kThreads) {
    lasts[i] = kNoKey - 1;
    counts[i] = 0;
  }
  const auto load = [&](int64_t step) {
    if (step < steps) {
      const int stage = static_cast<int>(step % kStages);
      const int64_t col = step % depths * kDepth;
      const int64_t row = (first_tile + step / depths) * Of::kRows;
      LoadRows<Of::kQueries>(args.queries, first_query, query_count, col, args.cols,
                             queries + stage * kQueryStage);
      LoadRows<Of::kRows>(args.rows, row, args.row_count - row, col, args.cols,
                          rows + stage * kRowStage);
    }
    CopyAsyncCommit();
  };
#pragma unroll
  for (int step = 0; step < kStages - 1; ++step) load(step);

  float products[Of::kM][Of::kN][4] = {};
  for (int64_t step = 0; step < steps; ++step) {
    CopyAsyncWait<kStages - 2>();
    __syncthreads();  // this stage is there, nobody reads the one before, and lists are thin
    load(step + kStages - 1);
    const int stage = static_cast<int>(step % kStages);
    Multiply<Of>(queries + stage * kQueryStage + warp_query * kStride,
                 rows + stage * kRowStage + warp_row * kStride, products);
    if ((step + 1) % depths != 0) continue;

    // A lane's products: (g, 2t), (g, 2t + 1), (g + 8, 2t), (g + 8, 2t + 1) of each fragment.
    const int64_t tile_row = (first_tile + step / depths) * Of::kRows;
#pragma unroll
    for (int m = 0; m < Of::kM; ++m) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int query = warp_query + m * 16 + half * 8 + lane / 4;
        const bool there = query < query_count;
        const float query_term = there && args.metric != VectorMetric::kInnerProduct
                                     ? args.query_terms[first_query + query]
                                     : 0;
        const uint32_t* const live =
            args.live != nullptr ? args.live + (first_query + query) * args.live_stride : nullptr;
        const uint64_t last = lasts[query];
#pragma unroll
        for (int n = 0; n < Of::kN; ++n) {
#pragma unroll
          for (int i = 0; i < 2; ++i) {
            const int64_t row = tile_row + warp_row + n * 8 + lane % 4 * 2 + i;
            float& product = products[m][n][half * 2 + i];
            const float its = product;
            product = 0;
            if (!there || row >= args.row_count) continue;
            const float row_term =
                args.metric != VectorMetric::kInnerProduct ? args.row_terms[row] : 0;
            const uint64_t key = KeyOf(DistanceFrom(args.metric, its, query_term, row_term),
                                       static_cast<uint32_t>(row));
            if (key > last) continue;
            if (live != nullptr && (live[row / 32] >> (row % 32) & 1) == 0) continue;
            list(query)[atomicAdd(&counts[query], 1u)] = key;
          }
        }
      }
    }
    __syncthreads();  // the tile's keys are in their lists
    const bool ends = step + 1 == steps;
    for (int query = warp; query < query_count; query += kWarps) {
      int count = static_cast<int>(counts[query]);
      if (count > (ends ? args.k : full)) {
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
  }
  CopyAsyncWait<0>();
}

template <typename Of>
cudaError_t LaunchTile(const DistanceTopKArgs& args, cudaStream_t stream) {
  constexpr size_t kRow = kStages * kStride * sizeof(__nv_bfloat16);
  constexpr size_t kShared = SharedPiece(Of::kQueries * kRow) + SharedPiece(Of::kRows * kRow) +
                             SharedPiece(Of::kQueries * sizeof(uint64_t)) +
                             SharedPiece(Of::kQueries * sizeof(unsigned)) +
                             SharedPiece(kWarps * kKeyDigits * sizeof(unsigned));
  static_assert(Of::kBlocks * kShared <= kSharedBytesMax);
  static_assert(Of::kRows <= kDistanceTileRowsMax);
  return Launch(&DistanceKernel<Of>,
                {dim3(static_cast<unsigned>(CeilDiv(args.query_count, Of::kQueries)),
                      static_cast<unsigned>(args.splits)),
                 kThreads, kShared},
                stream, args);
}

bool IsSmall(int64_t query_count) { return query_count <= 2 * SmallTile::kQueries; }

// A split without a tile would leave its list unwritten.
template <typename Of>
cudaError_t LaunchIfSplit(const DistanceTopKArgs& args, cudaStream_t stream) {
  if (args.splits > CeilDiv(args.row_count, Of::kRows)) return cudaErrorInvalidValue;
  return LaunchTile<Of>(args, stream);
}

cudaError_t LaunchVariant(const DistanceTopKArgs& args, int32_t variant, cudaStream_t stream) {
  switch (variant) {
    case 0:
      return LaunchIfSplit<LargeTile>(args, stream);
    case 1:
      return LaunchIfSplit<Tile<4, 4, 8>>(args, stream);
    case 2:
      return LaunchIfSplit<Tile<2, 4, 8>>(args, stream);
    case 3:
      return LaunchIfSplit<Tile<2, 2, 8, 2>>(args, stream);
    default:
      return cudaErrorInvalidValue;
  }
}

}  // namespace

int32_t DistanceTopKSplits(const DistanceTopKShape& shape) {
  const bool small = IsSmall(shape.query_count);
  const int64_t across =
      CeilDiv(shape.query_count, small ? SmallTile::kQueries : LargeTile::kQueries);
  const int64_t tiles = CeilDiv(shape.row_count, small ? SmallTile::kRows : LargeTile::kRows);
  const int64_t wanted = across > 0 ? CeilDiv(2 * shape.multiprocessors, across) : 1;
  const int64_t most = tiles < kDistanceSplitsMax ? tiles : kDistanceSplitsMax;
  return static_cast<int32_t>(wanted < most ? wanted : most > 1 ? most : 1);
}

int64_t DistanceTopKWorkspaceBytes(const DistanceWorkspaceShape& shape) {
  return shape.query_count * shape.splits * DistanceListRoom(shape.k) *
         static_cast<int64_t>(sizeof(uint64_t));
}

bool CanRun(const DistanceTopKArgs& args) {
  const int64_t tile_rows = IsSmall(args.query_count) ? SmallTile::kRows : LargeTile::kRows;
  const int64_t tiles = CeilDiv(args.row_count, tile_rows);
  return args.k >= 1 && args.k <= kTopKMax && args.cols > 0 && args.cols % 8 == 0 &&
         args.row_count < kNoRow && args.splits >= 1 && args.splits <= kDistanceSplitsMax &&
         args.splits <= (tiles > 1 ? tiles : 1) && RowsAligned(args.queries, 0, 16) &&
         RowsAligned(args.rows, 0, 16) &&
         RowsAligned(static_cast<const uint64_t*>(args.workspace), 0, 8);
}

cudaError_t DistanceTopK(const DistanceTopKArgs& args, cudaStream_t stream) {
  if (args.query_count == 0) return cudaSuccess;
  if (!CanRun(args)) return cudaErrorInvalidValue;
  if (args.row_count > 0) {
    const cudaError_t launched = IsSmall(args.query_count) ? LaunchTile<SmallTile>(args, stream)
                                                           : LaunchTile<LargeTile>(args, stream);
    if (launched != cudaSuccess) return launched;
  }
  return MergeDistanceLists(args, stream);
}

cudaError_t DistanceTopKVariant(const DistanceTopKArgs& args, int32_t variant,
                                cudaStream_t stream) {
  if (args.query_count == 0) return cudaSuccess;
  if (!CanRun(args) || args.row_count == 0) return cudaErrorInvalidValue;
  const cudaError_t launched = LaunchVariant(args, variant, stream);
  return launched == cudaSuccess ? MergeDistanceLists(args, stream) : launched;
}

}  // namespace baton::cuda
