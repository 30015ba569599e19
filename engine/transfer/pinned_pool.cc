#include "engine/transfer/pinned_pool.h"

#include <algorithm>
#include <utility>

#include "engine/base/check.h"
#include "engine/base/log.h"
#include "engine/base/status_macros.h"
#include "engine/base/strings.h"

namespace baton {
namespace {

int64_t RoundedUp(int64_t bytes) {
  return (bytes + PinnedPool::kAlignment - 1) / PinnedPool::kAlignment * PinnedPool::kAlignment;
}

}  // namespace

PinnedBuffer& PinnedBuffer::operator=(PinnedBuffer&& other) noexcept {
  if (this == &other) return *this;
  Reset();
  pool_ = std::exchange(other.pool_, nullptr);
  data_ = std::exchange(other.data_, nullptr);
  bytes_ = std::exchange(other.bytes_, 0);
  numa_node_ = other.numa_node_;
  return *this;
}

void PinnedBuffer::Reset() {
  if (data_ == nullptr) return;
  pool_->Free(data_);
  data_ = nullptr;
  bytes_ = 0;
}

absl::StatusOr<std::unique_ptr<PinnedPool>> PinnedPool::Create(int64_t bytes,
                                                               std::vector<int32_t> nodes) {
  if (nodes.empty()) nodes = MemoryNodes();
  const int64_t part = bytes / std::ssize(nodes) / kAlignment * kAlignment;
  if (part <= 0) {
    return absl::InvalidArgumentError(
        StrCat("pinned pool: ", bytes, " bytes are too few for ", nodes.size(), " NUMA nodes"));
  }
  std::vector<Arena> arenas;
  bool bound = true;
  bool locked = true;
  for (const int32_t node : nodes) {
    Arena arena;
    arena.numa_node = node;
    ASSIGN_OR_RETURN(arena.memory,
                     MappedMemory::Create({.bytes = part, .numa_node = node, .lock = true}));
    bound = bound && arena.memory->bound();
    locked = locked && arena.memory->locked();
    arena.pieces.emplace(0, Piece{.bytes = part, .free = true});
    arena.by_size.emplace(part, 0);
    arenas.push_back(std::move(arena));
  }
  Log().info("pinned pool: {} bytes on {} NUMA node(s){}{}", part * std::ssize(nodes), nodes.size(),
             bound ? "" : ", not bound to it: the system places it",
             locked ? "" : ", not locked: see ulimit -l");
  return std::unique_ptr<PinnedPool>(new PinnedPool(std::move(arenas)));
}

PinnedPool::~PinnedPool() { BATON_CHECK(buffers_ == 0); }

std::byte* PinnedPool::Take(Arena& arena, int64_t bytes) {
  const auto best = arena.by_size.lower_bound({bytes, 0});
  if (best == arena.by_size.end()) return nullptr;
  const auto [had, offset] = *best;
  arena.by_size.erase(best);
  arena.pieces[offset] = {.bytes = bytes, .free = false};
  if (had > bytes) {
    arena.pieces[offset + bytes] = {.bytes = had - bytes, .free = true};
    arena.by_size.emplace(had - bytes, offset + bytes);
  }
  return arena.memory->data() + offset;
}

absl::StatusOr<PinnedBuffer> PinnedPool::Allocate(int64_t bytes, int32_t numa_node) {
  const std::lock_guard lock(mutex_);
  const int64_t part = arenas_.front().memory->bytes();
  if (bytes <= 0 || bytes > part) {
    return absl::InvalidArgumentError(
        StrCat("pinned pool: a buffer must be of 1 to ", part, " bytes, but is of ", bytes));
  }
  const int64_t rounded = RoundedUp(bytes);
  Arena* from = nullptr;
  std::byte* data = nullptr;
  for (const bool near : {true, false}) {
    for (Arena& arena : arenas_) {
      if (data != nullptr || (arena.numa_node == numa_node) != near) continue;
      data = Take(arena, rounded);
      from = &arena;
    }
  }
  if (data == nullptr) {
    int64_t free = 0;
    int64_t largest = 0;
    for (const Arena& arena : arenas_) {
      for (const auto& [size, offset] : arena.by_size) free += size;
      if (!arena.by_size.empty()) largest = std::max(largest, arena.by_size.rbegin()->first);
    }
    return absl::ResourceExhaustedError(StrCat("pinned pool: ", bytes, " bytes are wanted, ", free,
                                               " are free, ", largest, " of them in one piece"));
  }
  ++buffers_;
  PinnedBuffer buffer;
  buffer.pool_ = this;
  buffer.data_ = data;
  buffer.bytes_ = bytes;
  buffer.numa_node_ = from->numa_node;
  return buffer;
}

std::vector<HostExtent> PinnedPool::Extents() const {
  std::vector<HostExtent> extents;
  for (const Arena& arena : arenas_) {
    extents.push_back({.data = arena.memory->data(), .bytes = arena.memory->bytes()});
  }
  return extents;
}

void PinnedPool::Free(const std::byte* data) {
  const std::lock_guard lock(mutex_);
  const auto arena = std::find_if(arenas_.begin(), arenas_.end(), [&](const Arena& a) {
    return data >= a.memory->data() && data < a.memory->data() + a.memory->bytes();
  });
  BATON_CHECK(arena != arenas_.end());
  auto piece = arena->pieces.find(data - arena->memory->data());
  BATON_CHECK(piece != arena->pieces.end() && !piece->second.free);
  piece->second.free = true;
  if (const auto next = std::next(piece); next != arena->pieces.end() && next->second.free) {
    arena->by_size.erase({next->second.bytes, next->first});
    piece->second.bytes += next->second.bytes;
    arena->pieces.erase(next);
  }
  if (piece != arena->pieces.begin()) {
    if (const auto before = std::prev(piece); before->second.free) {
      arena->by_size.erase({before->second.bytes, before->first});
      before->second.bytes += piece->second.bytes;
      arena->pieces.erase(piece);
      piece = before;
    }
  }
  arena->by_size.emplace(piece->second.bytes, piece->first);
  --buffers_;
}

PinnedPool::Stats PinnedPool::GetStats() const {
  const std::lock_guard lock(mutex_);
  Stats stats{.buffers = buffers_, .locked = true};
  for (const Arena& arena : arenas_) {
    stats.bytes += arena.memory->bytes();
    stats.locked = stats.locked && arena.memory->locked();
    stats.free_pieces += std::ssize(arena.by_size);
    for (const auto& [size, offset] : arena.by_size) stats.free_bytes += size;
    if (!arena.by_size.empty()) {
      stats.largest_free_bytes = std::max(stats.largest_free_bytes, arena.by_size.rbegin()->first);
    }
  }
  return stats;
}

}  // namespace baton
