#include "engine/base/huge_arena.h"

#include <sanitizer/asan_interface.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <new>

#include "engine/base/huge_pages.h"

namespace baton {
namespace {

constexpr size_t kLineBytes = 64;

std::shared_ptr<std::byte[]> NewChunk(size_t bytes) {
  const bool huge = bytes >= 2 * kHugePageBytes;
  const std::align_val_t alignment{huge ? kHugePageBytes : kLineBytes};
  std::shared_ptr<std::byte[]> chunk(
      static_cast<std::byte*>(::operator new(bytes, alignment)),
      [alignment](std::byte* p) { ::operator delete(p, alignment); });
  // Only advice: without huge pages all works, slower.
  if (huge) madvise(chunk.get(), bytes / kHugePageBytes * kHugePageBytes, MADV_HUGEPAGE);
  ASAN_POISON_MEMORY_REGION(chunk.get(), bytes);
  return chunk;
}

}  // namespace

// At least a byte between pieces is nobody's, so that leaving one is seen.
size_t HugeArena::Share(size_t bytes) { return (bytes / kLineBytes + 1) * kLineBytes; }

std::shared_ptr<std::byte[]> HugeArena::Take(size_t bytes) {
  if (bytes == 0) return nullptr;
  const size_t share = Share(bytes);
  if (share > left_) {
    const size_t chunk_bytes = std::max(share, foretold_);
    chunk_ = NewChunk(chunk_bytes);
    foretold_ = 0;
    used_ = 0;
    left_ = chunk_bytes;
  }
  std::byte* const piece = chunk_.get() + used_;
  used_ += share;
  left_ -= share;
  ASAN_UNPOISON_MEMORY_REGION(piece, bytes);
  std::memset(piece, 0, bytes);
  return {chunk_, piece};
}

}  // namespace baton
