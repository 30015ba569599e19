#pragma once

#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <cstdint>

// Device code of the benchmark alone: what is random is made where it is needed, and the kernel
// that does nothing but read.
namespace baton::gpu_bench {

// sink[block % 1024] changes with what was read: all of it must be. bytes: a multiple of 16.
cudaError_t ReadBytes(const void* from, int64_t bytes, uint64_t* sink, cudaStream_t stream);
inline constexpr int64_t kReadSinks = 1024;

// Words that are the same for the same seed.
cudaError_t FillWords(uint32_t* to, int64_t count, uint64_t seed, cudaStream_t stream);
// Uniform in [-scale, scale).
struct FillUniform {
  int64_t count;
  float scale;
  uint64_t seed;
};
cudaError_t Fill(float* to, const FillUniform& how, cudaStream_t stream);
cudaError_t Fill(__nv_bfloat16* to, const FillUniform& how, cudaStream_t stream);

// Vectors around `clusters` centers, with `spread` of noise: [rows, dimension].
struct FillClustered {
  int64_t rows;
  int64_t dimension;
  int64_t clusters;
  float spread;
  uint64_t center_seed;
  uint64_t seed;
};
cudaError_t Fill(float* to, const FillClustered& how, cudaStream_t stream);

}  // namespace baton::gpu_bench
