#pragma once

// Stands in for the header of this name: the same fragments, as plain sums.

#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <cstdint>

namespace baton::cuda {
namespace mma_host {

inline float Bf16(uint32_t pair, int half) {
  return __bfloat162float({static_cast<uint16_t>(pair >> (16 * half))});
}

struct Product {
  float* d;           // [4]
  const uint32_t* a;  // [4]
  const uint32_t* b;  // [2]
};

inline void Multiply(void* const lanes[32]) {
  float a[16][16];
  float b[16][8];
  for (int lane = 0; lane < 32; ++lane) {
    const auto& mine = *static_cast<const Product*>(lanes[lane]);
    const int g = lane / 4;
    const int t = lane % 4;
    for (int half = 0; half < 2; ++half) {
      for (int i = 0; i < 4; ++i) {
        a[g + 8 * (i % 2)][2 * t + 8 * (i / 2) + half] = Bf16(mine.a[i], half);
      }
      for (int i = 0; i < 2; ++i) b[2 * t + 8 * i + half][g] = Bf16(mine.b[i], half);
    }
  }
  for (int lane = 0; lane < 32; ++lane) {
    const auto& mine = *static_cast<const Product*>(lanes[lane]);
    for (int i = 0; i < 4; ++i) {
      const int row = lane / 4 + 8 * (i / 2);
      const int column = 2 * (lane % 4) + i % 2;
      for (int k = 0; k < 16; ++k) mine.d[i] += a[row][k] * b[k][column];
    }
  }
}

struct Row {
  const uint16_t* shared;  // [8]
  uint32_t* r;             // [4]
  bool transposed;
};

inline void Load(void* const lanes[32]) {
  for (int lane = 0; lane < 32; ++lane) {
    const auto& mine = *static_cast<const Row*>(lanes[lane]);
    for (int i = 0; i < 4; ++i) {
      uint32_t pair = 0;
      for (int half = 0; half < 2; ++half) {
        int row = lane / 4;
        int column = 2 * (lane % 4) + half;
        if (mine.transposed) std::swap(row, column);
        const uint16_t value = static_cast<const Row*>(lanes[8 * i + row])->shared[column];
        pair |= uint32_t{value} << (16 * half);
      }
      mine.r[i] = pair;
    }
  }
}

inline void LoadRows(uint32_t (&r)[4], const void* shared_row, bool transposed) {
  if (reinterpret_cast<uintptr_t>(shared_row) % 16 != 0) {
    cuda_host::Fail("ldmatrix: a row's address is not a multiple of 16");
  }
  Row row = {static_cast<const uint16_t*>(shared_row), r, transposed};
  cuda_host::WarpExchange(transposed ? "ldmatrix.trans" : "ldmatrix", 0xffffffffu, &row, &Load);
}

}  // namespace mma_host

inline void MmaBf16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  mma_host::Product product = {d, a, b};
  cuda_host::WarpExchange("mma.sync", 0xffffffffu, &product, &mma_host::Multiply);
}
inline void LoadMatrices(uint32_t (&r)[4], const void* shared_row) {
  mma_host::LoadRows(r, shared_row, /*transposed=*/false);
}
inline void LoadMatricesTransposed(uint32_t (&r)[4], const void* shared_row) {
  mma_host::LoadRows(r, shared_row, /*transposed=*/true);
}

}  // namespace baton::cuda
