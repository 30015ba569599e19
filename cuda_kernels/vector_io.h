#pragma once

// Elements of memory as f32, several in one access.

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <cstdint>

namespace baton::cuda {

__device__ __forceinline__ float ToFloat(float x) { return x; }
__device__ __forceinline__ float ToFloat(__half x) { return __half2float(x); }
__device__ __forceinline__ float ToFloat(__nv_bfloat16 x) { return __bfloat162float(x); }

__device__ __forceinline__ void FromFloat(float x, float& to) { to = x; }
__device__ __forceinline__ void FromFloat(float x, __half& to) { to = __float2half_rn(x); }
__device__ __forceinline__ void FromFloat(float x, __nv_bfloat16& to) {
  to = __float2bfloat16_rn(x);
}

// kWords of 4 bytes from an address that is a multiple of their size, 16 bytes at most.
template <int kWords>
__device__ __forceinline__ void LoadWords(const void* from, uint32_t (&words)[kWords]) {
  if constexpr (kWords % 4 == 0) {
#pragma unroll
    for (int i = 0; i < kWords; i += 4) {
      const uint4 v = static_cast<const uint4*>(from)[i / 4];
      words[i] = v.x, words[i + 1] = v.y, words[i + 2] = v.z, words[i + 3] = v.w;
    }
  } else if constexpr (kWords == 2) {
    const uint2 v = *static_cast<const uint2*>(from);
    words[0] = v.x, words[1] = v.y;
  } else {
    static_assert(kWords == 1);
    words[0] = *static_cast<const uint32_t*>(from);
  }
}
template <int kWords>
__device__ __forceinline__ void StoreWords(const uint32_t (&words)[kWords], void* to) {
  if constexpr (kWords % 4 == 0) {
#pragma unroll
    for (int i = 0; i < kWords; i += 4) {
      static_cast<uint4*>(to)[i / 4] =
          make_uint4(words[i], words[i + 1], words[i + 2], words[i + 3]);
    }
  } else if constexpr (kWords == 2) {
    *static_cast<uint2*>(to) = make_uint2(words[0], words[1]);
  } else {
    static_assert(kWords == 1);
    *static_cast<uint32_t*>(to) = words[0];
  }
}

// What two neighbouring elements are in one word: the first in the lower half.
__device__ __forceinline__ void UnpackPair(uint32_t word, const __nv_bfloat16*, float& a,
                                           float& b) {
  a = __uint_as_float(word << 16);
  b = __uint_as_float(word & 0xffff0000u);
}
__device__ __forceinline__ void UnpackPair(uint32_t word, const __half*, float& a, float& b) {
  const float2 pair = __half22float2(*reinterpret_cast<const __half2*>(&word));
  a = pair.x;
  b = pair.y;
}
__device__ __forceinline__ uint32_t PackPair(float a, float b, const __nv_bfloat16*) {
  const __nv_bfloat162 pair = __floats2bfloat162_rn(a, b);
  return *reinterpret_cast<const uint32_t*>(&pair);
}
__device__ __forceinline__ uint32_t PackPair(float a, float b, const __half*) {
  const __half2 pair = __floats2half2_rn(a, b);
  return *reinterpret_cast<const uint32_t*>(&pair);
}

// kCount elements; from: aligned to 16 bytes or to all of them, to T where kCount is 1.
template <int kCount, typename T>
__device__ __forceinline__ void LoadFloats(const T* from, float (&x)[kCount]) {
  if constexpr (kCount == 1) {
    x[0] = ToFloat(*from);
  } else {
    constexpr int kWords = kCount * static_cast<int>(sizeof(T)) / 4;
    uint32_t words[kWords];
    LoadWords(from, words);
#pragma unroll
    for (int i = 0; i < kWords; ++i) {
      if constexpr (sizeof(T) == 4) {
        x[i] = __uint_as_float(words[i]);
      } else {
        UnpackPair(words[i], from, x[2 * i], x[2 * i + 1]);
      }
    }
  }
}
template <int kCount, typename T>
__device__ __forceinline__ void StoreFloats(const float (&x)[kCount], T* to) {
  if constexpr (kCount == 1) {
    FromFloat(x[0], *to);
  } else {
    constexpr int kWords = kCount * static_cast<int>(sizeof(T)) / 4;
    uint32_t words[kWords];
#pragma unroll
    for (int i = 0; i < kWords; ++i) {
      if constexpr (sizeof(T) == 4) {
        words[i] = __float_as_uint(x[i]);
      } else {
        words[i] = PackPair(x[2 * i], x[2 * i + 1], to);
      }
    }
    StoreWords(words, to);
  }
}

// Whether rows of `stride` elements from `base` on are all aligned to `bytes`; null is.
template <typename T>
bool RowsAligned(const T* base, int64_t stride, int64_t bytes) {
  return reinterpret_cast<uintptr_t>(base) % static_cast<uintptr_t>(bytes) == 0 &&
         stride * static_cast<int64_t>(sizeof(T)) % bytes == 0;
}

}  // namespace baton::cuda
