// What of a sequence's KV is not computed for it: found in the prefix cache and kept there, brought
// back from the tier below, or given with its job.
#include <algorithm>
#include <utility>

#include "engine/base/check.h"
#include "engine/base/log.h"
#include "engine/base/status_macros.h"
#include "engine/llm_lane.h"
#include "engine/reload_cost.h"

namespace baton {

std::span<const TokenId> LlmLane::Reusable(const Sequence& sequence) const {
  // The last token is computed in any case: what follows it is wanted. So is an echo's every token.
  size_t tokens = sequence.text.size() - 1;
  if (sequence.job.on_prompt != nullptr) {
    tokens = std::min(tokens, static_cast<size_t>(sequence.echoed));
  }
  return std::span(sequence.keys).first(use_cache_ ? tokens : 0);
}

std::vector<BlockId> LlmLane::CachedBlocks(SequenceId id, int pool) const {
  const Sequence& sequence = sequences_.at(id);
  std::vector<BlockId> blocks;
  if (Differ(pool, kv_->PoolOf(sequence.job.prefill_executor))) return blocks;
  for (const KvBlockRef& block : kv_->cache(pool)->Match(sequence.job.tenant, Reusable(sequence))) {
    blocks.push_back(block.id);
  }
  return blocks;
}

LlmLane::Kv LlmLane::TakeCached(const Sequence& sequence, int pool) {
  Kv kv{.pool = pool, .blocks = {}, .cache = nullptr, .chain = {}};
  if (Differ(pool, kv_->PoolOf(sequence.job.prefill_executor))) return kv;
  kv.cache = kv_->cache(pool);
  kv.chain = kv.cache->Acquire(sequence.job.tenant, Reusable(sequence), kv.blocks);
  return kv;
}

void LlmLane::GiveBack(Kv& kv) {
  kv_->Release(kv.pool, kv.cache, kv.chain);
  for (const KvBlockRef block : kv.blocks) kv_->blocks(kv.pool).Free(block);
  kv = {};
}

void LlmLane::Append(Sequence& sequence, std::span<const TokenId> generated) const {
  sequence.text.insert(sequence.text.end(), generated.begin(), generated.end());
  for (const TokenId token : generated) {
    sequence.keys.push_back(tells_prompts_apart_ ? ~token : token);
  }
}

void LlmLane::Cache(Sequence& sequence, int32_t positions) {
  Kv& kv = sequence.kv;
  if (!use_cache_ || kv.cache == nullptr) return;
  const auto step = static_cast<size_t>(kv_->block_tokens(kv.pool));
  for (size_t at = kv.chain.size(); (at + 1) * step <= static_cast<size_t>(positions); ++at) {
    kv_->Extend(kv.pool, kv.cache, kv.chain, sequence.job.tenant,
                std::span(sequence.keys).subspan(at * step, step), kv.blocks[at]);
  }
}

void LlmLane::CountCached(Sequence& sequence) {
  const int32_t cached =
      std::min(static_cast<int32_t>(sequence.kv.chain.size()) * kv_->block_tokens(sequence.kv.pool),
               static_cast<int32_t>(sequence.job.prompt.size()));
  const int32_t fresh = std::max(0, cached - sequence.prefilled);
  sequence.prefilled += fresh;
  sequence.usage.cached_prompt_tokens += fresh;
  metrics_.cached_tokens->Increment(fresh);
}

// ---- The tier below, and what was given

LlmLane::TextBehind LlmLane::BehindCached(const Sequence& sequence, const Kv& kv) const {
  const std::span<const TokenId> tokens = Reusable(sequence);
  const auto step = static_cast<size_t>(kv_->block_tokens(kv.pool));
  TextBehind behind{.keys = kv.cache->KeysBehind(kv.chain, tokens), .tokens = {}};
  behind.tokens = tokens.subspan(kv.chain.size() * step, behind.keys.size() * step);
  return behind;
}

int32_t LlmLane::GivenBehind(const Sequence& sequence, const Kv& kv,
                             const TextBehind& behind) const {
  const GivenKv* given = sequence.job.given.get();
  const MemorySpace host{.kind = MemorySpace::Kind::kHost};
  if (given == nullptr || given->layout != kv_->layout(kv.pool)) return 0;
  if (!env_.transfer->Connects(host, kv_->space(kv.pool))) return 0;
  return std::clamp(given->blocks - static_cast<int32_t>(kv.chain.size()), 0,
                    static_cast<int32_t>(behind.keys.size()));
}

int32_t LlmLane::ReloadableBlocks(SequenceId id, int pool) {
  Sequence& sequence = sequences_.at(id);
  if (kv_->offload() == nullptr && sequence.job.given == nullptr) return 0;
  Kv kv = TakeCached(sequence, pool);
  const TextBehind behind = BehindCached(sequence, kv);
  int32_t blocks = GivenBehind(sequence, kv, behind);
  if (kv_->offload() != nullptr) {
    const auto cached = static_cast<int32_t>(kv.chain.size()) * kv_->block_tokens(pool);
    const int32_t held = kv_->offload()->Count(
        pool, {.tenant = sequence.job.tenant, .keys = behind.keys, .tokens = behind.tokens},
        [&](int32_t found) { return ReloadPays(sequence, pool, cached, found); });
    blocks = std::max(blocks, held);
  }
  GiveBack(kv);
  return blocks;
}

bool LlmLane::ReloadPays(Sequence& sequence, int pool, int32_t cached, int32_t blocks) {
  // Of those passed over one in so many is brought back all the same: else a path that was slow
  // once would be slow for ever.
  constexpr uint64_t kProbeEvery = 16;
  sequence.usage.reload_passed_over.clear();
  if (reload_always_) return true;
  ReloadCost cost{.tokens = blocks * kv_->block_tokens(pool), .reload_us = {}, .compute_us = {}};
  cost.reload_us = kv_->offload()->ReloadUs(pool, blocks);
  cost.compute_us =
      ComputeUs(*env_.board, {.executor = sequence.job.prefill_executor,
                              .begin = cached,
                              .end = cached + cost.tokens,
                              .chunk_tokens_max = chunk_tokens_max_,
                              .parameters = static_cast<double>(model_->shape().parameters)});
  if (cost.reload_pays() || ++reloads_passed_over_ % kProbeEvery == 0) return true;
  sequence.usage.reload_passed_over = cost.ToString();
  return false;
}

int32_t LlmLane::KnownTokens(const std::string& tenant, std::span<const TokenId> prompt) const {
  if (!use_cache_ || prompt.empty()) return 0;
  const std::span<const TokenId> tokens = prompt.first(prompt.size() - 1);
  size_t most = 0;
  for (int pool = 0; pool < kv_->pool_count(); ++pool) {
    const auto step = static_cast<size_t>(kv_->block_tokens(pool));
    PrefixCache& cache = *kv_->cache(pool);
    std::vector<KvBlockRef> blocks;
    const PrefixCache::Chain chain = cache.Acquire(tenant, tokens, blocks);
    size_t known = chain.size();
    if (kv_->offload() != nullptr) {
      const std::vector<KvChainKey> keys = cache.KeysBehind(chain, tokens);
      known += static_cast<size_t>(
          kv_->offload()->Count(pool,
                                {.tenant = tenant,
                                 .keys = keys,
                                 .tokens = tokens.subspan(known * step, keys.size() * step)},
                                [](int32_t) { return true; }));
    }
    cache.Release(chain);
    for (const KvBlockRef block : blocks) kv_->blocks(pool).Free(block);
    most = std::max(most, known * step);
  }
  return static_cast<int32_t>(most);
}

absl::StatusOr<LlmLane::PendingReload> LlmLane::PostGiven(const Sequence& sequence, size_t first,
                                                          TimeUs now_us) {
  const GivenKv& given = *sequence.job.given;
  const Kv& kv = sequence.kv;
  KvBlockPool& pool = kv_->blocks(kv.pool);
  const std::vector<KvBlockRef> blocks(kv.blocks.begin() + static_cast<std::ptrdiff_t>(first),
                                       kv.blocks.end());
  CopyPath::Job job{.sources = {}, .destinations = {}, .block_bytes = given.layout.block_bytes()};
  for (size_t i = 0; i < blocks.size(); ++i) {
    job.sources.push_back(given.memory.data() +
                          static_cast<int64_t>(first + i) * given.layout.block_bytes());
    job.destinations.push_back(pool.Data(blocks[i]));
  }
  ASSIGN_OR_RETURN(const HandoffId handoff,
                   env_.transfer->Prepare({.source = {.kind = MemorySpace::Kind::kHost},
                                           .destination = kv_->space(kv.pool),
                                           .job = std::move(job),
                                           .still_current =
                                               [&pool, blocks] {
                                                 return std::all_of(blocks.begin(), blocks.end(),
                                                                    [&](KvBlockRef b) {
                                                                      return pool.IsCurrent(b);
                                                                    });
                                               },
                                           .offload = true},
                                          now_us));
  RETURN_IF_ERROR(env_.transfer->Post(handoff, now_us));
  return PendingReload{.reload = {}, .given = handoff, .begun_us = now_us};
}

void LlmLane::BeginReloads(const std::vector<Plan::Reload>& plan, TimeUs now_us) {
  LaneOffload* const offload = kv_->offload();
  std::vector<std::optional<LaneOffload::Reload>> held;  // nothing: of what the job was given
  for (const Plan::Reload& planned : plan) {             // before any allocation, which may evict
    const Sequence& sequence = sequences_.at(planned.sequence);
    const TextBehind behind = BehindCached(sequence, sequence.kv);
    if (GivenBehind(sequence, sequence.kv, behind) >= planned.blocks) {
      held.emplace_back();
      continue;
    }
    held.push_back(
        offload->Hold({.tenant = sequence.job.tenant, .keys = behind.keys, .tokens = behind.tokens},
                      planned.blocks));
  }
  for (size_t i = 0; i < plan.size(); ++i) {
    const SequenceId id = plan[i].sequence;
    Sequence& sequence = sequences_.at(id);
    Kv& kv = sequence.kv;
    const size_t first = kv.blocks.size();
    const size_t wanted = held[i] ? held[i]->slots.size() : static_cast<size_t>(plan[i].blocks);
    while (kv.blocks.size() < first + wanted) kv.blocks.push_back(kv_->Allocate(kv.pool));
    if (sequence.usage.reload_start_us == 0) sequence.usage.reload_start_us = now_us;
    absl::StatusOr<PendingReload> pending;
    if (held[i]) {
      const absl::Status posted =
          offload->Post(*held[i], kv.pool, std::span(kv.blocks).subspan(first), now_us);
      if (posted.ok()) {
        pending =
            PendingReload{.reload = *std::move(held[i]), .given = std::nullopt, .begun_us = now_us};
      } else {
        pending = posted;
      }
    } else {
      pending = PostGiven(sequence, first, now_us);
    }
    if (pending.ok()) {
      reloads_.emplace(id, *std::move(pending));
    } else {
      EndReload(id, pending.status(), now_us, now_us);
    }
  }
  PollReloads(now_us);  // what is small was copied at once
}

std::optional<absl::StatusOr<HandoffReport>> LlmLane::CheckReload(PendingReload& pending,
                                                                  TimeUs now_us) {
  // Its lease is never renewed: a copy that hangs ends with it, and the text is computed.
  if (!pending.given) return kv_->offload()->Check(pending.reload, now_us);
  const absl::StatusOr<TransferManager::State> state = env_.transfer->Check(*pending.given, now_us);
  if (!state.ok()) return state.status();
  if (*state != TransferManager::State::kReady) return std::nullopt;
  return *env_.transfer->Release(*pending.given);
}

void LlmLane::PollReloads(TimeUs now_us) {
  for (auto it = reloads_.begin(); it != reloads_.end();) {
    const auto done = CheckReload(it->second, now_us);
    if (!done) {
      ++it;
      continue;
    }
    const SequenceId id = it->first;
    const TimeUs begun_us = it->second.begun_us;
    it = reloads_.erase(it);
    EndReload(id, *done, begun_us, now_us);
  }
}

void LlmLane::EndReload(SequenceId id, const absl::StatusOr<HandoffReport>& done, TimeUs begun_us,
                        TimeUs now_us) {
  Sequence& sequence = sequences_.at(id);
  const size_t before = sequence.kv.chain.size();
  if (done.ok()) {
    sequence.usage.reload.path = done->path;
    sequence.usage.reload.bytes += done->bytes;
    sequence.usage.reload.copy_us += done->copy_us;
    metrics_.reload->Observe(Seconds(now_us - begun_us));
    Cache(sequence,
          static_cast<int32_t>(sequence.kv.blocks.size()) * kv_->block_tokens(sequence.kv.pool));
    CountCached(sequence);
  } else {
    Log().warn("sequence {} is computed, as its KV could not be brought back: {}", id.value(),
               std::string(done.status().message()));
  }
  sequence.job.given.reset();  // the cache has it, or it cannot be had
  const auto blocks = static_cast<int32_t>(sequence.kv.chain.size() - before);
  metrics_.reloaded_tokens->Increment(blocks * kv_->block_tokens(sequence.kv.pool));
  events_.reloaded.push_back({.sequence = id, .blocks = blocks});
}

void LlmLane::CancelReload(SequenceId id) {
  const auto it = reloads_.find(id);
  if (it == reloads_.end()) return;
  if (it->second.given) {
    env_.transfer->Release(*it->second.given);
  } else {
    kv_->offload()->Cancel(it->second.reload);
  }
  reloads_.erase(it);
}

}  // namespace baton
