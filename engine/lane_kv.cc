#include "engine/lane_kv.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/numbers.h"
#include "engine/base/check.h"
#include "engine/base/status_macros.h"
#include "engine/base/strings.h"

namespace baton {
namespace {

// No more than every running sequence could fill.
int64_t KvBlocks(const LlmShape& shape, const KvLayout& layout, const ScheduleOptions& schedule,
                 const KvOptions& kv) {
  const int64_t context_blocks =
      (shape.context_tokens + layout.block_tokens - 1) / layout.block_tokens;
  return std::min(kv.memory_mb * (int64_t{1} << 20) / layout.block_bytes(),
                  context_blocks * schedule.sequences_running_max);
}

const std::string& TypeOption(const KvOptions& kv, const MemorySpace& space) {
  return space.kind == MemorySpace::Kind::kCuda   ? kv.gpu_type
         : space.kind == MemorySpace::Kind::kFpga ? kv.fpga_type
                                                  : kv.type;
}
const std::string& TypeIn(const KvOptions& kv, const MemorySpace& space) {
  const std::string& own = TypeOption(kv, space);
  return own == "same" ? kv.type : own;
}

// The option that says how many positions there are in a block of a memory.
struct BlockTokensOption {
  const char* name;
  const std::string& value;
};
BlockTokensOption BlockTokensIn(const KvOptions& kv, const MemorySpace& space) {
  switch (space.kind) {
    case MemorySpace::Kind::kCuda:
      return {"kv.gpu_block_tokens", kv.gpu_block_tokens};
    case MemorySpace::Kind::kFpga:
      return {"kv.fpga_block_tokens", kv.fpga_block_tokens};
    default:
      return {"kv.block_tokens", kv.block_tokens};
  }
}

bool RunsModels(Executor* executor) { return executor != nullptr && executor->llm() != nullptr; }

// Where a space's blocks come from; null: the host's memory.
KvMemorySource* SourceOf(const MemorySpace& space, std::span<Executor* const> executors) {
  for (Executor* executor : executors) {
    if (RunsModels(executor) && executor->llm()->kv_space() == space) {
      return executor->llm()->kv_memory();
    }
  }
  return nullptr;
}

}  // namespace

std::vector<MemorySpace> LaneKv::SpacesOf(std::span<Executor* const> executors) {
  std::vector<MemorySpace> spaces;
  for (Executor* executor : executors) {
    if (!RunsModels(executor)) continue;
    const MemorySpace space = executor->llm()->kv_space();
    if (std::find(spaces.begin(), spaces.end(), space) == spaces.end()) spaces.push_back(space);
  }
  if (spaces.empty()) spaces.push_back({.kind = MemorySpace::Kind::kHost});
  return spaces;
}

std::vector<MemorySpace> LaneKv::HostSpacesOf(std::span<Executor* const> executors) {
  std::vector<MemorySpace> spaces = SpacesOf(executors);
  std::erase_if(spaces,
                [&](const MemorySpace& space) { return SourceOf(space, executors) != nullptr; });
  return spaces;
}

KvLayout LaneKv::LayoutIn(const LlmShape& shape, const KvOptions& kv, const MemorySpace& space) {
  const std::optional<KvType> type = KvTypeOf(TypeIn(kv, space));
  BATON_CHECK(type.has_value());  // the options' OneOf
  KvLayout layout = WithBlockTokens({.layers = shape.layers,
                                     .kv_heads = shape.kv_heads,
                                     .head_dim = shape.head_dim,
                                     .type = *type});
  const std::string& asked = BlockTokensIn(kv, space).value;
  if (asked != "auto") BATON_CHECK(absl::SimpleAtoi(asked, &layout.block_tokens));
  return layout;
}

absl::StatusOr<std::vector<LaneKv::Shape>> LaneKv::ShapesFor(const LlmShape& shape,
                                                             const ScheduleOptions& schedule,
                                                             const KvOptions& kv,
                                                             std::span<Executor* const> executors) {
  std::vector<Shape> shapes;
  for (const MemorySpace& space : SpacesOf(executors)) {
    KvLayout layout = LayoutIn(shape, kv, space);
    const KvMemorySource* const source = SourceOf(space, executors);
    if (const auto only = source != nullptr ? source->only_type() : std::nullopt;
        only && layout.type != *only) {
      if (TypeOption(kv, space) != "same") {
        return absl::InvalidArgumentError(StrCat("KV blocks in ", ToString(space), " must be ",
                                                 Name(*only), ", which the device alone takes, ",
                                                 "but are configured as ", Name(layout.type)));
      }
      KvOptions own = kv;
      own.type = Name(*only);
      layout = LayoutIn(shape, own, space);
    }
    if (const KvLayout most = WithBlockTokens(layout); layout.block_tokens > most.block_tokens) {
      const BlockTokensOption option = BlockTokensIn(kv, space);
      return absl::InvalidArgumentError(StrCat(option.name, " is ", option.value, ", but at most ",
                                               most.block_tokens,
                                               " positions fit a KV block of the model"));
    }
    const int64_t blocks = KvBlocks(shape, layout, schedule, kv);
    if (blocks < 1 || blocks > INT32_MAX) {
      return absl::ResourceExhaustedError(StrCat("kv.memory_mb is ", kv.memory_mb,
                                                 ", but one KV block of the model takes ",
                                                 layout.block_bytes(), " bytes"));
    }
    shapes.push_back({.layout = layout, .block_count = static_cast<int32_t>(blocks)});
  }
  return shapes;
}

int64_t LaneKv::Bytes(const LlmShape& shape, const ScheduleOptions& schedule, const KvOptions& kv,
                      std::span<Executor* const> executors) {
  int64_t bytes = LaneOffload::Bytes(kv);
  for (const MemorySpace& space : HostSpacesOf(executors)) {
    const KvLayout layout = LayoutIn(shape, kv, space);
    bytes += KvBlocks(shape, layout, schedule, kv) * layout.block_bytes();
  }
  return bytes;
}

absl::StatusOr<std::unique_ptr<LaneKv>> LaneKv::Create(std::span<const Shape> shapes,
                                                       std::span<Executor* const> executors) {
  std::unique_ptr<LaneKv> kv(new LaneKv());
  const std::vector<MemorySpace> spaces = SpacesOf(executors);
  BATON_CHECK(shapes.size() == spaces.size());
  for (size_t i = 0; i < spaces.size(); ++i) {
    const Shape& shape = shapes[i];
    KvMemorySource* const source = SourceOf(spaces[i], executors);
    ASSIGN_OR_RETURN(std::unique_ptr<KvBlockPool> blocks,
                     source == nullptr
                         ? KvBlockPool::Create(shape.layout, shape.block_count)
                         : KvBlockPool::Create(shape.layout, shape.block_count, *source));
    auto cache = std::make_shared<PrefixCache>(*blocks, kv->hash_);
    kv->pools_.push_back(
        {.space = spaces[i], .blocks = std::move(blocks), .cache = std::move(cache)});
  }
  for (Executor* executor : executors) {
    int pool = 0;
    if (RunsModels(executor)) {
      const auto found = std::find(spaces.begin(), spaces.end(), executor->llm()->kv_space());
      pool = static_cast<int>(found - spaces.begin());
    }
    kv->pool_of_.push_back(pool);
  }
  return kv;
}

std::vector<int32_t> LaneKv::block_tokens() const {
  std::vector<int32_t> tokens;
  for (const Pool& pool : pools_) tokens.push_back(pool.blocks->layout().block_tokens);
  return tokens;
}

std::vector<int32_t> LaneKv::block_counts() const {
  std::vector<int32_t> counts;
  for (const Pool& pool : pools_) counts.push_back(pool.blocks->block_count());
  return counts;
}

absl::Status LaneKv::AddOffload(const std::string& model, const KvOptions& options,
                                LaneOffload::Env env) {
  if (options.offload_memory_mb == 0) return absl::OkStatus();
  std::vector<LaneOffload::Pool> pools;
  for (const Pool& pool : pools_) {
    pools.push_back({.space = pool.space, .blocks = pool.blocks.get()});
  }
  ASSIGN_OR_RETURN(offload_, LaneOffload::Create(model, options, std::move(pools), env));
  for (int pool = 0; pool < pool_count(); ++pool) SetCache(pool, At(pool).cache);
  return absl::OkStatus();
}

void LaneKv::SetCache(int pool, std::shared_ptr<PrefixCache> cache) {
  if (offload_ != nullptr) {
    cache->OnEvict([this, pool](const PrefixCache::Evicted& evicted) {
      offload_->OnEvicted(pool,
                          {.tenant = evicted.tenant, .key = evicted.key, .tokens = evicted.tokens},
                          evicted.block);
    });
  }
  pools_[static_cast<size_t>(pool)].cache = std::move(cache);
}

void LaneKv::Distrust(int pool) {
  const std::shared_ptr<PrefixCache> cache = At(pool).cache;
  cache->OnEvict(nullptr);
  if (offload_ != nullptr) offload_->DropStores(pool);
  while (cache->Evict()) {
  }
  SetCache(pool, cache->block_count() > 0 ? std::make_shared<PrefixCache>(*At(pool).blocks, hash_)
                                          : cache);
}

void LaneKv::Extend(int pool, const std::shared_ptr<PrefixCache>& cache, PrefixCache::Chain& chain,
                    std::string_view tenant, std::span<const TokenId> tokens, KvBlockRef block) {
  cache->Extend(chain, tokens, block);
  if (offload_ == nullptr || cache != At(pool).cache) return;
  offload_->Store(pool, {.tenant = tenant, .key = chain.key(), .tokens = tokens}, block);
}

void LaneKv::Release(int pool, const std::shared_ptr<PrefixCache>& cache,
                     const PrefixCache::Chain& chain) {
  if (cache == nullptr) return;
  if (offload_ != nullptr) {
    // As the cache evicts: a parent is wanted whenever its children are.
    const std::vector<KvChainKey> keys = cache->KeysOf(chain);
    for (size_t i = keys.size(); i-- > 0;) offload_->Touch(keys[i]);
  }
  cache->Release(chain);
  if (cache == At(pool).cache) return;
  while (cache->Evict()) {  // nobody asks for them again
  }
}

KvBlockRef LaneKv::Allocate(int pool) {
  const Pool& of = At(pool);
  while (of.blocks->free_count() == 0) {
    if (!of.cache->Evict()) BATON_CHECK(offload_ != nullptr && offload_->DropStores(pool));
  }
  return *of.blocks->Allocate();
}

LaneKv::Counts LaneKv::CountBlocks(int pool) const {
  const Pool& of = At(pool);
  const int32_t total = of.blocks->block_count();
  return {.total = total,
          .used = total - of.blocks->free_count() - of.cache->unused_count(),
          .cached = of.cache->block_count()};
}

}  // namespace baton
