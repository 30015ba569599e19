// What of a sequence's KV is shared with others: found in the prefix cache, kept there, and brought
// back from the tier below.
#include <algorithm>
#include <utility>

#include "engine/base/check.h"
#include "engine/base/log.h"
#include "engine/llm_lane.h"

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
  const auto step = static_cast<size_t>(kv_->block_tokens());
  for (size_t at = kv.chain.size(); (at + 1) * step <= static_cast<size_t>(positions); ++at) {
    kv_->Extend(kv.pool, kv.cache, kv.chain, sequence.job.tenant,
                std::span(sequence.keys).subspan(at * step, step), kv.blocks[at]);
  }
}

void LlmLane::CountCached(Sequence& sequence) {
  const int32_t cached =
      std::min(static_cast<int32_t>(sequence.kv.chain.size()) * kv_->block_tokens(),
               static_cast<int32_t>(sequence.job.prompt.size()));
  const int32_t fresh = std::max(0, cached - sequence.prefilled);
  sequence.prefilled += fresh;
  sequence.usage.cached_prompt_tokens += fresh;
  metrics_.cached_tokens->Increment(fresh);
}

// ---- The tier below

LlmLane::TextBehind LlmLane::BehindCached(const Sequence& sequence, const Kv& kv) const {
  const std::span<const TokenId> tokens = Reusable(sequence);
  const auto step = static_cast<size_t>(kv_->block_tokens());
  TextBehind behind{.keys = kv.cache->KeysBehind(kv.chain, tokens), .tokens = {}};
  behind.tokens = tokens.subspan(kv.chain.size() * step, behind.keys.size() * step);
  return behind;
}

int32_t LlmLane::ReloadableBlocks(SequenceId id, int pool) {
  if (kv_->offload() == nullptr) return 0;
  const Sequence& sequence = sequences_.at(id);
  Kv kv = TakeCached(sequence, pool);
  const TextBehind behind = BehindCached(sequence, kv);
  const auto cached = static_cast<int32_t>(kv.chain.size()) * kv_->block_tokens();
  const int32_t blocks = kv_->offload()->Count(
      pool, {.tenant = sequence.job.tenant, .keys = behind.keys, .tokens = behind.tokens},
      [&](int32_t found) { return ReloadPays(sequence, pool, cached, found); });
  GiveBack(kv);
  return blocks;
}

bool LlmLane::ReloadPays(const Sequence& sequence, int pool, int32_t cached, int32_t blocks) {
  // Of those passed over one in so many is brought back all the same: else a path that was slow
  // once would be slow for ever.
  constexpr uint64_t kProbeEvery = 16;
  if (reload_always_) return true;
  const std::optional<double> reload_us = kv_->offload()->ReloadUs(pool, blocks);
  if (!reload_us) return true;
  double compute_us = 0;
  const int32_t end = cached + blocks * kv_->block_tokens();
  for (int32_t at = cached; at < end && compute_us < *reload_us; at += chunk_tokens_max_) {
    const std::optional<CostPrediction> chunk = env_.board->Expected(
        {.executor = sequence.job.prefill_executor,
         .work_class = WorkClass::kPrefill,
         .shape = {.items = static_cast<double>(std::min(chunk_tokens_max_, end - at)),
                   .context = static_cast<double>(at),
                   .scale = static_cast<double>(model_->shape().parameters)}});
    if (!chunk) return true;
    compute_us += chunk->run_us;
  }
  if (compute_us >= *reload_us) return true;
  return ++reloads_passed_over_ % kProbeEvery == 0;
}

void LlmLane::BeginReloads(const std::vector<Plan::Reload>& plan, TimeUs now_us) {
  LaneOffload* const offload = kv_->offload();
  std::vector<LaneOffload::Reload> held;
  for (const Plan::Reload& planned : plan) {  // before any allocation, which may evict
    const Sequence& sequence = sequences_.at(planned.sequence);
    const TextBehind behind = BehindCached(sequence, sequence.kv);
    held.push_back(
        offload->Hold({.tenant = sequence.job.tenant, .keys = behind.keys, .tokens = behind.tokens},
                      planned.blocks));
  }
  for (size_t i = 0; i < plan.size(); ++i) {
    const SequenceId id = plan[i].sequence;
    Sequence& sequence = sequences_.at(id);
    Kv& kv = sequence.kv;
    LaneOffload::Reload& reload = held[i];
    const size_t first = kv.blocks.size();
    while (kv.blocks.size() < first + reload.slots.size()) {
      kv.blocks.push_back(kv_->Allocate(kv.pool));
    }
    if (sequence.usage.reload_start_us == 0) sequence.usage.reload_start_us = now_us;
    const absl::Status posted =
        offload->Post(reload, kv.pool, std::span(kv.blocks).subspan(first), now_us);
    if (posted.ok()) {
      reloads_.emplace(id, PendingReload{.reload = std::move(reload), .begun_us = now_us});
    } else {
      EndReload(id, posted, now_us, now_us);
    }
  }
  PollReloads(now_us);  // what is small was copied at once
}

void LlmLane::PollReloads(TimeUs now_us) {
  for (auto it = reloads_.begin(); it != reloads_.end();) {
    // Its lease is never renewed: a copy that hangs ends with it, and the text is computed.
    const auto done = kv_->offload()->Check(it->second.reload, now_us);
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
    Cache(sequence, static_cast<int32_t>(sequence.kv.blocks.size()) * kv_->block_tokens());
    CountCached(sequence);
  } else {
    Log().warn("sequence {} is computed, as its KV could not be brought back: {}", id.value(),
               std::string(done.status().message()));
  }
  const auto blocks = static_cast<int32_t>(sequence.kv.chain.size() - before);
  metrics_.reloaded_tokens->Increment(blocks * kv_->block_tokens());
  events_.reloaded.push_back({.sequence = id, .blocks = blocks});
}

void LlmLane::CancelReload(SequenceId id) {
  const auto it = reloads_.find(id);
  if (it == reloads_.end()) return;
  kv_->offload()->Cancel(it->second.reload);
  reloads_.erase(it);
}

}  // namespace baton
