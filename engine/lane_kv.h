#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/exec/executor.h"
#include "engine/kv/block_pool.h"
#include "engine/kv/kv_layout.h"
#include "engine/kv/kv_options.h"
#include "engine/kv/prefix_cache.h"
#include "engine/lane_offload.h"
#include "engine/model/language_model.h"
#include "engine/schedule/schedule_options.h"
#include "engine/transfer/memory_space.h"

namespace baton {

// The KV blocks of one model: a pool, and a cache of prefixes, for each memory space that one of
// its executors works in, and where the options ask for it one offload tier below them all. Not
// thread safe: the engine's loop uses it.
class LaneKv {
 public:
  // The spaces of those executors that run language models, each once. A null one takes no part.
  static std::vector<MemorySpace> SpacesOf(std::span<Executor* const> executors);
  // How many of them are in this machine's memory.
  static std::vector<MemorySpace> HostSpacesOf(std::span<Executor* const> executors);

  // The blocks of one space.
  struct Shape {
    KvLayout layout;
    int32_t block_count = 0;
  };
  // Of the blocks of a model of this shape in a memory.
  static KvLayout LayoutIn(const LlmShape& shape, const KvOptions& kv,
                           const MemorySpace& space = {});
  // Of each of SpacesOf(executors). RESOURCE_EXHAUSTED: not even one block fits kv.memory_mb.
  // INVALID_ARGUMENT: the options ask for more positions in a block than fit 2 MiB.
  static absl::StatusOr<std::vector<Shape>> ShapesFor(const LlmShape& shape,
                                                      const ScheduleOptions& schedule,
                                                      const KvOptions& kv,
                                                      std::span<Executor* const> executors);
  // What the KV blocks of such a model take at most, in all these memories and the tier below.
  static int64_t Bytes(const LlmShape& shape, const ScheduleOptions& schedule, const KvOptions& kv,
                       std::span<Executor* const> executors);
  // `shapes`: of each of SpacesOf(executors).
  // RESOURCE_EXHAUSTED where the memory cannot be had.
  static absl::StatusOr<std::unique_ptr<LaneKv>> Create(std::span<const Shape> shapes,
                                                        std::span<Executor* const> executors);
  // Once, before there are blocks. Nothing where the options ask for none; as LaneOffload::Create.
  absl::Status AddOffload(const std::string& model, const KvOptions& options, LaneOffload::Env env);

  const KvLayout& layout(int pool) const { return At(pool).blocks->layout(); }
  int32_t block_tokens(int pool) const { return layout(pool).block_tokens; }
  std::vector<int32_t> block_tokens() const;  // by pool
  std::vector<int32_t> block_counts() const;  // by pool
  int pool_count() const { return static_cast<int>(pools_.size()); }
  int PoolOf(int executor) const { return pool_of_[static_cast<size_t>(executor)]; }
  const std::vector<int>& pool_of() const { return pool_of_; }
  const MemorySpace& space(int pool) const { return At(pool).space; }
  KvBlockPool& blocks(int pool) const { return *At(pool).blocks; }

  // What new sequences share. One that was distrusted lives on with those that use it.
  const std::shared_ptr<PrefixCache>& cache(int pool) const { return At(pool).cache; }
  // What its memory holds may not be what was written: nothing of it is given to new sequences.
  void Distrust(int pool);
  // The chain's next block of `tokens`, as PrefixCache::Extend, which then goes to the tier below.
  void Extend(int pool, const std::shared_ptr<PrefixCache>& cache, PrefixCache::Chain& chain,
              std::string_view tenant, std::span<const TokenId> tokens, KvBlockRef block);
  // A user is done with its blocks of a cache.
  void Release(int pool, const std::shared_ptr<PrefixCache>& cache,
               const PrefixCache::Chain& chain);

  // A free block; where there is none, one that is cached and unused, or on its way to the tier
  // below. CHECKs that there is one: no plan names more than a pool has.
  KvBlockRef Allocate(int pool);

  struct Counts {
    int32_t total = 0;
    int32_t used = 0;    // by sequences
    int32_t cached = 0;  // used or not
  };
  Counts CountBlocks(int pool) const;

  LaneOffload* offload() const { return offload_.get(); }  // null: there is none

 private:
  struct Pool {
    MemorySpace space;
    std::unique_ptr<KvBlockPool> blocks;
    std::shared_ptr<PrefixCache> cache;
  };

  LaneKv() = default;
  const Pool& At(int pool) const { return pools_[static_cast<size_t>(pool)]; }
  void SetCache(int pool, std::shared_ptr<PrefixCache> cache);

  const KvChainHash hash_;  // of all caches, so that one tier serves them all
  std::vector<Pool> pools_;
  std::unique_ptr<LaneOffload> offload_;  // it holds shares of the pools' blocks
  std::vector<int> pool_of_;              // by executor; 0 where it runs no language models
};

}  // namespace baton
