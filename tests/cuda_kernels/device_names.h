#pragma once

// Names of device code for the host's half of a device build, where CUDA's headers give them to
// nvcc alone and inline code of kernels' headers mentions them. Those that hosts call are defined.

#pragma GCC diagnostic ignored "-Wshadow"  // by what a block's memory is called

#include <vector_types.h>

#include <bit>
#include <cmath>
#include <cstdint>

inline float __uint_as_float(uint32_t bits) { return std::bit_cast<float>(bits); }
inline uint32_t __float_as_uint(float x) { return std::bit_cast<uint32_t>(x); }
inline int __float2int_rn(float x) { return static_cast<int>(std::nearbyint(x)); }
inline int __ffs(int x) { return x == 0 ? 0 : std::countr_zero(static_cast<uint32_t>(x)) + 1; }
inline int __popc(uint32_t x) { return std::popcount(x); }

extern const uint3 threadIdx;
extern const uint3 blockIdx;
extern const dim3 blockDim;
extern const dim3 gridDim;
void __syncthreads();
void __syncwarp(unsigned mask = ~0u);
unsigned __ballot_sync(unsigned mask, int predicate);
template <typename T>
T __shfl_sync(unsigned mask, T value, int lane, int width = 32);
template <typename T>
T __shfl_up_sync(unsigned mask, T value, unsigned lanes, int width = 32);
template <typename T>
T __shfl_down_sync(unsigned mask, T value, unsigned lanes, int width = 32);
template <typename T>
T __shfl_xor_sync(unsigned mask, T value, int lanes, int width = 32);
template <typename T>
T atomicAdd(T* to, T value);
