#pragma once

// Instructions that C++ has no name for.

#include <cuda_runtime.h>

#include <cstdint>

namespace baton::cuda {

// 2^x, within 2 units of the last place; 0 for -inf.
__device__ __forceinline__ float Exp2(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

// 16 bytes that are read once: they do not stay in L1.
__device__ __forceinline__ uint4 LoadStreamed(const uint4* from) {
  uint4 v;
  asm("ld.global.nc.L1::no_allocate.v4.u32 {%0, %1, %2, %3}, [%4];"
      : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
      : "l"(from));
  return v;
}

// The upper half of a product.
__device__ __forceinline__ uint64_t MultiplyHigh(uint64_t a, uint64_t b) {
  return __umul64hi(a, b);
}

// sum += the products of four signed bytes of a and of b.
__device__ __forceinline__ int DotInt8(int a, int b, int sum) { return __dp4a(a, b, sum); }
// The same with b's bytes unsigned, and with those of both.
__device__ __forceinline__ int DotInt8Uint8(int a, uint32_t b, int sum) {
  int dot;
  asm("dp4a.s32.u32 %0, %1, %2, %3;" : "=r"(dot) : "r"(a), "r"(b), "r"(sum));
  return dot;
}
__device__ __forceinline__ uint32_t DotUint8(uint32_t a, uint32_t b, uint32_t sum) {
  return __dp4a(a, b, sum);
}

}  // namespace baton::cuda
