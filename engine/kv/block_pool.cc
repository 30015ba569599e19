#include "engine/kv/block_pool.h"

#include <sys/mman.h>

#include "engine/base/check.h"
#include "engine/base/strings.h"

namespace baton {

absl::StatusOr<std::unique_ptr<KvBlockPool>> KvBlockPool::Create(const KvLayout& layout,
                                                                 int32_t block_count) {
  BATON_CHECK(block_count > 0 && layout.block_bytes() > 0);
  const size_t bytes = static_cast<size_t>(layout.block_bytes()) * static_cast<size_t>(block_count);
  // Mapped, not touched: pages cost memory only once a block is used.
  void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) {
    return absl::ResourceExhaustedError(
        StrCat("cannot map ", bytes, " bytes for ", block_count, " KV blocks"));
  }
  return std::unique_ptr<KvBlockPool>(
      new KvBlockPool(layout, block_count, static_cast<std::byte*>(memory)));
}

KvBlockPool::KvBlockPool(const KvLayout& layout, int32_t block_count, std::byte* memory)
    : layout_(layout),
      memory_(memory),
      generations_(static_cast<size_t>(block_count), 0),
      owners_(static_cast<size_t>(block_count), 0) {
  free_.reserve(static_cast<size_t>(block_count));
  for (int32_t i = block_count; i-- > 0;) free_.emplace_back(i);
}

KvBlockPool::~KvBlockPool() {
  munmap(memory_, static_cast<size_t>(layout_.block_bytes()) * generations_.size());
}

absl::StatusOr<KvBlockRef> KvBlockPool::Allocate() {
  if (free_.empty()) {
    return absl::ResourceExhaustedError(
        StrCat("all ", generations_.size(), " KV blocks are in use"));
  }
  const BlockId id = free_.back();
  free_.pop_back();
  owners_[static_cast<size_t>(id.value())] = 1;
  return KvBlockRef{.id = id, .generation = ++generations_[static_cast<size_t>(id.value())]};
}

void KvBlockPool::Share(KvBlockRef block) {
  BATON_CHECK(IsCurrent(block));
  ++owners_[static_cast<size_t>(block.id.value())];
}

void KvBlockPool::Free(KvBlockRef block) {
  BATON_CHECK(IsCurrent(block));
  if (--owners_[static_cast<size_t>(block.id.value())] > 0) return;
  ++generations_[static_cast<size_t>(block.id.value())];
  free_.push_back(block.id);
}

bool KvBlockPool::IsCurrent(KvBlockRef block) const {
  const auto index = static_cast<size_t>(block.id.value());
  return index < generations_.size() && generations_[index] == block.generation &&
         (block.generation & 1) == 1;
}

std::byte* KvBlockPool::Data(KvBlockRef block) {
  BATON_CHECK(IsCurrent(block));
  return memory_ + block.id.value() * layout_.block_bytes();
}

}  // namespace baton
