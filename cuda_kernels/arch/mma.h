#pragma once

// Tensor cores, a warp at a time: PTX ISA, "Matrix Fragments for mma.m16n8k16".

#include <cuda_runtime.h>

#include <cstdint>

namespace baton::cuda {

// d += a * b. a: [16, 16] bf16 by rows, b: [16, 8] bf16 by columns, d: [16, 8] f32. With
// g = lane / 4 and t = lane % 4, two bf16 to a register, lower column (a) or row (b) first:
//   a[0] (g, 2t) a[1] (g + 8, 2t) a[2] (g, 2t + 8) a[3] (g + 8, 2t + 8)
//   b[0] (2t, g) b[1] (2t + 8, g)    d[0], d[1] (g, 2t) d[2], d[3] (g + 8, 2t)
__device__ __forceinline__ void MmaBf16(float (&d)[4], const uint32_t (&a)[4],
                                        const uint32_t (&b)[2]) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
      "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

// Four [8, 8] matrices of 16-bit elements from shared memory: lane l brings the address of row
// l % 8 of matrix l / 8 (16 bytes, aligned to them). r[i]: of matrix i, row lane / 4, columns
// 2 * (lane % 4) and the next.
__device__ __forceinline__ void LoadMatrices(uint32_t (&r)[4], const void* shared_row) {
  const auto address = static_cast<uint32_t>(__cvta_generic_to_shared(shared_row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(address)
               : "memory");
}
// The same, each matrix transposed.
__device__ __forceinline__ void LoadMatricesTransposed(uint32_t (&r)[4], const void* shared_row) {
  const auto address = static_cast<uint32_t>(__cvta_generic_to_shared(shared_row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(address)
               : "memory");
}

}  // namespace baton::cuda
