#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/base/ids.h"

namespace baton {

// Shape of one KV block: `block_tokens` positions of every layer, contiguous.
//   [layers][2 (k, v)][block_tokens][kv_heads][head_dim], f32
struct KvLayout {
  int32_t layers = 0;
  int32_t kv_heads = 0;
  int32_t head_dim = 0;
  int32_t block_tokens = 0;  // a power of two, 8 to 64

  int64_t row_elements() const { return int64_t{kv_heads} * head_dim; }  // one position, k or v
  int64_t plane_elements() const { return row_elements() * block_tokens; }
  int64_t layer_elements() const { return 2 * plane_elements(); }
  int64_t block_elements() const { return layer_elements() * layers; }
  int64_t block_bytes() const { return block_elements() * int64_t{sizeof(float)}; }
};

// The largest power of two from 8 to 64 whose block stays within 2 MB (8 where none does): large
// enough to be worth a transfer, small enough not to strand memory at a sequence's end.
KvLayout MakeKvLayout(int32_t layers, int32_t kv_heads, int32_t head_dim);

// A block as somebody holds it. The generation makes a stale reference detectable: freeing a block
// advances its generation, so a late reader or transfer is refused instead of reading another
// sequence's keys.
struct KvBlockRef {
  BlockId id;
  uint32_t generation = 0;
  bool operator==(const KvBlockRef&) const = default;
};

// A fixed number of KV blocks in host memory, allocated once. Not thread safe: the engine's loop
// allocates and frees; executors only touch the data of blocks they were handed.
class KvBlockPool {
 public:
  // RESOURCE_EXHAUSTED where the memory cannot be had.
  static absl::StatusOr<std::unique_ptr<KvBlockPool>> Create(const KvLayout& layout,
                                                             int32_t block_count);
  ~KvBlockPool();
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

  // [block_elements()]; undefined contents until written.
  float* Data(KvBlockRef block);

  const KvLayout& layout() const { return layout_; }
  int32_t block_count() const { return static_cast<int32_t>(generations_.size()); }
  int32_t free_count() const { return static_cast<int32_t>(free_.size()); }

 private:
  KvBlockPool(const KvLayout& layout, int32_t block_count, float* memory);

  const KvLayout layout_;
  float* const memory_;                // [block_count][block_elements()], 64-byte aligned
  std::vector<uint32_t> generations_;  // [block_count], odd while allocated
  std::vector<int32_t> owners_;        // [block_count], 0: free
  std::vector<BlockId> free_;          // a stack: the warmest block is reused first
};

}  // namespace baton
