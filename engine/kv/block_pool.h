#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/base/ids.h"
#include "engine/kv/kv_layout.h"
#include "engine/kv/kv_memory.h"

namespace baton {

// A block as somebody holds it. The generation makes a stale reference detectable: freeing a block
// advances its generation, so a late reader or transfer is refused instead of reading another
// sequence's keys.
struct KvBlockRef {
  BlockId id;
  uint32_t generation = 0;
  bool operator==(const KvBlockRef&) const = default;
};

// A fixed number of KV blocks, allocated once, in host memory or a device's. Not thread safe: the
// engine's loop allocates and frees; executors only touch the data of blocks they were handed.
class KvBlockPool {
 public:
  // RESOURCE_EXHAUSTED where the memory cannot be had.
  static absl::StatusOr<std::unique_ptr<KvBlockPool>> Create(const KvLayout& layout,
                                                             int32_t block_count);
  // In memory of `source`, where only executors and copy paths of its space may follow what Data
  // gives.
  static absl::StatusOr<std::unique_ptr<KvBlockPool>> Create(const KvLayout& layout,
                                                             int32_t block_count,
                                                             KvMemorySource& source);
  KvBlockPool(const KvBlockPool&) = delete;
  KvBlockPool& operator=(const KvBlockPool&) = delete;

  // RESOURCE_EXHAUSTED when no block is free.
  absl::StatusOr<KvBlockRef> Allocate();
  // One more owner, who frees it too.
  void Share(KvBlockRef block);
  // Gives up one owner's hold; the last one's makes it free. CHECKs that the reference is current:
  // freeing twice is our own error.
  void Free(KvBlockRef block);
  bool IsCurrent(KvBlockRef block) const;

  // [block_bytes()]; undefined contents until written.
  std::byte* Data(KvBlockRef block);

  const KvLayout& layout() const { return layout_; }
  int32_t block_count() const { return static_cast<int32_t>(generations_.size()); }
  int32_t free_count() const { return static_cast<int32_t>(free_.size()); }

 private:
  KvBlockPool(const KvLayout& layout, int32_t block_count, std::unique_ptr<KvMemory> memory);

  const KvLayout layout_;
  const std::unique_ptr<KvMemory> memory_;  // [block_count][block_bytes()]
  std::vector<uint32_t> generations_;       // [block_count], odd while allocated
  std::vector<int32_t> owners_;             // [block_count], 0: free
  std::vector<BlockId> free_;               // a stack: the warmest block is reused first
};

}  // namespace baton
