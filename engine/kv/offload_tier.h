#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/base/ids.h"
#include "engine/base/mapped_memory.h"
#include "engine/kv/chain_key.h"
#include "engine/kv/kv_layout.h"

namespace baton {

// A place in the tier, held by who writes or reads it.
struct OffloadSlot {
  int32_t index = -1;
  uint32_t generation = 0;  // of the block it was held for
  bool operator==(const OffloadSlot&) const = default;
};

// A tier below the prefix cache: copies of KV blocks whose own memory was wanted, in host memory or
// on a far NUMA node, found again by the key of their text (KvChainKey), until the tier is full and
// those unused for longest make room. It copies nothing itself, so that whoever moves a block may
// do it by any path and at leisure:
//
//   out:   Reserve, copy into Data(slot), Commit (or Abandon)
//   back:  Acquire the longest run behind what the prefix cache has, copy from Data(slot), Release
//
// Tokens and tenant are compared too, not only keys. Blocks are as the layout says, never
// converted: what comes back is what went. Not thread safe; the engine's loop uses it, and others
// touch the data of slots that it holds.
class KvOffloadTier {
 public:
  struct Stats {
    int64_t slots = 0;
    int64_t used = 0;      // hold a block, or are being written
    int64_t held = 0;      // by who reads or writes them
    int64_t stored = 0;    // blocks, ever
    int64_t reloaded = 0;  // blocks that Acquire gave, ever
    int64_t missed = 0;    // runs that ended before the text did, ever
    int64_t evicted = 0;   // ever
    int64_t refused = 0;   // by Reserve, ever: all slots are held
    bool on_node = false;  // the system has taken the wish for a node
    bool locked = false;
  };

  // `bytes` are rounded down to whole blocks. `lock`: kept from being swapped, where the system
  // allows it, for devices to copy from and to. INVALID_ARGUMENT: not one fits, or no such node.
  // RESOURCE_EXHAUSTED: the memory cannot be had.
  static absl::StatusOr<std::unique_ptr<KvOffloadTier>> Create(const KvLayout& layout,
                                                               int64_t bytes, int32_t numa_node,
                                                               bool lock = false);

  // What names a block: the key of the text up to its end, and what it must hold besides.
  struct Name {
    std::string_view tenant;
    KvChainKey key;
    std::span<const TokenId> tokens;  // [block_tokens], the block's own
  };

  // A slot to write the block into, which nobody finds before Commit. The block unused for longest
  // makes room. ALREADY_EXISTS: it is there, or being written, and counts as used now.
  // RESOURCE_EXHAUSTED: all slots are held.
  absl::StatusOr<OffloadSlot> Reserve(const Name& name);
  // It is written, and found from now on.
  void Commit(OffloadSlot slot);
  // It was not.
  void Abandon(OffloadSlot slot);

  // The block counts as used now. False where it is not there.
  bool Touch(KvChainKey key);

  // How many blocks Acquire would give.
  size_t CountRun(std::span<const Name> names) const;
  // The longest run of blocks that are there, from the first name on; each is held until Release.
  std::vector<OffloadSlot> Acquire(std::span<const Name> names);
  void Release(OffloadSlot slot);

  // [block_bytes()], of a slot that is held.
  std::byte* Data(OffloadSlot slot);

  // Forgets everything that is not held.
  void Clear();

  const KvLayout& layout() const { return layout_; }
  Stats GetStats() const;

 private:
  struct Slot {
    uint32_t generation = 0;  // of the block it has, or had
    int32_t holders = 0;
    bool writing = false;
    bool used = false;
    KvChainKey key;
    std::string tenant;
    std::vector<TokenId> tokens;
    std::list<int32_t>::iterator idle;  // its place there, where used and not held
  };

  KvOffloadTier(const KvLayout& layout, std::unique_ptr<MappedMemory> memory, int32_t slots);
  Slot& Held(OffloadSlot slot);
  std::optional<int32_t> Find(const Name& name) const;
  void Forget(int32_t index);
  void Hold(int32_t index);

  const KvLayout layout_;
  const std::unique_ptr<MappedMemory> memory_;
  std::vector<Slot> slots_;
  std::vector<int32_t> free_;
  std::list<int32_t> idle_;  // longest unused first
  std::unordered_map<KvChainKey, int32_t> by_key_;
  Stats stats_;
};

}  // namespace baton
