#pragma once

// Copies from global to shared memory beside the computation (cp.async, sm_80). What was copied is
// there for the thread that asked after CopyAsyncWait, for the others after a barrier behind it.

#include <cuda_runtime.h>

#include <cstdint>

namespace baton::cuda {

// 16 bytes, both addresses aligned to them; past L1. valid false: zeros, global is not read.
__device__ __forceinline__ void CopyAsync16(void* shared, const void* global, bool valid = true) {
  const auto to = static_cast<uint32_t>(__cvta_generic_to_shared(shared));
  const int bytes_read = valid ? 16 : 0;
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(global),
               "r"(bytes_read)
               : "memory");
}
// The copies so far, since the last commit, are a group.
__device__ __forceinline__ void CopyAsyncCommit() {
  asm volatile("cp.async.commit_group;" ::: "memory");
}
// Waits for all groups but the last kPending.
template <int kPending>
__device__ __forceinline__ void CopyAsyncWait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kPending) : "memory");
}

}  // namespace baton::cuda
