#pragma once

#include <cstddef>
#include <cstdint>

#include "cuda_kernels/launch.h"

namespace baton::gpu {

// Gives out pieces of one allocation, or, where it has no memory yet, counts how much they take: so
// the same code says what a model needs and then takes it.
class Arena {
 public:
  Arena() = default;
  explicit Arena(std::byte* memory) : memory_(memory) {}

  // Aligned to 256 bytes; null while counting.
  template <typename T>
  T* Take(int64_t count) {
    constexpr int64_t kAlignment = 256;
    std::byte* const piece = counting() ? nullptr : memory_ + bytes_;
    bytes_ += cuda::CeilDiv(count * static_cast<int64_t>(sizeof(T)), kAlignment) * kAlignment;
    return reinterpret_cast<T*>(piece);
  }
  bool counting() const { return memory_ == nullptr; }
  int64_t bytes() const { return bytes_; }

 private:
  std::byte* memory_ = nullptr;
  int64_t bytes_ = 0;
};

}  // namespace baton::gpu
