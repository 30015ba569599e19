#pragma once

// A row in the registers of a block: kParts vectors of kVector elements to a thread, so that it is
// read once.

#include <cuda_runtime.h>

#include <type_traits>

#include "cuda_kernels/launch.h"
#include "cuda_kernels/vector_io.h"

namespace baton::cuda {

template <int kVector, int kParts>
struct NormRow {
  float v[kParts][kVector] = {};

  static __device__ __forceinline__ int64_t At(int part) {
    return (static_cast<int64_t>(part) * blockDim.x + threadIdx.x) * kVector;
  }

  template <typename T>
  __device__ __forceinline__ void Load(const T* row, int64_t dim) {
#pragma unroll
    for (int part = 0; part < kParts; ++part) {
      if (At(part) < dim) LoadFloats(row + At(part), v[part]);
    }
  }
  template <typename T>
  __device__ __forceinline__ void Store(T* row, int64_t dim) const {
#pragma unroll
    for (int part = 0; part < kParts; ++part) {
      if (At(part) < dim) StoreFloats(v[part], row + At(part));
    }
  }
  // This thread's part of the sum of what `of` makes of each element. Beyond dim there are zeros.
  template <typename Of>
  __device__ __forceinline__ float Sum(Of of) const {
    float sum = 0;
#pragma unroll
    for (int part = 0; part < kParts; ++part) {
#pragma unroll
      for (int i = 0; i < kVector; ++i) sum += of(v[part][i]);
    }
    return sum;
  }
  // The same without the zeros.
  template <typename Of>
  __device__ __forceinline__ float SumWithin(int64_t dim, Of of) const {
    float sum = 0;
#pragma unroll
    for (int part = 0; part < kParts; ++part) {
      if (At(part) >= dim) continue;
#pragma unroll
      for (int i = 0; i < kVector; ++i) sum += of(v[part][i]);
    }
    return sum;
  }
  // v = change(v, element of `weights`)
  template <typename Change>
  __device__ __forceinline__ void Apply(const float* weights, int64_t dim, Change change) {
#pragma unroll
    for (int part = 0; part < kParts; ++part) {
      if (At(part) >= dim) continue;
      float w[kVector];
      LoadFloats(weights + At(part), w);
#pragma unroll
      for (int i = 0; i < kVector; ++i) v[part][i] = change(v[part][i], w[i]);
    }
  }
};

// How a row of `dim` is spread: vectors of 4 where alignment allows, one to a thread in blocks of
// up to 256, beyond that as many as 1,024 threads need.
struct NormPlan {
  bool vectors;
  int parts;  // 1, 4, 8 or 32
  int threads;
};
inline NormPlan PlanNorm(int64_t dim, bool aligned) {
  const bool vectors = aligned && dim % 4 == 0;
  const int64_t pieces = vectors ? dim / 4 : dim;
  constexpr int64_t kThreadsMax = 1024;
  for (const int parts : {1, 4, 8, 32}) {
    const int64_t threads = CeilDiv(CeilDiv(pieces, parts), kWarpThreads) * kWarpThreads;
    if (threads <= (parts == 1 ? 256 : kThreadsMax)) {
      return {vectors, parts, static_cast<int>(threads)};
    }
  }
  return {vectors, 0, 0};
}

// Launches pick(vector, parts), a kernel of these two constants, with a block to a row and
// `block_sums` pieces of a float to a warp.
struct NormLaunch {
  NormPlan plan;
  int64_t rows;
  int block_sums;
};
template <typename Pick, typename Args>
cudaError_t LaunchNorm(const NormLaunch& launch, Pick pick, const Args& args,
                       const LaunchStream& stream) {
  const NormPlan& plan = launch.plan;
  const size_t warps = static_cast<size_t>(plan.threads / kWarpThreads);
  const LaunchShape shape = {
      dim3(static_cast<unsigned>(launch.rows)), dim3(static_cast<unsigned>(plan.threads)),
      static_cast<size_t>(launch.block_sums) * SharedPiece(warps * sizeof(float))};
  const auto parts = [&](auto vector) -> cudaError_t {
    if (plan.parts == 1) {
      return Launch(pick(vector, std::integral_constant<int, 1>()), shape, stream, args);
    }
    if (plan.parts == 4) {
      return Launch(pick(vector, std::integral_constant<int, 4>()), shape, stream, args);
    }
    if (plan.parts == 8) {
      return Launch(pick(vector, std::integral_constant<int, 8>()), shape, stream, args);
    }
    if constexpr (decltype(vector)::value == 1) {
      if (plan.parts == 32) {
        return Launch(pick(vector, std::integral_constant<int, 32>()), shape, stream, args);
      }
    }
    return cudaErrorInvalidValue;
  };
  return plan.vectors ? parts(std::integral_constant<int, 4>())
                      : parts(std::integral_constant<int, 1>());
}

}  // namespace baton::cuda
