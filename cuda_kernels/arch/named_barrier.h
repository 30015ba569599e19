#pragma once

// Barriers of some of a block's warps (PTX barrier.cta); 0 is __syncthreads's.

#include <cuda_runtime.h>

namespace baton::cuda {

// id: 1 to 15; threads: that arrive or wait, a multiple of 32.
__device__ __forceinline__ void NamedBarrierWait(int id, int threads) {
  asm volatile("barrier.cta.sync %0, %1;" ::"r"(id), "r"(threads) : "memory");
}
__device__ __forceinline__ void NamedBarrierArrive(int id, int threads) {
  asm volatile("barrier.cta.arrive %0, %1;" ::"r"(id), "r"(threads) : "memory");
}

}  // namespace baton::cuda
