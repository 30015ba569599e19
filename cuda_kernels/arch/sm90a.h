#pragma once

// Instructions of compute capability 9.0 alone (sm_90a): matrix products by warpgroups, from shared
// memory (wgmma); copies of tiles by one thread (TMA); barriers in shared memory that count bytes
// (mbarrier). PTX ISA, "Asynchronous Warpgroup Level Matrix Instructions", "Data Movement and
// Conversion Instructions: Asynchronous copy", "Parallel Synchronization: mbarrier". The host
// runtime has no twin: kernels that use them stand beside one without.

#include <cuda.h>
#include <cuda_runtime.h>

#include <cstdint>

namespace baton::cuda {

__device__ __forceinline__ uint32_t SharedAddress(const void* shared) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(shared));
}

// ---- Barriers in shared memory. A phase ends when all have arrived and all bytes are there.

__device__ __forceinline__ void BarrierInit(uint64_t* barrier, int arrivals) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(SharedAddress(barrier)),
               "r"(arrivals)
               : "memory");
}
// Behind BarrierInit, by the thread that called it, before a __syncthreads.
__device__ __forceinline__ void BarrierInitFence() {
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
}
__device__ __forceinline__ void BarrierArrive(uint64_t* barrier) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(SharedAddress(barrier)) : "memory");
}
// And so many bytes are to come in this phase.
__device__ __forceinline__ void BarrierArriveExpect(uint64_t* barrier, int bytes) {
  asm volatile(
      "mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(SharedAddress(barrier)),
      "r"(bytes)
      : "memory");
}
// parity: of the phase that has to be over, the first one's is 0; 1 on a fresh barrier: no wait.
__device__ __forceinline__ void BarrierWait(uint64_t* barrier, int parity) {
  asm volatile(
      "{\n.reg .pred done;\n"
      "again:\n"
      "mbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n"
      "@!done bra again;\n}" ::"r"(SharedAddress(barrier)),
      "r"(parity)
      : "memory");
}

// ---- Copies of tiles

// The box of the map at (column, row) to shared memory; what is outside is zeros, and counts.
__device__ __forceinline__ void CopyTile(void* to, const CUtensorMap* map, int column, int row,
                                         uint64_t* barrier) {
  asm volatile(
      "cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes "
      "[%0], [%1, {%2, %3}], [%4];" ::"r"(SharedAddress(to)),
      "l"(map), "r"(column), "r"(row), "r"(SharedAddress(barrier))
      : "memory");
}
__device__ __forceinline__ void PrefetchTileMap(const CUtensorMap* map) {
  asm volatile("prefetch.tensormap [%0];" ::"l"(map) : "memory");
}

// ---- Registers, which warpgroups of a kernel with one bound for all share out anew

template <int kRegisters>
__device__ __forceinline__ void GiveRegistersBack() {
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(kRegisters));
}
template <int kRegisters>
__device__ __forceinline__ void TakeRegisters() {
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(kRegisters));
}

// ---- Matrix products

// Rows of 64 elements of 16 bits (128 bytes), eight of them 1,024 bytes, 16 bytes of row r at place
// chunk ^ (r % 8): what CopyTile writes with CU_TENSOR_MAP_SWIZZLE_128B. `shared`: aligned to 1,024
// bytes, or behind such an address by whole steps of 16 elements along a row.
__device__ __forceinline__ uint64_t SwizzledMatrix(const void* shared) {
  constexpr uint64_t kEightRows = 1024 >> 4;
  constexpr uint64_t kSwizzle128 = uint64_t{1} << 62;
  return kSwizzle128 | kEightRows << 32 | uint64_t{1} << 16 |
         (SharedAddress(shared) & 0x3ffffu) >> 4;
}
// So many bytes further; both addresses within the first 256 KB.
__device__ __forceinline__ uint64_t Advanced(uint64_t matrix, int bytes) {
  return matrix + static_cast<uint64_t>(bytes >> 4);
}

// What a warpgroup wrote to registers or shared memory before is seen by the products behind it.
__device__ __forceinline__ void ProductsBegin() {
  asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}
// The products so far, since the last end, are a group.
__device__ __forceinline__ void ProductsEnd() {
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}
// Until all groups but the last kPending are done.
template <int kPending>
__device__ __forceinline__ void ProductsWait() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(kPending) : "memory");
}
// Keeps the compiler from moving uses of d over a wait.
template <int kCount>
__device__ __forceinline__ void HoldProducts(float (&d)[kCount]) {
#pragma unroll
  for (int i = 0; i < kCount; ++i) asm volatile("" : "+f"(d[i])::"memory");
}
// What threads wrote to shared memory themselves is seen by products and tile copies: by each
// writer, before the barrier that the readers wait at.
__device__ __forceinline__ void SharedWritesFence() {
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}

// d (+)= a * b by a warpgroup, 128 threads from a multiple of 128 on. a: [64, 16] bf16, b: [16,
// 128] bf16, d: [64, 128] f32; add false: d is written, not added to. Of d warp w has rows 16 w to
// 16 w + 15: with g = lane / 4 and t = lane % 4, d[4 i], d[4 i + 1] (g, 8 i + 2t and the next),
// d[4 i + 2], d[4 i + 3] (g + 8, likewise). a and b from shared memory, both by SwizzledMatrix:
// rows of a, and columns of b, are its rows.
__device__ __forceinline__ void ProductN128(float (&d)[64], uint64_t a, uint64_t b, bool add) {
  asm volatile(
      "{\n.reg .pred p;\nsetp.ne.b32 p, %66, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 "
      "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15,"
      " %16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31,"
      " %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47,"
      " %48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63}, "
      "%64, %65, p, 1, 1, 0, 0;\n}"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]), "+f"(d[4]), "+f"(d[5]), "+f"(d[6]),
        "+f"(d[7]), "+f"(d[8]), "+f"(d[9]), "+f"(d[10]), "+f"(d[11]), "+f"(d[12]), "+f"(d[13]),
        "+f"(d[14]), "+f"(d[15]), "+f"(d[16]), "+f"(d[17]), "+f"(d[18]), "+f"(d[19]), "+f"(d[20]),
        "+f"(d[21]), "+f"(d[22]), "+f"(d[23]), "+f"(d[24]), "+f"(d[25]), "+f"(d[26]), "+f"(d[27]),
        "+f"(d[28]), "+f"(d[29]), "+f"(d[30]), "+f"(d[31]), "+f"(d[32]), "+f"(d[33]), "+f"(d[34]),
        "+f"(d[35]), "+f"(d[36]), "+f"(d[37]), "+f"(d[38]), "+f"(d[39]), "+f"(d[40]), "+f"(d[41]),
        "+f"(d[42]), "+f"(d[43]), "+f"(d[44]), "+f"(d[45]), "+f"(d[46]), "+f"(d[47]), "+f"(d[48]),
        "+f"(d[49]), "+f"(d[50]), "+f"(d[51]), "+f"(d[52]), "+f"(d[53]), "+f"(d[54]), "+f"(d[55]),
        "+f"(d[56]), "+f"(d[57]), "+f"(d[58]), "+f"(d[59]), "+f"(d[60]), "+f"(d[61]), "+f"(d[62]),
        "+f"(d[63])
      : "l"(a), "l"(b), "r"(static_cast<int>(add)));
}
// The same of n = 64, with a in registers as MmaBf16 (arch/mma.h) has it for each warp, and the
// rows of b, not its columns, being those of SwizzledMatrix.
__device__ __forceinline__ void ProductTransposedN64(float (&d)[32], const uint32_t (&a)[4],
                                                     uint64_t b, bool add) {
  asm volatile(
      "{\n.reg .pred p;\nsetp.ne.b32 p, %37, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 "
      "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15,"
      " %16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31}, "
      "{%32, %33, %34, %35}, %36, p, 1, 1, 1;\n}"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]), "+f"(d[4]), "+f"(d[5]), "+f"(d[6]),
        "+f"(d[7]), "+f"(d[8]), "+f"(d[9]), "+f"(d[10]), "+f"(d[11]), "+f"(d[12]), "+f"(d[13]),
        "+f"(d[14]), "+f"(d[15]), "+f"(d[16]), "+f"(d[17]), "+f"(d[18]), "+f"(d[19]), "+f"(d[20]),
        "+f"(d[21]), "+f"(d[22]), "+f"(d[23]), "+f"(d[24]), "+f"(d[25]), "+f"(d[26]), "+f"(d[27]),
        "+f"(d[28]), "+f"(d[29]), "+f"(d[30]), "+f"(d[31])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(static_cast<int>(add)));
}

}  // namespace baton::cuda
