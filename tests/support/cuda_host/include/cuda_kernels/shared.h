#pragma once

// Stands in for the header of this name: each piece is a heap allocation of its exact size, which
// AddressSanitizer or a guard watches, and which holds no data at a block's start.

#include <cuda_runtime.h>

#include <cstddef>

namespace baton::cuda {

class SharedMemory {
 public:
  template <typename T>
  T* Shared(size_t n) {
    return reinterpret_cast<T*>(cuda_host::TakeShared(n * sizeof(T)));
  }
};

}  // namespace baton::cuda
