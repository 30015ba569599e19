#include "cuda_kernels/prefill_attention_sm90a.h"

#include <math_constants.h>

#include "cuda_kernels/arch/copy_async.h"
#include "cuda_kernels/arch/math.h"
#include "cuda_kernels/arch/sm90a.h"
#include "cuda_kernels/launch.h"
#include "cuda_kernels/paged_kv.h"
#include "cuda_kernels/reduce.h"
#include "cuda_kernels/shared.h"
#include "cuda_kernels/tile_map_sm90a.h"
#include "cuda_kernels/vector_io.h"

namespace baton::cuda {
namespace {

constexpr int kGroupThreads = 128;              // of a warpgroup
constexpr int kGroups = kPrefillTileRows / 64;  // that multiply; one more brings keys and values
constexpr int kThreads = (kGroups + 1) * kGroupThreads;
constexpr int kDim = 128;
constexpr int kKeys = 128;  // of a tile
constexpr int kStages = 2;
constexpr int kHalfDim = 64;                      // columns of a swizzled row of 128 bytes
constexpr int kHalfBytes = kKeys * kHalfDim * 2;  // of a tile of keys, or of values
constexpr int kTileBytes = 2 * kHalfBytes;
constexpr int kQueryHalfBytes = kPrefillTileRows * kHalfDim * 2;
constexpr float kLog2E = 1.4426950408889634f;

// Where 16 bytes, elements [8 * chunk, 8 * chunk + 8) of a row, lie in a tile of two halves.
__device__ __forceinline__ int SwizzledPlace(int row, int chunk, int half_bytes) {
  return chunk / 8 * half_bytes + row * 128 + ((chunk % 8) ^ (row % 8)) * 16;
}

// Keys or values [first, first + kKeys) by the warpgroup that brings them; zeros from `end` on.
__device__ __forceinline__ void BringTile(const PagedKv& kv, const KvHead& head, int first, int end,
                                          unsigned char* tile) {
  constexpr int kChunks = kDim / 8;
  for (int i = static_cast<int>(threadIdx.x) % kGroupThreads; i < kKeys * kChunks;
       i += kGroupThreads) {
    const int key = i / kChunks;
    const int chunk = i % kChunks;
    const int position = first + key;
    const bool valid = position < end && chunk * 8 < kv.head_dim;
    const int64_t element = static_cast<int64_t>(head.Slot(position)) * kv.head_dim + chunk * 8;
    CopyAsync16(tile + SwizzledPlace(key, chunk, kHalfBytes),
                valid ? head.Area(position) + element * 2 : kv.pool, valid);
  }
}

// 4 * head_dim FLOPs to each row, head and key; reads keys and values once to a tile and head. One
// block to a head of a tile: 64 rows to each warpgroup that multiplies; the third one brings the
// tiles of keys and values, two ahead.
__global__ void __launch_bounds__(kThreads, 1) PrefillKernel(PrefillAttentionArgs args) {
  SharedMemory memory;
  unsigned char* const unaligned =
      memory.Shared<unsigned char>(2 * kQueryHalfBytes + kStages * 2 * kTileBytes + 1024);
  uint64_t* const full = memory.Shared<uint64_t>(kStages);
  uint64_t* const empty = memory.Shared<uint64_t>(kStages);
  unsigned char* const queries = unaligned + (1024 - SharedAddress(unaligned) % 1024) % 1024;
  unsigned char* const stages = queries + 2 * kQueryHalfBytes;

  const PrefillTile tile = args.tiles[blockIdx.y];
  const int end = tile.position + tile.rows;
  const int begin = args.window > 0 ? max(0, tile.position + 1 - args.window) / kKeys * kKeys : 0;
  const int kv_head = static_cast<int>(blockIdx.x) / (args.heads / args.kv.kv_heads);

  if (threadIdx.x == 0) {
    for (int stage = 0; stage < kStages; ++stage) {
      BarrierInit(&full[stage], kGroupThreads);
      BarrierInit(&empty[stage], kGroups * kGroupThreads / kWarpThreads);
    }
    BarrierInitFence();
  }
  for (int i = static_cast<int>(threadIdx.x); i < kPrefillTileRows * kDim / 8; i += kThreads) {
    const int row = i / (kDim / 8);
    const int chunk = i % (kDim / 8);
    const bool valid = row < tile.rows && chunk * 8 < args.kv.head_dim;
    const int64_t from = valid ? (tile.first_row + row) * args.q_stride +
                                     static_cast<int64_t>(blockIdx.x) * args.kv.head_dim + chunk * 8
                               : 0;
    CopyAsync16(queries + SwizzledPlace(row, chunk, kQueryHalfBytes), args.q + from, valid);
  }
  CopyAsyncCommit();
  CopyAsyncWait<0>();
  SharedWritesFence();
  __syncthreads();  // barriers and queries are there

  if (threadIdx.x >= kGroups * kGroupThreads) {
    GiveRegistersBack<56>();
    const KvHead keys(args.kv, tile.sequence, kv_head, KvPlane::kKeys);
    const KvHead values(args.kv, tile.sequence, kv_head, KvPlane::kValues);
    int stage = 0;
    int parity = 1;   // fresh stages are empty
    int before = -1;  // the stage whose copies are under way
    for (int first = begin; first < end; first += kKeys) {
      BarrierWait(&empty[stage], parity);
      unsigned char* const to = stages + stage * 2 * kTileBytes;
      BringTile(args.kv, keys, first, end, to);
      BringTile(args.kv, values, first, end, to + kTileBytes);
      CopyAsyncCommit();
      if (before >= 0) {
        CopyAsyncWait<1>();
        SharedWritesFence();
        BarrierArrive(&full[before]);
      }
      before = stage;
      if (++stage == kStages) {
        stage = 0;
        parity ^= 1;
      }
    }
    CopyAsyncWait<0>();
    SharedWritesFence();
    if (before >= 0) BarrierArrive(&full[before]);
    return;
  }

  TakeRegisters<224>();
  const int warp = static_cast<int>(threadIdx.x) / kWarpThreads;
  const int lane = static_cast<int>(threadIdx.x) % kWarpThreads;
  const int group = static_cast<int>(threadIdx.x) / kGroupThreads;
  const bool leads = lane == 0;  // of each warp: one may be done before another
  const int row = warp * 16 + lane / 4;
  const int limits[2] = {tile.position + row, tile.position + row + 8};
  const int first_limit = tile.position + warp * 16;  // of the warp's rows
  const bool capped = args.score_cap > 0;
  float sums[2][32];  // [half of the dimensions][m64n64]
  float maximum[2] = {-CUDART_INF_F, -CUDART_INF_F};
  float total[2] = {0, 0};
#pragma unroll
  for (int half = 0; half < 2; ++half) {
#pragma unroll
    for (int i = 0; i < 32; ++i) sums[half][i] = 0;
  }
  const uint64_t query_matrix = SwizzledMatrix(queries + group * 64 * 128);

  int stage = 0;
  int parity = 0;
  for (int first = begin; first < end; first += kKeys) {
    unsigned char* const keys = stages + stage * 2 * kTileBytes;
    BarrierWait(&full[stage], parity);
    float scores[kKeys / 2];
    const uint64_t key_matrix = SwizzledMatrix(keys);
    ProductsBegin();
#pragma unroll
    for (int k = 0; k < kDim; k += 16) {
      const int half = k / kHalfDim;
      const int within = k % kHalfDim * 2;
      ProductN128(scores, Advanced(query_matrix, half * kQueryHalfBytes + within),
                  Advanced(key_matrix, half * kHalfBytes + within), k > 0);
    }
    ProductsEnd();
    ProductsWait<0>();
    HoldProducts(scores);

    const bool inside = first + kKeys - 1 <= first_limit &&
                        (args.window == 0 || first > first_limit + 15 - args.window);
    float highest[2] = {maximum[0], maximum[1]};
#pragma unroll
    for (int i = 0; i < kKeys / 2; ++i) {
      float& score = scores[i];
      score *= args.scale;
      if (capped) score = args.score_cap * tanhf(score / args.score_cap);
      score *= kLog2E;
      const int half = i % 4 / 2;
      const int position = first + i / 4 * 8 + lane % 4 * 2 + i % 2;
      const int limit = limits[half];
      if (!inside && (position > limit || (args.window > 0 && position <= limit - args.window))) {
        score = -CUDART_INF_F;
      }
      highest[half] = fmaxf(highest[half], score);
    }
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      highest[half] = fmaxf(highest[half], __shfl_xor_sync(kAllLanes, highest[half], 1));
      highest[half] = fmaxf(highest[half], __shfl_xor_sync(kAllLanes, highest[half], 2));
      // Nothing seen so far: what is to be rescaled is 0, and no weight may become NaN.
      const float base = highest[half] == -CUDART_INF_F ? 0 : highest[half];
      const float rescale = Exp2(maximum[half] - base);
      maximum[half] = highest[half];
      float part = 0;
#pragma unroll
      for (int i = 0; i < kKeys / 2; i += 4) {
#pragma unroll
        for (int j = 2 * half; j < 2 * half + 2; ++j) {
          scores[i + j] = Exp2(scores[i + j] - base);
          part += scores[i + j];
        }
      }
      total[half] = total[half] * rescale + part;
#pragma unroll
      for (int i = 0; i < 32; i += 4) {
#pragma unroll
        for (int j = 2 * half; j < 2 * half + 2; ++j) {
          sums[0][i + j] *= rescale;
          sums[1][i + j] *= rescale;
        }
      }
    }

    const uint64_t value_matrix = SwizzledMatrix(keys + kTileBytes);
    HoldProducts(sums[0]);
    HoldProducts(sums[1]);
    uint32_t weights[kKeys / 16][4];
#pragma unroll
    for (int k = 0; k < kKeys / 16; ++k) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const float* const pair = &scores[(2 * k + i / 2) * 4 + i % 2 * 2];
        weights[k][i] = PackPair(pair[0], pair[1], static_cast<const __nv_bfloat16*>(nullptr));
      }
    }
    ProductsBegin();
#pragma unroll
    for (int k = 0; k < kKeys / 16; ++k) {
      const uint64_t at = Advanced(value_matrix, k * 16 * 128);
      ProductTransposedN64(sums[0], weights[k], at, true);
      ProductTransposedN64(sums[1], weights[k], Advanced(at, kHalfBytes), true);
    }
    ProductsEnd();
    ProductsWait<0>();
    HoldProducts(sums[0]);
    HoldProducts(sums[1]);
    if (leads) BarrierArrive(&empty[stage]);
    if (++stage == kStages) {
      stage = 0;
      parity ^= 1;
    }
  }

#pragma unroll
  for (int half = 0; half < 2; ++half) {
    float sum = total[half];
    sum += __shfl_xor_sync(kAllLanes, sum, 1);
    sum += __shfl_xor_sync(kAllLanes, sum, 2);
    const float inverse = 1 / sum;
    const int its = row + 8 * half;
    if (its >= tile.rows) continue;
    __nv_bfloat16* const out =
        args.out +
        ((tile.first_row + its) * static_cast<int64_t>(args.heads) + blockIdx.x) * args.kv.head_dim;
#pragma unroll
    for (int n = 0; n < kDim / 8; ++n) {
      const int dim = n * 8 + lane % 4 * 2;
      if (dim >= args.kv.head_dim) continue;
      const float* const from = &sums[n / 8][n % 8 * 4 + half * 2];
      const float pair[2] = {from[0] * inverse, from[1] * inverse};
      StoreFloats(pair, out + dim);
    }
  }
}

}  // namespace

cudaError_t PrefillAttentionSm90a(const PrefillAttentionArgs& args, cudaStream_t stream) {
  if (args.tile_count == 0) return cudaSuccess;
  if (!CanRun(args) || args.kv.element != KvElement::kBF16 || args.kv.head_dim <= 64 ||
      args.kv.head_dim > kDim || args.lengths != nullptr || !IsSm90()) {
    return cudaErrorInvalidValue;
  }
  constexpr size_t kShared = SharedPiece(2 * kQueryHalfBytes + kStages * 2 * kTileBytes + 1024) +
                             2 * SharedPiece(kStages * sizeof(uint64_t));
  static_assert(kShared <= kSharedBytesMax);
  return Launch(&PrefillKernel,
                {dim3(static_cast<unsigned>(args.heads), static_cast<unsigned>(args.tile_count)),
                 kThreads, kShared},
                stream, args);
}

}  // namespace baton::cuda
