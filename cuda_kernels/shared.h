#pragma once

// A block's shared memory, carved from what the launch gave. The host runtime has its own.

#include <cuda_runtime.h>

#include <cstddef>

namespace baton::cuda {

class SharedMemory {
 public:
  // The next n elements, aligned to 16 bytes. Every thread takes the same pieces in the same
  // order; n may differ between launches, not between threads.
  template <typename T>
  __device__ __forceinline__ T* Shared(size_t n) {
    extern __shared__ __align__(16) unsigned char bytes[];
    T* const piece = reinterpret_cast<T*>(bytes + offset_);
    offset_ += (n * sizeof(T) + 15) & ~size_t{15};
    return piece;
  }

 private:
  size_t offset_ = 0;
};

}  // namespace baton::cuda
