#include "cuda_kernels/kmeans.h"

#include <cmath>

#include "cuda_kernels/key_collector.h"
#include "cuda_kernels/launch.h"
#include "cuda_kernels/reduce.h"
#include "cuda_kernels/shared.h"

namespace baton::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / kWarpThreads;
constexpr int kSide = 16;            // threads of a tile's row or column
constexpr int kOwn = 4;              // rows, and centroids, of a thread
constexpr int kTile = kSide * kOwn;  // of rows, and of centroids
constexpr int kDepth = 16;           // columns of a stage
constexpr int kStride = kTile + 4;   // of columns in shared memory

// Columns [first, first + kDepth) of kTile rows, transposed; zeros beyond.
__device__ __forceinline__ void LoadTransposed(const float* matrix, int64_t row, int64_t rows,
                                               int64_t first, int64_t dimension, float* to) {
  for (int i = static_cast<int>(threadIdx.x); i < kTile * kDepth; i += kThreads) {
    const int64_t r = row + i / kDepth;
    const int64_t c = first + i % kDepth;
    to[i % kDepth * kStride + i / kDepth] =
        r < rows && c < dimension ? matrix[r * dimension + c] : 0;
  }
}

// 3 * dimension FLOP to each row and centroid (2 if spherical); reads centroids once to 64 rows.
__global__ void __launch_bounds__(kThreads) AssignKernel(KmeansAssignArgs args) {
  SharedMemory memory;
  float* const vectors = memory.Shared<float>(kDepth * kStride);
  float* const centroids = memory.Shared<float>(kDepth * kStride);
  const int column = static_cast<int>(threadIdx.x) % kSide;
  const int down = static_cast<int>(threadIdx.x) / kSide;
  const int64_t first_row = static_cast<int64_t>(blockIdx.x) * kTile;
  uint64_t best[kOwn] = {kNoKey, kNoKey, kNoKey, kNoKey};
  for (int64_t centroid = 0; centroid < args.centroid_count; centroid += kTile) {
    float distances[kOwn][kOwn] = {};
    for (int64_t first = 0; first < args.dimension; first += kDepth) {
      __syncthreads();  // nobody reads the stage before
      LoadTransposed(args.vectors, first_row, args.rows, first, args.dimension, vectors);
      LoadTransposed(args.centroids, centroid, args.centroid_count, first, args.dimension,
                     centroids);
      __syncthreads();  // this one is there
#pragma unroll
      for (int k = 0; k < kDepth; ++k) {
        float x[kOwn];
        float c[kOwn];
#pragma unroll
        for (int i = 0; i < kOwn; ++i) {
          x[i] = vectors[k * kStride + down * kOwn + i];
          c[i] = centroids[k * kStride + i * kSide + column];
        }
#pragma unroll
        for (int i = 0; i < kOwn; ++i) {
#pragma unroll
          for (int j = 0; j < kOwn; ++j) {
            const float difference = x[i] - c[j];
            distances[i][j] = args.spherical ? fmaf(-x[i], c[j], distances[i][j])
                                             : fmaf(difference, difference, distances[i][j]);
          }
        }
      }
    }
#pragma unroll
    for (int i = 0; i < kOwn; ++i) {
#pragma unroll
      for (int j = 0; j < kOwn; ++j) {
        const int64_t which = centroid + j * kSide + column;
        if (which >= args.centroid_count) continue;
        best[i] = min(best[i], KeyOf(distances[i][j], static_cast<uint32_t>(which)));
      }
    }
  }
#pragma unroll
  for (int i = 0; i < kOwn; ++i) {
#pragma unroll
    for (int lanes = kSide / 2; lanes > 0; lanes /= 2) {
      best[i] = min(best[i], __shfl_xor_sync(kAllLanes, best[i], lanes));
    }
    const int64_t row = first_row + down * kOwn + i;
    if (column != 0 || row >= args.rows) continue;
    args.nearest[row] = RowOf(best[i]);
    if (args.distances != nullptr) args.distances[row] = DistanceOf(best[i]);
  }
}

__global__ void __launch_bounds__(kThreads) ClearKernel(KmeansUpdateArgs args) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i < args.centroid_count * args.dimension) args.sums[i] = 0;
  if (i < args.centroid_count) args.counts[i] = 0;
}

// Reads rows * dimension * 4 bytes, with an atomic of 8 to each value; a warp to a row.
__global__ void __launch_bounds__(kThreads) SumKernel(KmeansUpdateArgs args) {
  const int lane = static_cast<int>(threadIdx.x) % kWarpThreads;
  const int64_t row = static_cast<int64_t>(blockIdx.x) * kWarps + threadIdx.x / kWarpThreads;
  if (row >= args.rows) return;
  const int64_t centroid = args.nearest[row];
  // Unsigned, since they wrap around as the signed ones would.
  auto* const sums = reinterpret_cast<unsigned long long*>(args.sums) + centroid * args.dimension;
  for (int64_t i = lane; i < args.dimension; i += kWarpThreads) {
    const double value = static_cast<double>(args.vectors[row * args.dimension + i]) * args.unit;
    atomicAdd(&sums[i], static_cast<unsigned long long>(static_cast<int64_t>(value)));
  }
  if (lane == 0) {
    atomicAdd(&reinterpret_cast<unsigned long long*>(args.counts)[centroid], 1ull);
  }
}

// One block to a centroid; those without rows stay.
__global__ void __launch_bounds__(kThreads) MeanKernel(KmeansUpdateArgs args) {
  SharedMemory memory;
  float* const parts = memory.Shared<float>(kWarps);
  const int64_t centroid = blockIdx.x;
  const int64_t count = args.counts[centroid];
  if (count == 0) return;
  float* const mean = args.centroids + centroid * args.dimension;
  const int64_t* const sums = args.sums + centroid * args.dimension;
  const double scale = 1 / (args.unit * static_cast<double>(count));
  float squares = 0;
  for (int64_t i = threadIdx.x; i < args.dimension; i += kThreads) {
    const auto value = static_cast<float>(static_cast<double>(sums[i]) * scale);
    mean[i] = value;
    squares += value * value;
  }
  if (!args.spherical) return;
  squares = BlockSum(squares, parts);
  const float length = squares > 0 ? 1 / sqrtf(squares) : 0;
  for (int64_t i = threadIdx.x; i < args.dimension; i += kThreads) mean[i] *= length;
}

// One block in all; looks at each count once more for each centroid without rows.
__global__ void __launch_bounds__(kThreads) SplitKernel(KmeansUpdateArgs args) {
  SharedMemory memory;
  uint64_t* const parts = memory.Shared<uint64_t>(kWarps);
  constexpr float kApart = 0x1p-10f;
  for (int64_t empty = 0; empty < args.centroid_count; ++empty) {
    if (args.counts[empty] > 0) continue;
    // The most rows, then the lowest number.
    uint64_t most = 0;
    for (int64_t i = threadIdx.x; i < args.centroid_count; i += kThreads) {
      most = max(most, static_cast<uint64_t>(args.counts[i]) << 31 | (0x7fffffff - i));
    }
    most = BlockMax(most, parts);
    const int64_t count = static_cast<int64_t>(most >> 31);
    const int64_t from = 0x7fffffff - static_cast<int64_t>(most & 0x7fffffff);
    if (count < 2) return;  // nothing to share
    for (int64_t i = threadIdx.x; i < args.dimension; i += kThreads) {
      const float value = args.centroids[from * args.dimension + i];
      const float apart = i % 2 == 0 ? kApart : -kApart;
      args.centroids[empty * args.dimension + i] = value * (1 + apart);
      args.centroids[from * args.dimension + i] = value * (1 - apart);
    }
    if (threadIdx.x == 0) {
      args.counts[empty] = count / 2;
      args.counts[from] = count - count / 2;
    }
    __syncthreads();  // all have read the maxima, and see the new counts
  }
}

}  // namespace

cudaError_t KmeansAssign(const KmeansAssignArgs& args, cudaStream_t stream) {
  if (args.rows == 0) return cudaSuccess;
  if (args.centroid_count < 1 || args.centroid_count >= 0xffffffff) return cudaErrorInvalidValue;
  constexpr size_t kShared = 2 * SharedPiece(kDepth * kStride * sizeof(float));
  return Launch(&AssignKernel,
                {dim3(static_cast<unsigned>(CeilDiv(args.rows, kTile))), kThreads, kShared}, stream,
                args);
}

double KmeansUnit(int64_t rows, float largest) {
  int rows_bits = 0;
  while (rows >> rows_bits > 0) ++rows_bits;
  int largest_bits = 0;
  std::frexp(largest, &largest_bits);  // largest < 2^largest_bits
  return std::ldexp(1.0, 62 - rows_bits - largest_bits);
}

cudaError_t KmeansUpdate(const KmeansUpdateArgs& args, cudaStream_t stream) {
  if (args.centroid_count < 1 || args.centroid_count > 0x7fffffff || !(args.unit > 0)) {
    return cudaErrorInvalidValue;
  }
  const int64_t values = args.centroid_count * (args.dimension > 1 ? args.dimension : 1);
  cudaError_t launched =
      Launch(&ClearKernel, {dim3(static_cast<unsigned>(CeilDiv(values, kThreads))), kThreads},
             stream, args);
  if (launched == cudaSuccess && args.rows > 0) {
    launched =
        Launch(&SumKernel, {dim3(static_cast<unsigned>(CeilDiv(args.rows, kWarps))), kThreads},
               stream, args);
  }
  if (launched == cudaSuccess) {
    launched = Launch(&MeanKernel,
                      {dim3(static_cast<unsigned>(args.centroid_count)), kThreads,
                       SharedPiece(kWarps * sizeof(float))},
                      stream, args);
  }
  if (launched != cudaSuccess) return launched;
  return Launch(&SplitKernel, {dim3(1), kThreads, SharedPiece(kWarps * sizeof(uint64_t))}, stream,
                args);
}

}  // namespace baton::cuda
