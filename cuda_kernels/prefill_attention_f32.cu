#include "cuda_kernels/prefill_attention_f32.h"

#include <math_constants.h>

#include "cuda_kernels/launch.h"
#include "cuda_kernels/paged_kv.h"
#include "cuda_kernels/reduce.h"
#include "cuda_kernels/shared.h"
#include "cuda_kernels/vector_io.h"

namespace baton::cuda {
namespace {

constexpr int kAcross = 16;  // threads to a row
constexpr int kThreads = 256;
constexpr int kOwnRows = 4;  // of a thread
constexpr int kRows = kThreads / kAcross * kOwnRows;
constexpr int kParts = static_cast<int>(CeilDiv(kPrefillTileRows, kRows));  // of a tile
constexpr int kKeys = 32;
constexpr int kOwnKeys = kKeys / kAcross;

// Rows of shared memory are 4 floats longer than they need to be, so that threads that read rows
// beside each other meet in few banks.
__host__ __device__ constexpr int StrideOf(int head_dim) { return head_dim + 4; }

// Keys or values [first, first + kKeys); zeros from `end` on.
__device__ __forceinline__ void LoadTile(const PagedKv& kv, const KvHead& head, int first, int end,
                                         float* tile) {
  const int chunks = kv.head_dim / 4;
  for (int i = static_cast<int>(threadIdx.x); i < kKeys * chunks; i += kThreads) {
    const int position = first + i / chunks;
    const int dim = i % chunks * 4;
    float x[4] = {};
    if (position < end) {
      LoadFloats(reinterpret_cast<const float*>(head.Area(position)) +
                     static_cast<int64_t>(head.Slot(position)) * kv.head_dim + dim,
                 x);
    }
    StoreFloats(x, tile + i / chunks * StrideOf(kv.head_dim) + dim);
  }
}

// Over the threads of a row, which are half a warp.
__device__ __forceinline__ float RowMax(float x) {
#pragma unroll
  for (int lanes = kAcross / 2; lanes > 0; lanes /= 2) {
    x = fmaxf(x, __shfl_xor_sync(kAllLanes, x, lanes));
  }
  return x;
}
__device__ __forceinline__ float RowSum(float x) {
#pragma unroll
  for (int lanes = kAcross / 2; lanes > 0; lanes /= 2) x += __shfl_xor_sync(kAllLanes, x, lanes);
  return x;
}

// 4 * head_dim FLOP to each row, head and key; reads keys and values once to 64 rows of a head. A
// thread has scores of 4 rows and 2 keys, and of the same rows every 16th element of the output.
template <int kDim>
__global__ void __launch_bounds__(kThreads) PrefillF32Kernel(PrefillAttentionF32Args args) {
  SharedMemory memory;
  const int head_dim = args.kv.head_dim;
  const int stride = StrideOf(head_dim);
  float* const queries = memory.Shared<float>(static_cast<size_t>(kRows * stride));
  float* const keys = memory.Shared<float>(static_cast<size_t>(kKeys * stride));
  float* const values = memory.Shared<float>(static_cast<size_t>(kKeys * stride));
  constexpr int kWeightStride = kKeys + 1;
  float* const weights = memory.Shared<float>(kRows * kWeightStride);

  const PrefillTile tile = args.tiles[blockIdx.y];
  const int part = static_cast<int>(blockIdx.z) * kRows;
  const int rows = min(kRows, tile.rows - part);
  if (rows <= 0) return;
  const int position = tile.position + part;
  const int column = static_cast<int>(threadIdx.x) % kAcross;
  const int first_row = static_cast<int>(threadIdx.x) / kAcross * kOwnRows;
  const int kv_head = static_cast<int>(blockIdx.x) / (args.heads / args.kv.kv_heads);
  const KvHead kv_keys(args.kv, tile.sequence, kv_head, KvPlane::kKeys);
  const KvHead kv_values(args.kv, tile.sequence, kv_head, KvPlane::kValues);
  const bool sees_all = args.lengths != nullptr;
  const int end = sees_all ? args.lengths[tile.sequence] : position + rows;
  const int begin = args.window > 0 ? max(0, position + 1 - args.window) : 0;

  for (int i = static_cast<int>(threadIdx.x); i < kRows * head_dim; i += kThreads) {
    const int row = i / head_dim;
    const int64_t from = (tile.first_row + part + row) * args.q_stride +
                         static_cast<int64_t>(blockIdx.x) * head_dim + i % head_dim;
    queries[row * stride + i % head_dim] = row < rows ? args.q[from] * args.scale : 0;
  }
  constexpr int kOwnDims = kDim / kAcross;
  float sums[kOwnRows][kOwnDims] = {};
  float maximum[kOwnRows];
  float total[kOwnRows] = {};
#pragma unroll
  for (int r = 0; r < kOwnRows; ++r) maximum[r] = -CUDART_INF_F;

  for (int first = begin; first < end; first += kKeys) {
    LoadTile(args.kv, kv_keys, first, end, keys);
    LoadTile(args.kv, kv_values, first, end, values);
    __syncthreads();  // queries, keys and values are there
    float scores[kOwnRows][kOwnKeys] = {};
    for (int dim = 0; dim < head_dim; dim += 4) {
      float q[kOwnRows][4];
      float k[kOwnKeys][4];
#pragma unroll
      for (int r = 0; r < kOwnRows; ++r) LoadFloats(queries + (first_row + r) * stride + dim, q[r]);
#pragma unroll
      for (int j = 0; j < kOwnKeys; ++j) {
        LoadFloats(keys + (j * kAcross + column) * stride + dim, k[j]);
      }
#pragma unroll
      for (int r = 0; r < kOwnRows; ++r) {
#pragma unroll
        for (int j = 0; j < kOwnKeys; ++j) {
#pragma unroll
          for (int i = 0; i < 4; ++i) scores[r][j] = fmaf(q[r][i], k[j][i], scores[r][j]);
        }
      }
    }
#pragma unroll
    for (int r = 0; r < kOwnRows; ++r) {
      const int limit = sees_all ? end - 1 : position + first_row + r;
      float highest = maximum[r];
#pragma unroll
      for (int j = 0; j < kOwnKeys; ++j) {
        float& score = scores[r][j];
        if (args.score_cap > 0) score = args.score_cap * tanhf(score / args.score_cap);
        const int at = first + j * kAcross + column;
        if (at > limit || at >= end || (args.window > 0 && at <= limit - args.window)) {
          score = -CUDART_INF_F;
        }
        highest = fmaxf(highest, score);
      }
      highest = RowMax(highest);
      // Nothing seen so far: what is to be rescaled is 0, and no weight may become NaN.
      const float base = highest == -CUDART_INF_F ? 0 : highest;
      const float rescale = expf(maximum[r] - base);
      maximum[r] = highest;
      total[r] *= rescale;
#pragma unroll
      for (int j = 0; j < kOwnKeys; ++j) {
        const float weight = expf(scores[r][j] - base);
        total[r] += weight;
        weights[(first_row + r) * kWeightStride + j * kAcross + column] = weight;
      }
#pragma unroll
      for (int d = 0; d < kOwnDims; ++d) sums[r][d] *= rescale;
    }
    __syncwarp();  // the weights of a warp's rows are there
    for (int key = 0; key < kKeys; ++key) {
      float w[kOwnRows];
#pragma unroll
      for (int r = 0; r < kOwnRows; ++r) w[r] = weights[(first_row + r) * kWeightStride + key];
#pragma unroll
      for (int d = 0; d < kOwnDims; ++d) {
        const int dim = d * kAcross + column;
        const float value = dim < head_dim ? values[key * stride + dim] : 0;
#pragma unroll
        for (int r = 0; r < kOwnRows; ++r) sums[r][d] = fmaf(w[r], value, sums[r][d]);
      }
    }
    __syncthreads();  // nobody reads keys, values or weights any more
  }
#pragma unroll
  for (int r = 0; r < kOwnRows; ++r) {
    const float inverse = 1 / RowSum(total[r]);
    const int row = first_row + r;
    if (row >= rows) continue;
    float* const out =
        args.out +
        ((tile.first_row + part + row) * static_cast<int64_t>(args.heads) + blockIdx.x) * head_dim;
#pragma unroll
    for (int d = 0; d < kOwnDims; ++d) {
      const int dim = d * kAcross + column;
      if (dim < head_dim) out[dim] = sums[r][d] * inverse;
    }
  }
}

template <int kDim>
cudaError_t LaunchDim(const PrefillAttentionF32Args& args, cudaStream_t stream) {
  const auto row = static_cast<size_t>(StrideOf(args.kv.head_dim)) * sizeof(float);
  const size_t shared = SharedPiece(kRows * row) + 2 * SharedPiece(kKeys * row) +
                        SharedPiece(kRows * (kKeys + 1) * sizeof(float));
  return Launch(
      &PrefillF32Kernel<kDim>,
      {dim3(static_cast<unsigned>(args.heads), static_cast<unsigned>(args.tile_count), kParts),
       kThreads, shared},
      stream, args);
}

}  // namespace

bool CanRun(const PrefillAttentionF32Args& args) {
  return KvVectorsAligned(args.kv) && args.kv.element == KvElement::kF32 &&
         args.kv.head_dim <= 256 && args.heads % args.kv.kv_heads == 0 &&
         args.tile_count <= kGridYMax && (args.lengths == nullptr || args.window == 0);
}

cudaError_t PrefillAttentionF32(const PrefillAttentionF32Args& args, cudaStream_t stream) {
  if (args.tile_count == 0) return cudaSuccess;
  if (!CanRun(args)) return cudaErrorInvalidValue;
  if (args.kv.head_dim <= 64) return LaunchDim<64>(args, stream);
  if (args.kv.head_dim <= 128) return LaunchDim<128>(args, stream);
  return LaunchDim<256>(args, stream);
}

}  // namespace baton::cuda
