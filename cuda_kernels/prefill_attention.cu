#include "cuda_kernels/prefill_attention.h"

#include <math_constants.h>

#include "cuda_kernels/arch/copy_async.h"
#include "cuda_kernels/arch/math.h"
#include "cuda_kernels/arch/mma.h"
#include "cuda_kernels/launch.h"
#include "cuda_kernels/paged_kv.h"
#include "cuda_kernels/reduce.h"
#include "cuda_kernels/shared.h"
#include "cuda_kernels/vector_io.h"

namespace baton::cuda {
namespace {

constexpr int kWarpRows = 16;  // of a matrix fragment
constexpr int kThreads = kPrefillTileRows / kWarpRows * kWarpThreads;
constexpr float kLog2E = 1.4426950408889634f;

// Rows of shared memory are 16 bytes longer than they need to be, so that the eight rows of a
// matrix lie in different banks.
template <int kDim>
constexpr int kStride = kDim + 8;

// A lane's part of 16 queries' scores against a tile of keys: [key tile][(g, 2t), (g, 2t + 1),
// (g + 8, 2t), (g + 8, 2t + 1)] with g = lane / 4, t = lane % 4.
template <int kKeys>
using Scores = float[kKeys / 8][4];

template <int kDim>
__device__ __forceinline__ void LoadQueries(const PrefillAttentionArgs& args,
                                            const PrefillTile& tile, __nv_bfloat16* queries) {
  constexpr int kChunks = kDim / 8;
  const int head_dim = args.kv.head_dim;
  for (int i = static_cast<int>(threadIdx.x); i < kPrefillTileRows * kChunks; i += kThreads) {
    const int row = i / kChunks;
    const int dim = i % kChunks * 8;
    const bool valid = row < tile.rows && dim < head_dim;
    const int64_t from = valid ? (tile.first_row + row) * args.q_stride +
                                     static_cast<int64_t>(blockIdx.x) * head_dim + dim
                               : 0;
    CopyAsync16(queries + row * kStride<kDim> + dim, args.q + from, valid);
  }
}

// Eight elements of a vector that is not bf16, as bf16.
template <typename Element>
__device__ __forceinline__ void Convert8(const unsigned char* from, float scale,
                                         __nv_bfloat16* to) {
  KvEight<Element> words;
  words.Load(from);
  float x[8];
  words.Unpack(x);
  if constexpr (sizeof(Element) == 1) {
#pragma unroll
    for (int i = 0; i < 8; ++i) x[i] *= scale;
  }
  StoreFloats(x, to);
}

// Keys or values [first, first + kKeys); zeros from `end` on.
template <int kDim, int kKeys>
__device__ __forceinline__ void LoadTile(const PagedKv& kv, const KvHead& head, int first, int end,
                                         __nv_bfloat16* tile) {
  constexpr int kChunks = kDim / 8;
  for (int i = static_cast<int>(threadIdx.x); i < kKeys * kChunks; i += kThreads) {
    const int key = i / kChunks;
    const int dim = i % kChunks * 8;
    const int position = first + key;
    const bool valid = position < end && dim < kv.head_dim;
    __nv_bfloat16* const to = tile + key * kStride<kDim> + dim;
    const int64_t element = static_cast<int64_t>(head.Slot(position)) * kv.head_dim + dim;
    if (kv.element == KvElement::kBF16) {
      CopyAsync16(to, valid ? head.Area(position) + element * 2 : kv.pool, valid);
    } else if (!valid) {
      *reinterpret_cast<uint4*>(to) = make_uint4(0, 0, 0, 0);
    } else if (kv.element == KvElement::kF16) {
      Convert8<__half>(head.Area(position) + element * 2, 1, to);
    } else {
      Convert8<KvInt8>(head.Area(position) + element, *head.Scale(position), to);
    }
  }
}

template <int kDim, int kKeys>
__device__ __forceinline__ void Score(const __nv_bfloat16* queries, const __nv_bfloat16* keys,
                                      Scores<kKeys>& scores) {
  constexpr int kKeyTiles = kKeys / 8;
  const int lane = static_cast<int>(threadIdx.x) % kWarpThreads;
  const int matrix = lane / 8;
#pragma unroll
  for (int n = 0; n < kKeyTiles; ++n) {
#pragma unroll
    for (int i = 0; i < 4; ++i) scores[n][i] = 0;
  }
#pragma unroll
  for (int k = 0; k < kDim; k += 16) {
    uint32_t a[4];
    LoadMatrices(a, queries + lane % 16 * kStride<kDim> + k + lane / 16 * 8);
#pragma unroll
    for (int n = 0; n < kKeyTiles; n += 2) {
      uint32_t b[4];
      LoadMatrices(b,
                   keys + ((n + matrix / 2) * 8 + lane % 8) * kStride<kDim> + k + matrix % 2 * 8);
      MmaBf16(scores[n], a, {b[0], b[1]});
      MmaBf16(scores[n + 1], a, {b[2], b[3]});
    }
  }
}

// values += weights (a lane's scores, turned to weights) * a tile of values
template <int kDim, int kKeys>
__device__ __forceinline__ void AddValues(const Scores<kKeys>& weights, const __nv_bfloat16* tile,
                                          float (&values)[kDim / 8][4]) {
  constexpr int kKeyTiles = kKeys / 8;
  const int lane = static_cast<int>(threadIdx.x) % kWarpThreads;
  const int matrix = lane / 8;
#pragma unroll
  for (int k = 0; k < kKeyTiles; k += 2) {
    uint32_t a[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const float* const pair = &weights[k + i / 2][i % 2 * 2];
      a[i] = PackPair(pair[0], pair[1], static_cast<const __nv_bfloat16*>(nullptr));
    }
#pragma unroll
    for (int n = 0; n < kDim / 8; n += 2) {
      uint32_t b[4];
      LoadMatricesTransposed(
          b, tile + (k * 8 + matrix % 2 * 8 + lane % 8) * kStride<kDim> + (n + matrix / 2) * 8);
      MmaBf16(values[n], a, {b[0], b[1]});
      MmaBf16(values[n + 1], a, {b[2], b[3]});
    }
  }
}

__device__ __forceinline__ float QuadMax(float x) {
  x = fmaxf(x, __shfl_xor_sync(kAllLanes, x, 1));
  return fmaxf(x, __shfl_xor_sync(kAllLanes, x, 2));
}
__device__ __forceinline__ float QuadSum(float x) {
  x += __shfl_xor_sync(kAllLanes, x, 1);
  return x + __shfl_xor_sync(kAllLanes, x, 2);
}

// 4 * head_dim FLOPs to each row, head and key; reads keys and values once to a tile and head. One
// block to a head of a tile: 16 rows to a warp, the next keys under way while these are multiplied.
template <int kDim, int kKeys>
__global__ void __launch_bounds__(kThreads) PrefillKernel(PrefillAttentionArgs args) {
  constexpr int kKeyTiles = kKeys / 8;
  SharedMemory memory;
  __nv_bfloat16* const queries = memory.Shared<__nv_bfloat16>(kPrefillTileRows * kStride<kDim>);
  constexpr int kStage = kKeys * kStride<kDim>;
  __nv_bfloat16* const keys = memory.Shared<__nv_bfloat16>(2 * kStage);
  __nv_bfloat16* const values = memory.Shared<__nv_bfloat16>(2 * kStage);

  const PrefillTile tile = args.tiles[blockIdx.y];
  const int warp = static_cast<int>(threadIdx.x) / kWarpThreads;
  const int lane = static_cast<int>(threadIdx.x) % kWarpThreads;
  const int kv_head = static_cast<int>(blockIdx.x) / (args.heads / args.kv.kv_heads);
  const KvHead kv_keys(args.kv, tile.sequence, kv_head, KvPlane::kKeys);
  const KvHead kv_values(args.kv, tile.sequence, kv_head, KvPlane::kValues);
  const bool sees_all = args.lengths != nullptr;
  const int end = sees_all ? args.lengths[tile.sequence] : tile.position + tile.rows;
  const int begin = args.window > 0 ? max(0, tile.position + 1 - args.window) / kKeys * kKeys : 0;

  // A lane's two rows, and the last position that each attends to.
  const int row = warp * kWarpRows + lane / 4;
  const int limits[2] = {sees_all ? end - 1 : tile.position + row,
                         sees_all ? end - 1 : tile.position + row + 8};
  const bool capped = args.score_cap > 0;
  float sums[kDim / 8][4] = {};
  float maximum[2] = {-CUDART_INF_F, -CUDART_INF_F};
  float total[2] = {0, 0};

  LoadQueries<kDim>(args, tile, queries);
  LoadTile<kDim, kKeys>(args.kv, kv_keys, begin, end, keys);
  LoadTile<kDim, kKeys>(args.kv, kv_values, begin, end, values);
  CopyAsyncCommit();
  int stage = 0;
  for (int first = begin; first < end; first += kKeys, stage ^= 1) {
    CopyAsyncWait<0>();
    __syncthreads();  // this stage is there, and nobody reads the other one any more
    if (first + kKeys < end) {
      LoadTile<kDim, kKeys>(args.kv, kv_keys, first + kKeys, end, keys + (stage ^ 1) * kStage);
      LoadTile<kDim, kKeys>(args.kv, kv_values, first + kKeys, end, values + (stage ^ 1) * kStage);
      CopyAsyncCommit();
    }
    Scores<kKeys> scores;
    Score<kDim, kKeys>(queries + warp * kWarpRows * kStride<kDim>, keys + stage * kStage, scores);

    const int first_limit = sees_all ? end - 1 : tile.position + warp * kWarpRows;
    const bool inside = first + kKeys - 1 <= first_limit &&
                        (args.window == 0 ||
                         first > tile.position + warp * kWarpRows + kWarpRows - 1 - args.window);
    float highest[2] = {maximum[0], maximum[1]};
#pragma unroll
    for (int n = 0; n < kKeyTiles; ++n) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        float& score = scores[n][i];
        score *= args.scale;
        if (capped) score = args.score_cap * tanhf(score / args.score_cap);
        score *= kLog2E;
        const int position = first + n * 8 + lane % 4 * 2 + i % 2;
        const int limit = limits[i / 2];
        if (!inside && (position > limit || (args.window > 0 && position <= limit - args.window))) {
          score = -CUDART_INF_F;
        }
        highest[i / 2] = fmaxf(highest[i / 2], score);
      }
    }
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      highest[half] = QuadMax(highest[half]);
      // Nothing seen so far: what is to be rescaled is 0, and no weight may become NaN.
      const float base = highest[half] == -CUDART_INF_F ? 0 : highest[half];
      const float rescale = Exp2(maximum[half] - base);
      maximum[half] = highest[half];
      float part = 0;
#pragma unroll
      for (int n = 0; n < kKeyTiles; ++n) {
#pragma unroll
        for (int i = 2 * half; i < 2 * half + 2; ++i) {
          scores[n][i] = Exp2(scores[n][i] - base);
          part += scores[n][i];
        }
      }
      total[half] = total[half] * rescale + part;
#pragma unroll
      for (int n = 0; n < kDim / 8; ++n) {
        sums[n][2 * half] *= rescale;
        sums[n][2 * half + 1] *= rescale;
      }
    }
    AddValues<kDim, kKeys>(scores, values + stage * kStage, sums);
  }
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const float inverse = 1 / QuadSum(total[half]);
    const int its = row + 8 * half;
    if (its >= tile.rows) continue;
    __nv_bfloat16* const out =
        args.out +
        ((tile.first_row + its) * static_cast<int64_t>(args.heads) + blockIdx.x) * args.kv.head_dim;
#pragma unroll
    for (int n = 0; n < kDim / 8; ++n) {
      const int dim = n * 8 + lane % 4 * 2;
      if (dim >= args.kv.head_dim) continue;
      const float pair[2] = {sums[n][2 * half] * inverse, sums[n][2 * half + 1] * inverse};
      StoreFloats(pair, out + dim);
    }
  }
}

template <int kDim, int kKeys>
cudaError_t LaunchDim(const PrefillAttentionArgs& args, cudaStream_t stream) {
  constexpr size_t kRow = kStride<kDim> * sizeof(__nv_bfloat16);
  constexpr size_t kShared =
      SharedPiece(kPrefillTileRows * kRow) + 2 * SharedPiece(2 * kKeys * kRow);
  static_assert(kShared <= kSharedBytesMax);
  return Launch(&PrefillKernel<kDim, kKeys>,
                {dim3(static_cast<unsigned>(args.heads), static_cast<unsigned>(args.tile_count)),
                 kThreads, kShared},
                stream, args);
}

}  // namespace

bool CanRun(const PrefillAttentionArgs& args) {
  return KvVectorsAligned(args.kv) && args.kv.element != KvElement::kF32 &&
         args.kv.head_dim <= 256 && args.heads % args.kv.kv_heads == 0 &&
         args.tile_count <= kGridYMax && RowsAligned(args.q, args.q_stride, 16) &&
         RowsAligned(args.out, 0, 16) && (args.lengths == nullptr || args.window == 0);
}

cudaError_t PrefillAttention(const PrefillAttentionArgs& args, cudaStream_t stream) {
  if (args.tile_count == 0) return cudaSuccess;
  if (!CanRun(args)) return cudaErrorInvalidValue;
  constexpr int kKeys = 64;
  if (args.kv.head_dim <= 64) return LaunchDim<64, kKeys>(args, stream);
  if (args.kv.head_dim <= 128) return LaunchDim<128, kKeys>(args, stream);
  return LaunchDim<256, kKeys>(args, stream);
}

cudaError_t PrefillAttentionVariant(const PrefillAttentionArgs& args, int32_t variant,
                                    cudaStream_t stream) {
  if (args.tile_count == 0) return cudaSuccess;
  if (!CanRun(args) || args.kv.head_dim > 128) return cudaErrorInvalidValue;
  switch (variant) {
    case 0:
      return LaunchDim<128, 64>(args, stream);
    case 1:
      return LaunchDim<128, 32>(args, stream);
    case 2:
      return LaunchDim<128, 128>(args, stream);
    default:
      return cudaErrorInvalidValue;
  }
}

}  // namespace baton::cuda
