#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/base/mapped_memory.h"

namespace baton {

class PinnedPool;

// A piece of the host's memory.
struct HostExtent {
  std::byte* data = nullptr;
  int64_t bytes = 0;
};

// Memory from a PinnedPool, which it goes back to in the end. The pool outlives it.
class PinnedBuffer {
 public:
  PinnedBuffer() = default;
  PinnedBuffer(PinnedBuffer&& other) noexcept { *this = std::move(other); }
  PinnedBuffer& operator=(PinnedBuffer&& other) noexcept;
  ~PinnedBuffer() { Reset(); }

  std::byte* data() const { return data_; }  // kAlignment aligned; null: it has none
  int64_t bytes() const { return bytes_; }   // as asked for
  int32_t numa_node() const { return numa_node_; }
  void Reset();

 private:
  friend class PinnedPool;
  PinnedPool* pool_ = nullptr;
  std::byte* data_ = nullptr;
  int64_t bytes_ = 0;
  int32_t numa_node_ = 0;
};

// A bounded amount of host memory for devices to copy from and to, mapped once, in an equal part on
// each NUMA node, and locked where the system allows it. Best fit: a request takes the smallest
// free piece that holds it, the rest stays free; a piece that comes back joins its free neighbours.
// Thread safe; nothing blocks but for a short lock.
//
// KV that goes to or comes from other daemons, or between devices, lies in one. The offload tier
// has a mapping of its own, of blocks of one size, locked where a device copies from and to it.
class PinnedPool {
 public:
  // What a device's copies want at least, and a cache line twice over.
  static constexpr int64_t kAlignment = 256;

  struct Stats {
    int64_t bytes = 0;
    int64_t free_bytes = 0;
    int64_t largest_free_bytes = 0;
    int64_t buffers = 0;
    int64_t free_pieces = 0;
    bool locked = false;  // all of it
  };

  // `nodes`: where the memory is to be, one part on each; empty: on all that have memory. Says once
  // in the log where there is only one, or the system does not bind or lock. RESOURCE_EXHAUSTED:
  // the memory cannot be had. INVALID_ARGUMENT: too few bytes for the nodes, or no such node.
  static absl::StatusOr<std::unique_ptr<PinnedPool>> Create(int64_t bytes,
                                                            std::vector<int32_t> nodes = {});
  ~PinnedPool();

  // On the node if there is room, else on another. RESOURCE_EXHAUSTED: no free piece is large
  // enough, with what there is; nothing waits. INVALID_ARGUMENT: not above 0, or more than a node's
  // part.
  absl::StatusOr<PinnedBuffer> Allocate(int64_t bytes, int32_t numa_node = 0);

  Stats GetStats() const;
  // All of its memory, a part on each node, for devices to map.
  std::vector<HostExtent> Extents() const;

 private:
  friend class PinnedBuffer;
  struct Piece {
    int64_t bytes = 0;
    bool free = true;
  };
  struct Arena {
    int32_t numa_node = 0;
    std::unique_ptr<MappedMemory> memory;
    std::map<int64_t, Piece> pieces;                // by offset; they cover it all
    std::set<std::pair<int64_t, int64_t>> by_size;  // bytes and offset of those that are free
  };

  explicit PinnedPool(std::vector<Arena> arenas) : arenas_(std::move(arenas)) {}
  void Free(const std::byte* data);
  static std::byte* Take(Arena& arena, int64_t bytes);  // null: no piece is large enough

  mutable std::mutex mutex_;
  std::vector<Arena> arenas_;
  int64_t buffers_ = 0;
};

}  // namespace baton
