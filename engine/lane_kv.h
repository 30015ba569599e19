#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/exec/executor.h"
#include "engine/kv/block_pool.h"
#include "engine/kv/kv_layout.h"
#include "engine/kv/prefix_cache.h"
#include "engine/transfer/memory_space.h"

namespace baton {

// The KV blocks of one model: a pool, and a cache of prefixes, for each memory space that one of
// its executors works in. Not thread safe: the engine's loop uses it.
class LaneKv {
 public:
  // The spaces of those executors that run language models, each once.
  static std::vector<MemorySpace> SpacesOf(std::span<Executor* const> executors);

  // `block_count` blocks in each space. RESOURCE_EXHAUSTED where the memory cannot be had.
  static absl::StatusOr<std::unique_ptr<LaneKv>> Create(const KvLayout& layout, int32_t block_count,
                                                        std::span<Executor* const> executors);

  const KvLayout& layout() const { return pools_.front().blocks->layout(); }
  int32_t block_count() const { return pools_.front().blocks->block_count(); }  // of each pool
  int pool_count() const { return static_cast<int>(pools_.size()); }
  int PoolOf(int executor) const { return pool_of_[static_cast<size_t>(executor)]; }
  const std::vector<int>& pool_of() const { return pool_of_; }
  const MemorySpace& space(int pool) const { return At(pool).space; }
  KvBlockPool& blocks(int pool) const { return *At(pool).blocks; }

  // What new sequences share. One that was distrusted lives on with those that use it.
  const std::shared_ptr<PrefixCache>& cache(int pool) const { return At(pool).cache; }
  // What its memory holds may not be what was written: nothing of it is given to new sequences.
  void Distrust(int pool);
  // A user is done with its blocks of a cache.
  void Release(int pool, const std::shared_ptr<PrefixCache>& cache,
               const PrefixCache::Chain& chain);

  // A free block; where there is none, one that is cached and unused. CHECKs that there is either:
  // no plan names more than a pool has.
  KvBlockRef Allocate(int pool);

  struct Counts {
    int32_t total = 0;
    int32_t used = 0;    // by sequences
    int32_t cached = 0;  // used or not
  };
  Counts CountBlocks() const;  // of all pools

 private:
  struct Pool {
    MemorySpace space;
    std::unique_ptr<KvBlockPool> blocks;
    std::shared_ptr<PrefixCache> cache;
  };

  LaneKv() = default;
  const Pool& At(int pool) const { return pools_[static_cast<size_t>(pool)]; }

  std::vector<Pool> pools_;
  std::vector<int> pool_of_;  // by executor; 0 where it runs no language models
};

}  // namespace baton
