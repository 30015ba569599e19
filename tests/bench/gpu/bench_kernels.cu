#include "tests/bench/gpu/bench_kernels.h"

#include "cuda_kernels/arch/math.h"
#include "cuda_kernels/launch.h"
#include "cuda_kernels/vector_io.h"

namespace baton::gpu_bench {
namespace {

using cuda::CeilDiv;
using cuda::Launch;

constexpr int kThreads = 256;

// splitmix64 of a place.
__device__ __forceinline__ uint64_t RandomAt(uint64_t seed, uint64_t place) {
  uint64_t x = seed + (place + 1) * 0x9e3779b97f4a7c15u;
  x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
  x = (x ^ x >> 27) * 0x94d049bb133111ebu;
  return x ^ x >> 31;
}
__device__ __forceinline__ float UniformAt(uint64_t seed, uint64_t place) {
  return static_cast<float>(RandomAt(seed, place) >> 40) * 0x1p-23f - 1;
}
__device__ __forceinline__ int64_t Place() {
  return static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
}

// Four loads under way to a thread; a warp's are consecutive.
__global__ void __launch_bounds__(kThreads)
    ReadKernel(const uint4* from, int64_t count, uint64_t* sink) {
  constexpr int kLoads = 4;
  uint32_t sum = 0;
  const int64_t stride = static_cast<int64_t>(gridDim.x) * kThreads;
  int64_t i = Place();
  for (; i + (kLoads - 1) * stride < count; i += kLoads * stride) {
    uint4 v[kLoads];
#pragma unroll
    for (int load = 0; load < kLoads; ++load)
      v[load] = cuda::LoadStreamed(from + i + load * stride);
#pragma unroll
    for (int load = 0; load < kLoads; ++load) {
      sum += v[load].x ^ v[load].y ^ v[load].z ^ v[load].w;
    }
  }
  for (; i < count; i += stride) {
    const uint4 v = cuda::LoadStreamed(from + i);
    sum += v.x ^ v.y ^ v.z ^ v.w;
  }
  if (sum == 0x9e3779b9u) sink[blockIdx.x % kReadSinks] = sum;
}

__global__ void __launch_bounds__(kThreads)
    WordsKernel(uint32_t* to, int64_t count, uint64_t seed) {
  const int64_t i = Place();
  if (i < count) to[i] = static_cast<uint32_t>(RandomAt(seed, static_cast<uint64_t>(i)));
}

template <typename T>
__global__ void __launch_bounds__(kThreads) UniformKernel(T* to, FillUniform how) {
  const int64_t i = Place();
  if (i >= how.count) return;
  cuda::FromFloat(how.scale * UniformAt(how.seed, static_cast<uint64_t>(i)), to[i]);
}

__global__ void __launch_bounds__(kThreads) ClusteredKernel(float* to, FillClustered how) {
  const int64_t i = Place();
  if (i >= how.rows * how.dimension) return;
  const int64_t row = i / how.dimension;
  const int64_t dim = i % how.dimension;
  const auto cluster = static_cast<int64_t>(RandomAt(~how.seed, static_cast<uint64_t>(row)) %
                                            static_cast<uint64_t>(how.clusters));
  to[i] = UniformAt(how.center_seed, static_cast<uint64_t>(cluster * how.dimension + dim)) +
          how.spread * UniformAt(how.seed, static_cast<uint64_t>(i));
}

template <typename Kernel, typename... Arguments>
cudaError_t LaunchFor(int64_t count, Kernel kernel, cudaStream_t stream, Arguments... arguments) {
  if (count == 0) return cudaSuccess;
  return Launch(kernel, {dim3(static_cast<unsigned>(CeilDiv(count, kThreads))), kThreads}, stream,
                arguments...);
}

}  // namespace

cudaError_t ReadBytes(const void* from, int64_t bytes, uint64_t* sink, cudaStream_t stream) {
  constexpr int64_t kBlocksMax = 132 * 16;
  const int64_t count = bytes / 16;
  if (count == 0) return cudaSuccess;
  const int64_t blocks = CeilDiv(count, kThreads);
  return Launch(&ReadKernel,
                {dim3(static_cast<unsigned>(blocks < kBlocksMax ? blocks : kBlocksMax)), kThreads},
                stream, static_cast<const uint4*>(from), count, sink);
}

cudaError_t FillWords(uint32_t* to, int64_t count, uint64_t seed, cudaStream_t stream) {
  return LaunchFor(count, &WordsKernel, stream, to, count, seed);
}

cudaError_t Fill(float* to, const FillUniform& how, cudaStream_t stream) {
  return LaunchFor(how.count, &UniformKernel<float>, stream, to, how);
}

cudaError_t Fill(__nv_bfloat16* to, const FillUniform& how, cudaStream_t stream) {
  return LaunchFor(how.count, &UniformKernel<__nv_bfloat16>, stream, to, how);
}

cudaError_t Fill(float* to, const FillClustered& how, cudaStream_t stream) {
  return LaunchFor(how.rows * how.dimension, &ClusteredKernel, stream, to, how);
}

}  // namespace baton::gpu_bench
