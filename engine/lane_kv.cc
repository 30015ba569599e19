#include "engine/lane_kv.h"

#include <algorithm>
#include <utility>

#include "engine/base/check.h"
#include "engine/base/status_macros.h"

namespace baton {

std::vector<MemorySpace> LaneKv::SpacesOf(std::span<Executor* const> executors) {
  std::vector<MemorySpace> spaces;
  for (Executor* executor : executors) {
    if (executor->llm() == nullptr) continue;
    const MemorySpace space = executor->llm()->kv_space();
    if (std::find(spaces.begin(), spaces.end(), space) == spaces.end()) spaces.push_back(space);
  }
  if (spaces.empty()) spaces.push_back({.kind = MemorySpace::Kind::kHost});
  return spaces;
}

absl::StatusOr<std::unique_ptr<LaneKv>> LaneKv::Create(const KvLayout& layout, int32_t block_count,
                                                       std::span<Executor* const> executors) {
  std::unique_ptr<LaneKv> kv(new LaneKv());
  const std::vector<MemorySpace> spaces = SpacesOf(executors);
  for (const MemorySpace& space : spaces) {
    ASSIGN_OR_RETURN(std::unique_ptr<KvBlockPool> blocks, KvBlockPool::Create(layout, block_count));
    auto cache = std::make_shared<PrefixCache>(*blocks);
    kv->pools_.push_back({.space = space, .blocks = std::move(blocks), .cache = std::move(cache)});
  }
  for (Executor* executor : executors) {
    int pool = 0;
    if (executor->llm() != nullptr) {
      const auto found = std::find(spaces.begin(), spaces.end(), executor->llm()->kv_space());
      pool = static_cast<int>(found - spaces.begin());
    }
    kv->pool_of_.push_back(pool);
  }
  return kv;
}

void LaneKv::Distrust(int pool) {
  Pool& of = pools_[static_cast<size_t>(pool)];
  while (of.cache->Evict()) {
  }
  if (of.cache->block_count() > 0) of.cache = std::make_shared<PrefixCache>(*of.blocks);
}

void LaneKv::Release(int pool, const std::shared_ptr<PrefixCache>& cache,
                     const PrefixCache::Chain& chain) {
  if (cache == nullptr) return;
  cache->Release(chain);
  if (cache == At(pool).cache) return;
  while (cache->Evict()) {  // nobody asks for them again
  }
}

KvBlockRef LaneKv::Allocate(int pool) {
  const Pool& of = At(pool);
  if (of.blocks->free_count() == 0) BATON_CHECK(of.cache->Evict());
  return *of.blocks->Allocate();
}

LaneKv::Counts LaneKv::CountBlocks() const {
  Counts counts;
  for (const Pool& pool : pools_) {
    counts.total += pool.blocks->block_count();
    counts.used +=
        pool.blocks->block_count() - pool.blocks->free_count() - pool.cache->unused_count();
    counts.cached += pool.cache->block_count();
  }
  return counts;
}

}  // namespace baton
