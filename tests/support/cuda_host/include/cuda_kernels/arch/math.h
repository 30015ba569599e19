#pragma once

// Stands in for the header of this name.

#include <cuda_runtime.h>

#include <cmath>
#include <cstdint>

namespace baton::cuda {

inline float Exp2(float x) { return std::exp2(x); }
inline uint4 LoadStreamed(const uint4* from) { return *from; }
inline uint64_t MultiplyHigh(uint64_t a, uint64_t b) {
  return static_cast<uint64_t>(static_cast<unsigned __int128>(a) * b >> 64);
}
inline int DotInt8(int a, int b, int sum) {
  for (int i = 0; i < 4; ++i) {
    sum += static_cast<int8_t>(static_cast<unsigned>(a) >> (8 * i)) *
           static_cast<int8_t>(static_cast<unsigned>(b) >> (8 * i));
  }
  return sum;
}
inline int DotInt8Uint8(int a, uint32_t b, int sum) {
  for (int i = 0; i < 4; ++i) {
    sum += static_cast<int8_t>(static_cast<unsigned>(a) >> (8 * i)) *
           static_cast<int>(static_cast<uint8_t>(b >> (8 * i)));
  }
  return sum;
}
inline uint32_t DotUint8(uint32_t a, uint32_t b, uint32_t sum) {
  for (int i = 0; i < 4; ++i) sum += (a >> (8 * i) & 255) * (b >> (8 * i) & 255);
  return sum;
}

}  // namespace baton::cuda
