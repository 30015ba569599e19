#include "tests/support/cuda_host/guarded_memory.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "tests/support/cuda_host/asan.h"

namespace baton::cuda_host {
namespace {

constexpr size_t kGuardBytes = kAsan ? 0 : 256;
constexpr auto kGuard = std::byte{0xC3};

}  // namespace

GuardedMemory::GuardedMemory(size_t bytes, size_t alignment, uint8_t fill) : bytes_(bytes) {
  void* allocation = nullptr;
  if (posix_memalign(&allocation, std::max<size_t>(alignment, 16), bytes + 2 * kGuardBytes) != 0) {
    std::abort();
  }
  allocation_ = static_cast<std::byte*>(allocation);
  data_ = allocation_ + kGuardBytes;
  std::memset(allocation_, static_cast<int>(kGuard), bytes + 2 * kGuardBytes);
  std::memset(data_, fill, bytes);
}

GuardedMemory::~GuardedMemory() {
  if (allocation_ == nullptr) return;
  __asan_unpoison_memory_region(data_, bytes_);  // of copies that never landed
  std::free(allocation_);
}

GuardedMemory::GuardedMemory(GuardedMemory&& other) noexcept
    : allocation_(std::exchange(other.allocation_, nullptr)),
      data_(other.data_),
      bytes_(other.bytes_) {}

bool GuardedMemory::Contains(const void* begin, size_t bytes) const {
  const auto* const first = static_cast<const std::byte*>(begin);
  return first >= data_ && first + bytes <= data_ + bytes_;
}

bool GuardedMemory::Intact() const {
  const auto is_guard = [](std::byte value) { return value == kGuard; };
  return std::all_of(allocation_, data_, is_guard) &&
         std::all_of(data_ + bytes_, data_ + bytes_ + kGuardBytes, is_guard);
}

}  // namespace baton::cuda_host
