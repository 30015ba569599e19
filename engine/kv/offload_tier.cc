#include "engine/kv/offload_tier.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "engine/base/check.h"
#include "engine/base/status_macros.h"
#include "engine/base/strings.h"

namespace baton {

absl::StatusOr<std::unique_ptr<KvOffloadTier>> KvOffloadTier::Create(const KvLayout& layout,
                                                                     int64_t bytes,
                                                                     int32_t numa_node, bool lock) {
  BATON_CHECK(layout.block_bytes() > 0);
  const int64_t slots =
      std::min<int64_t>(bytes / layout.block_bytes(), std::numeric_limits<int32_t>::max());
  if (slots <= 0) {
    return absl::InvalidArgumentError(StrCat("a KV offload tier of ", bytes,
                                             " bytes holds no KV block, which has ",
                                             layout.block_bytes()));
  }
  ASSIGN_OR_RETURN(auto memory, MappedMemory::Create({.bytes = slots * layout.block_bytes(),
                                                      .numa_node = numa_node,
                                                      .lock = lock}));
  return std::unique_ptr<KvOffloadTier>(
      new KvOffloadTier(layout, std::move(memory), static_cast<int32_t>(slots)));
}

KvOffloadTier::KvOffloadTier(const KvLayout& layout, std::unique_ptr<MappedMemory> memory,
                             int32_t slots)
    : layout_(layout), memory_(std::move(memory)), slots_(static_cast<size_t>(slots)) {
  for (int32_t i = slots; i-- > 0;) free_.push_back(i);
}

KvOffloadTier::Slot& KvOffloadTier::Held(OffloadSlot slot) {
  BATON_CHECK(slot.index >= 0 && static_cast<size_t>(slot.index) < slots_.size());
  Slot& held = slots_[static_cast<size_t>(slot.index)];
  BATON_CHECK(held.holders > 0 && held.generation == slot.generation);
  return held;
}

std::optional<int32_t> KvOffloadTier::Find(const Name& name) const {
  const auto it = by_key_.find(name.key);
  if (it == by_key_.end()) return std::nullopt;
  const Slot& slot = slots_[static_cast<size_t>(it->second)];
  const bool same =
      slot.tenant == name.tenant &&
      std::equal(slot.tokens.begin(), slot.tokens.end(), name.tokens.begin(), name.tokens.end());
  if (!same) return std::nullopt;
  return it->second;
}

void KvOffloadTier::Hold(int32_t index) {
  Slot& slot = slots_[static_cast<size_t>(index)];
  if (slot.holders++ == 0) {
    idle_.erase(slot.idle);
    ++stats_.held;
  }
}

void KvOffloadTier::Forget(int32_t index) {
  Slot& slot = slots_[static_cast<size_t>(index)];
  by_key_.erase(slot.key);
  slot.used = false;
  slot.tenant.clear();
  slot.tokens.clear();
  ++slot.generation;
  --stats_.used;
  free_.push_back(index);
}

absl::StatusOr<OffloadSlot> KvOffloadTier::Reserve(const Name& name) {
  BATON_CHECK(std::ssize(name.tokens) == layout_.block_tokens);
  if (Touch(name.key)) return absl::AlreadyExistsError("the tier has this block");
  if (free_.empty()) {
    if (idle_.empty()) {
      ++stats_.refused;
      return absl::ResourceExhaustedError(
          StrCat("all ", slots_.size(), " slots of the KV offload tier are held"));
    }
    const int32_t oldest = idle_.front();
    idle_.pop_front();
    Forget(oldest);
    ++stats_.evicted;
  }
  const int32_t index = free_.back();
  free_.pop_back();
  Slot& slot = slots_[static_cast<size_t>(index)];
  slot.used = true;
  slot.writing = true;
  slot.holders = 1;
  slot.key = name.key;
  slot.tenant = name.tenant;
  slot.tokens.assign(name.tokens.begin(), name.tokens.end());
  by_key_.emplace(name.key, index);
  ++stats_.used;
  ++stats_.held;
  return OffloadSlot{.index = index, .generation = slot.generation};
}

void KvOffloadTier::Commit(OffloadSlot slot) {
  Slot& written = Held(slot);
  BATON_CHECK(written.writing);
  written.writing = false;
  ++stats_.stored;
  Release(slot);
}

void KvOffloadTier::Abandon(OffloadSlot slot) {
  Slot& written = Held(slot);
  BATON_CHECK(written.writing);
  written.writing = false;
  written.holders = 0;
  --stats_.held;
  Forget(slot.index);
}

bool KvOffloadTier::Touch(KvChainKey key) {
  const auto known = by_key_.find(key);
  if (known == by_key_.end()) return false;
  const Slot& slot = slots_[static_cast<size_t>(known->second)];
  if (slot.holders == 0) idle_.splice(idle_.end(), idle_, slot.idle);
  return true;
}

size_t KvOffloadTier::CountRun(std::span<const Name> names) const {
  size_t count = 0;
  for (; count < names.size(); ++count) {
    const std::optional<int32_t> index = Find(names[count]);
    if (!index || slots_[static_cast<size_t>(*index)].writing) break;
  }
  return count;
}

std::vector<OffloadSlot> KvOffloadTier::Acquire(std::span<const Name> names) {
  std::vector<OffloadSlot> run;
  for (const Name& name : names) {
    const std::optional<int32_t> index = Find(name);
    if (!index || slots_[static_cast<size_t>(*index)].writing) {
      ++stats_.missed;
      break;
    }
    Hold(*index);
    run.push_back({.index = *index, .generation = slots_[static_cast<size_t>(*index)].generation});
  }
  stats_.reloaded += std::ssize(run);
  return run;
}

void KvOffloadTier::Release(OffloadSlot slot) {
  Slot& held = Held(slot);
  BATON_CHECK(!held.writing);
  if (--held.holders > 0) return;
  --stats_.held;
  held.idle = idle_.insert(idle_.end(), slot.index);
}

std::byte* KvOffloadTier::Data(OffloadSlot slot) {
  Held(slot);
  return memory_->data() + slot.index * layout_.block_bytes();
}

void KvOffloadTier::Clear() {
  while (!idle_.empty()) {
    const int32_t index = idle_.front();
    idle_.pop_front();
    Forget(index);
  }
}

KvOffloadTier::Stats KvOffloadTier::GetStats() const {
  Stats stats = stats_;
  stats.slots = std::ssize(slots_);
  stats.on_node = memory_->bound();
  stats.locked = memory_->locked();
  return stats;
}

}  // namespace baton
