#include "engine/base/huge_buffer.h"

#include <sys/mman.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>

#include "engine/base/huge_pages.h"

namespace baton {
namespace {

size_t Alignment(size_t size) { return size >= 2 * kHugePageBytes ? kHugePageBytes : 64; }

}  // namespace

HugeBuffer::HugeBuffer(size_t size) : size_(size) {
  if (size == 0) return;
  const size_t alignment = Alignment(size);
  data_ = static_cast<std::byte*>(::operator new(size, std::align_val_t(alignment)));
  // Only advice: without huge pages all works, slower.
  if (alignment == kHugePageBytes) madvise(data_, size / alignment * alignment, MADV_HUGEPAGE);
  std::memset(data_, 0, size);
}

HugeBuffer::~HugeBuffer() {
  if (data_ != nullptr) ::operator delete(data_, std::align_val_t(Alignment(size_)));
}

}  // namespace baton
