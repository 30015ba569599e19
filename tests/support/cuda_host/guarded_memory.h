#pragma once

#include <cstddef>
#include <cstdint>

namespace baton::cuda_host {

// Memory of exactly `bytes`, with what lies before and behind it guarded: by AddressSanitizer where
// it is there, by a pattern that Intact looks for where it is not. Filled with `fill`.
class GuardedMemory {
 public:
  GuardedMemory(size_t bytes, size_t alignment, uint8_t fill);
  ~GuardedMemory();
  GuardedMemory(GuardedMemory&& other) noexcept;
  GuardedMemory& operator=(GuardedMemory&&) = delete;

  std::byte* data() const { return data_; }
  size_t bytes() const { return bytes_; }
  bool Contains(const void* begin, size_t bytes) const;
  // Whether nothing was written around it.
  bool Intact() const;

 private:
  std::byte* allocation_;
  std::byte* data_;
  size_t bytes_;
};

}  // namespace baton::cuda_host
