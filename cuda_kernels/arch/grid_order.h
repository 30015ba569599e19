#pragma once

// The order of grids on a stream (PTX griddepcontrol; compute capability 9.0).

#include <cuda_runtime.h>

namespace baton::cuda {

// The first statement of a kernel that LaunchStream::early lets begin before those in front of it
// have ended: waits until they have, and all that they wrote is visible; so whatever is read or
// written behind it is in the order of the stream. Every thread waits, so that a kernel that has
// ended says the same of all before it, whatever the next one is. Then the next may begin, once
// each block has come so far: it takes no place from blocks of this kernel, which all have theirs.
// Returns at once where the kernel was launched without it.
__device__ __forceinline__ void AwaitEarlierKernels() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

}  // namespace baton::cuda
