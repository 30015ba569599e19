#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <new>
#include <vector>

#include "engine/base/huge_pages.h"

namespace baton {

// What a vector of activations stands in: aligned to 64 bytes, and large ones in huge pages where
// the system has them, for kernels walk down columns of rows that are a page or more apart. Throws
// std::bad_alloc.
template <class T>
struct HugeAllocator {
  using value_type = T;

  HugeAllocator() = default;
  template <class U>
  explicit HugeAllocator(const HugeAllocator<U>&) {}

  T* allocate(size_t count) {
    const size_t bytes = count * sizeof(T);
    void* const p = ::operator new(bytes, Alignment(count));
    // Only advice: without huge pages all works, slower.
    if (bytes >= 2 * kHugePageBytes)
      madvise(p, bytes / kHugePageBytes * kHugePageBytes, MADV_HUGEPAGE);
    return static_cast<T*>(p);
  }
  void deallocate(T* p, size_t count) { ::operator delete(p, Alignment(count)); }

  friend bool operator==(const HugeAllocator&, const HugeAllocator&) { return true; }

 private:
  static std::align_val_t Alignment(size_t count) {
    return std::align_val_t(count * sizeof(T) >= 2 * kHugePageBytes ? kHugePageBytes : 64);
  }
};
template <class T>
using HugeVector = std::vector<T, HugeAllocator<T>>;

}  // namespace baton
