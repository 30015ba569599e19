#pragma once

// Sums and maxima over a warp or block, in an order that does not depend on timing.

#include <cuda_runtime.h>

#include <cstdint>

#include "cuda_kernels/launch.h"

namespace baton::cuda {

inline constexpr unsigned kAllLanes = 0xffffffffu;

template <typename T>
__device__ __forceinline__ T WarpSum(T x) {
#pragma unroll
  for (int lanes = kWarpThreads / 2; lanes > 0; lanes /= 2) {
    x += __shfl_xor_sync(kAllLanes, x, lanes);
  }
  return x;
}
__device__ __forceinline__ float WarpMax(float x) {
#pragma unroll
  for (int lanes = kWarpThreads / 2; lanes > 0; lanes /= 2) {
    x = fmaxf(x, __shfl_xor_sync(kAllLanes, x, lanes));
  }
  return x;
}
template <typename T>
__device__ __forceinline__ T WarpMax(T x) {
#pragma unroll
  for (int lanes = kWarpThreads / 2; lanes > 0; lanes /= 2) {
    x = max(x, __shfl_xor_sync(kAllLanes, x, lanes));
  }
  return x;
}

// Over the block, to every thread. parts: [blockDim.x / 32], shared, for this call alone.
template <typename T>
__device__ __forceinline__ T BlockSum(T x, T* parts) {
  x = WarpSum(x);
  if (threadIdx.x % kWarpThreads == 0) parts[threadIdx.x / kWarpThreads] = x;
  __syncthreads();
  T sum = 0;
  for (unsigned i = 0; i < blockDim.x / kWarpThreads; ++i) sum += parts[i];
  return sum;
}
template <typename T>
__device__ __forceinline__ T BlockMax(T x, T* parts) {
  x = WarpMax(x);
  if (threadIdx.x % kWarpThreads == 0) parts[threadIdx.x / kWarpThreads] = x;
  __syncthreads();
  for (unsigned i = 0; i < blockDim.x / kWarpThreads; ++i) x = max(x, parts[i]);
  return x;
}

}  // namespace baton::cuda
