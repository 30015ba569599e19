#include "engine/kv/block_pool.h"

#include <sys/mman.h>

#include <utility>

#include "engine/base/check.h"
#include "engine/base/status_macros.h"
#include "engine/base/strings.h"

namespace baton {
namespace {

// Mapped, not touched: pages cost memory only once a block is used.
class MappedKvMemory final : public KvMemory {
 public:
  MappedKvMemory(void* memory, size_t bytes) : memory_(memory), bytes_(bytes) {}
  ~MappedKvMemory() override { munmap(memory_, bytes_); }
  std::byte* data() const override { return static_cast<std::byte*>(memory_); }

 private:
  void* const memory_;
  const size_t bytes_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<KvBlockPool>> KvBlockPool::Create(const KvLayout& layout,
                                                                 int32_t block_count) {
  BATON_CHECK(block_count > 0 && layout.block_bytes() > 0);
  const size_t bytes = static_cast<size_t>(layout.block_bytes()) * static_cast<size_t>(block_count);
  void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) {
    return absl::ResourceExhaustedError(
        StrCat("cannot map ", bytes, " bytes for ", block_count, " KV blocks"));
  }
  return std::unique_ptr<KvBlockPool>(
      new KvBlockPool(layout, block_count, std::make_unique<MappedKvMemory>(memory, bytes)));
}

absl::StatusOr<std::unique_ptr<KvBlockPool>> KvBlockPool::Create(const KvLayout& layout,
                                                                 int32_t block_count,
                                                                 KvMemorySource& source) {
  BATON_CHECK(block_count > 0 && layout.block_bytes() > 0);
  ASSIGN_OR_RETURN(std::unique_ptr<KvMemory> memory,
                   source.Allocate({.count = block_count, .bytes = layout.block_bytes()}));
  return std::unique_ptr<KvBlockPool>(new KvBlockPool(layout, block_count, std::move(memory)));
}

KvBlockPool::KvBlockPool(const KvLayout& layout, int32_t block_count,
                         std::unique_ptr<KvMemory> memory)
    : layout_(layout),
      memory_(std::move(memory)),
      generations_(static_cast<size_t>(block_count), 0),
      owners_(static_cast<size_t>(block_count), 0) {
  free_.reserve(static_cast<size_t>(block_count));
  for (int32_t i = block_count; i-- > 0;) free_.emplace_back(i);
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
  return memory_->data() + block.id.value() * layout_.block_bytes();
}

}  // namespace baton
