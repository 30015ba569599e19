// How a sequence gets from the executor that prefills it to the one that decodes it, and what
// becomes of it where that fails, or one of the two.
#include <algorithm>
#include <utility>

#include "engine/base/check.h"
#include "engine/base/log.h"
#include "engine/base/strings.h"
#include "engine/llm_lane.h"

namespace baton {
namespace {

// What a client is told of an executor's trouble that nothing was done about.
absl::Status AsUnavailable(const absl::Status& status) {
  if (absl::IsUnavailable(status)) return status;
  return absl::UnavailableError(StrCat("the handoff failed: ", std::string(status.message())));
}

}  // namespace

void LlmLane::HandOver(SequenceId id, TimeUs now_us) {
  Sequence& sequence = sequences_.at(id);
  const LlmJob& job = sequence.job;
  sequence.handing_over = true;
  sequence.usage.handoff_start_us = now_us;
  if (kv_->PoolOf(job.prefill_executor) != kv_->PoolOf(job.decode_executor)) {
    awaited_.push_back({.sequence = id, .since_us = now_us});  // the next plan grants them
    return;
  }
  const MemorySpace space = kv_->space(sequence.kv.pool);
  const KvBlockPool& pool = kv_->blocks(sequence.kv.pool);
  Post(id,
       {.source = space,
        .destination = space,
        .job = {},
        .still_current =
            [&pool, blocks = sequence.kv.blocks] {
              return std::all_of(blocks.begin(), blocks.end(),
                                 [&](KvBlockRef block) { return pool.IsCurrent(block); });
            }},
       now_us);
}

void LlmLane::Keep(SequenceId id, TimeUs now_us) {
  Sequence& sequence = sequences_.at(id);
  const Kv& kv = sequence.kv;
  if (kv_->layout(kv.pool) != sequence.job.keep_layout) {
    End(sequence, absl::FailedPreconditionError(StrCat("the KV in ", ToString(kv_->space(kv.pool)),
                                                       " is not laid out as in host memory")));
    events_.cancelled.push_back(id);
    return;
  }
  KvBlockPool& pool = kv_->blocks(kv.pool);
  CopyPath::Job job{
      .sources = {}, .destinations = sequence.job.keep, .block_bytes = pool.layout().block_bytes()};
  BATON_CHECK(job.destinations.size() <= kv.blocks.size());
  const std::vector<KvBlockRef> blocks(
      kv.blocks.begin(), kv.blocks.begin() + static_cast<std::ptrdiff_t>(job.destinations.size()));
  for (const KvBlockRef block : blocks) job.sources.push_back(pool.Data(block));
  sequence.handing_over = true;
  sequence.usage.handoff_start_us = now_us;
  Post(id,
       {.source = kv_->space(kv.pool),
        .destination = {.kind = MemorySpace::Kind::kHost},
        .job = std::move(job),
        .still_current =
            [&pool, blocks] {
              return std::all_of(blocks.begin(), blocks.end(),
                                 [&](KvBlockRef block) { return pool.IsCurrent(block); });
            }},
       now_us);
}

void LlmLane::TakeTargets(const Plan& plan) {
  const auto take = [this](SequenceId id) {
    Sequence& sequence = sequences_.at(id);
    if (sequence.target) return;  // with what went ahead
    sequence.target = TakeCached(sequence, kv_->PoolOf(sequence.job.decode_executor));
  };
  for (const SequenceId id : plan.hand_over) take(id);
  for (const Plan::Ahead& ahead : plan.ahead) take(ahead.sequence);
}

int64_t LlmLane::PieceTokens(const Kv& from, const Kv& to) const {
  return std::max(kv_->block_tokens(from.pool), kv_->block_tokens(to.pool));
}

std::vector<size_t> LlmLane::GrowTarget(Sequence& sequence, int64_t positions) {
  Kv& to = *sequence.target;
  const int64_t step = kv_->block_tokens(to.pool);
  const int64_t piece = PieceTokens(sequence.kv, to);
  std::vector<size_t> added;
  // What the far side has already is not sent.
  for (int64_t at = std::ssize(to.blocks) * step; at < positions; at += piece) {
    BATON_CHECK(at % piece == 0);
    added.push_back(static_cast<size_t>(at / piece));
  }
  while (std::ssize(to.blocks) * step < positions) to.blocks.push_back(kv_->Allocate(to.pool));
  return added;
}

HandoffRequest LlmLane::CopyOf(const Sequence& sequence, const std::vector<size_t>& pieces,
                               int64_t positions, bool by_layers) const {
  const Kv& from = sequence.kv;
  const Kv& to = *sequence.target;
  KvBlockPool& source = kv_->blocks(from.pool);
  KvBlockPool& destination = kv_->blocks(to.pool);
  const int64_t piece = PieceTokens(from, to);
  CopyPath::Job job{
      .sources = {}, .destinations = {}, .block_bytes = source.layout().block_bytes()};
  int64_t tokens = 0;
  for (const size_t i : pieces) {
    const int64_t begin = static_cast<int64_t>(i) * piece;
    const int64_t end = std::min(begin + piece, positions);
    const auto blocks_of = [&](const Kv& kv, KvBlockPool& pool, auto& data) {
      const int64_t step = pool.layout().block_tokens;
      for (int64_t at = begin; at < end; at += step) {
        data.push_back(pool.Data(kv.blocks[static_cast<size_t>(at / step)]));
      }
    };
    blocks_of(from, source, job.sources);
    blocks_of(to, destination, job.destinations);
    tokens += end - begin;
  }
  const bool layouts = by_layers || Differ(from.pool, to.pool);
  const auto layout_of = [&](const KvBlockPool& pool) {
    return layouts ? std::optional(pool.layout()) : std::nullopt;
  };
  return {.source = kv_->space(from.pool),
          .destination = kv_->space(to.pool),
          .job = std::move(job),
          .still_current =
              [&source, &destination, sent = from.blocks, received = to.blocks] {
                const auto all = [](const KvBlockPool& pool, const std::vector<KvBlockRef>& refs) {
                  return std::all_of(refs.begin(), refs.end(),
                                     [&](KvBlockRef block) { return pool.IsCurrent(block); });
                };
                return all(source, sent) && all(destination, received);
              },
          .source_layout = layout_of(source),
          .destination_layout = layout_of(destination),
          .tokens = tokens};
}

void LlmLane::BeginCopies(const Plan& plan, TimeUs now_us) {
  for (const SequenceId id : plan.hand_over) {
    std::erase_if(awaited_, [id](const AwaitedBlocks& awaited) { return awaited.sequence == id; });
    Sequence& sequence = sequences_.at(id);
    // Of the last token, which was sampled, nothing is computed yet.
    const int64_t positions = std::ssize(sequence.text) - 1;
    const bool by_layers = FinishLayers(id, now_us);
    std::vector<size_t> pieces = std::exchange(sequence.resend, {});
    const std::vector<size_t> added = GrowTarget(sequence, positions);
    pieces.insert(pieces.end(), added.begin(), added.end());
    std::sort(pieces.begin(), pieces.end());  // the last one may not be full
    if (by_layers && pieces.empty()) {
      OpenTarget(sequence);
      PollHandoffs(now_us);
      continue;
    }
    Post(id, CopyOf(sequence, pieces, positions), now_us);
  }
  for (const Plan::Ahead& ahead : plan.ahead) {
    if (ahead.layers) continue;
    Sequence& sequence = sequences_.at(ahead.sequence);
    std::vector<size_t> pieces = GrowTarget(sequence, ahead.tokens);
    if (pieces.empty()) continue;
    HandoffRequest request = CopyOf(sequence, pieces, ahead.tokens);
    request.ahead = true;
    Post(ahead.sequence, std::move(request), now_us, std::move(pieces));
  }
}

void LlmLane::BeginLayers(const Plan& plan, TimeUs now_us) {
  constexpr int32_t kGroupsMax = 8;  // more are smaller, and each costs its path a copy
  for (const Plan::Ahead& ahead : plan.ahead) {
    if (!ahead.layers) continue;
    Sequence& sequence = sequences_.at(ahead.sequence);
    const std::vector<size_t> pieces = GrowTarget(sequence, ahead.tokens);
    BATON_CHECK(!pieces.empty() && sequence.layers_done != nullptr);
    HandoffRequest request = CopyOf(sequence, pieces, ahead.tokens, /*by_layers=*/true);
    const int32_t layers = request.source_layout->layers;
    const int64_t layer_bytes = std::max<int64_t>(
        1, request.source_layout->layer_bytes() * std::ssize(request.job.sources));
    const int64_t bytes_min = env_.transfer->ahead_bytes_min().value_or(0);
    const int64_t group = std::max<int64_t>((layers + kGroupsMax - 1) / kGroupsMax,
                                            (bytes_min + layer_bytes - 1) / layer_bytes);
    const absl::StatusOr<HandoffId> handoff = env_.transfer->Prepare(std::move(request), now_us);
    if (!handoff.ok()) {  // they go with the rest, and that decides
      sequence.resend.insert(sequence.resend.end(), pieces.begin(), pieces.end());
      continue;
    }
    handoffs_.push_back(
        {.sequence = ahead.sequence,
         .handoff = *handoff,
         .renew_at_us = now_us + env_.transfer->renew_interval_us(),
         .until_us = kNoDeadline,  // a chunk that takes its time is no copy that hangs
         .ahead = pieces,
         .layers = Layers{.done = sequence.layers_done,
                          .group = static_cast<int32_t>(std::min<int64_t>(group, layers))}});
  }
}

bool LlmLane::PostLayers(PendingHandoff& pending, TimeUs now_us) {
  Layers& layers = *pending.layers;
  const int32_t done = layers.done->load(std::memory_order_acquire);
  const int32_t end = std::min(done / layers.group * layers.group,
                               kv_->layout(0).layers - 1);  // the last with the handoff itself
  if (end - layers.posted < layers.group) return true;
  layers.posted = end;
  return env_.transfer->PostLayers(pending.handoff, end, now_us).ok();
}

bool LlmLane::FinishLayers(SequenceId id, TimeUs now_us) {
  const auto pending = std::find_if(
      handoffs_.begin(), handoffs_.end(),
      [id](const PendingHandoff& other) { return other.sequence == id && other.layers; });
  if (pending == handoffs_.end()) return false;
  if (env_.transfer->Post(pending->handoff, now_us).ok()) {
    pending->until_us = now_us + lease_us();
    pending->ahead.clear();
    pending->layers.reset();
    return true;
  }
  std::vector<size_t>& resend = sequences_.at(id).resend;
  resend.insert(resend.end(), pending->ahead.begin(), pending->ahead.end());
  handoffs_.erase(pending);
  return false;
}

void LlmLane::OpenTarget(Sequence& sequence) {
  const LlmJob& job = sequence.job;
  sequence.copies_posted = true;
  if (job.prefill_executor == job.decode_executor) return;
  env_.executors[static_cast<size_t>(job.decode_executor)]->llm()->OpenSlot(sequence.slot,
                                                                            SetupOf(sequence));
  sequence.slot_open = true;
}

void LlmLane::Post(SequenceId id, HandoffRequest request, TimeUs now_us,
                   std::vector<size_t> ahead) {
  Sequence& sequence = sequences_.at(id);
  const LlmJob& job = sequence.job;
  if (ahead.empty()) OpenTarget(sequence);
  const absl::StatusOr<HandoffId> handoff = env_.transfer->Prepare(std::move(request), now_us);
  absl::Status status = handoff.status();
  if (status.ok()) status = env_.transfer->Post(*handoff, now_us);
  if (!status.ok()) {
    if (ahead.empty()) return Recover(id, job.decode_executor, status);
    sequence.resend.insert(sequence.resend.end(), ahead.begin(), ahead.end());
    return;
  }
  handoffs_.push_back({.sequence = id,
                       .handoff = *handoff,
                       .renew_at_us = now_us + env_.transfer->renew_interval_us(),
                       .until_us = now_us + lease_us(),
                       .ahead = std::move(ahead)});
  PollHandoffs(now_us);  // within one space it is ready at once
}

void LlmLane::PollHandoffs(TimeUs now_us) {
  std::map<SequenceId, absl::Status> failed;
  std::vector<SequenceId> ready;
  const auto fail = [&](const PendingHandoff& pending, absl::Status status) {
    Sequence& sequence = sequences_.at(pending.sequence);
    if (sequence.copies_posted) {
      failed.emplace(pending.sequence, std::move(status));
    } else {  // what went ahead goes again with the rest, and that decides
      sequence.resend.insert(sequence.resend.end(), pending.ahead.begin(), pending.ahead.end());
    }
    return true;
  };
  std::erase_if(handoffs_, [&](PendingHandoff& pending) {
    absl::StatusOr<TransferManager::State> state = env_.transfer->Check(pending.handoff, now_us);
    if (state.ok() && pending.layers && !PostLayers(pending, now_us)) {
      state = absl::UnavailableError("no path takes its layers");
    }
    if (!state.ok()) return fail(pending, state.status());
    if (*state == TransferManager::State::kReady) {
      HandoffReport& report = sequences_.at(pending.sequence).usage.handoff;
      const HandoffReport done = *env_.transfer->Release(pending.handoff);
      report.bytes += done.bytes;
      if (pending.ahead.empty()) {
        report.path = done.path;
        report.copy_us = done.copy_us;
      }
      ready.push_back(pending.sequence);
      return true;
    }
    if (now_us >= pending.until_us) {
      env_.transfer->Release(pending.handoff);
      return fail(pending, absl::DeadlineExceededError("the copy is not done within a lease"));
    }
    if (now_us >= pending.renew_at_us && env_.transfer->Renew(pending.handoff, now_us).ok()) {
      pending.renew_at_us = now_us + env_.transfer->renew_interval_us();
    }
    return false;
  });
  for (const SequenceId id : ready) {
    const Sequence& sequence = sequences_.at(id);
    const bool all =
        std::none_of(handoffs_.begin(), handoffs_.end(),
                     [id](const PendingHandoff& other) { return other.sequence == id; });
    if (all && sequence.copies_posted && !failed.contains(id)) FinishHandOver(id);
  }
  for (const auto& [id, status] : failed) {
    Recover(id, sequences_.at(id).job.decode_executor, status);
  }
}

void LlmLane::PollAwaited(TimeUs now_us) {
  for (const AwaitedBlocks& awaited : std::vector<AwaitedBlocks>(awaited_)) {
    const Sequence& sequence = sequences_.at(awaited.sequence);
    if (sequence.batches_in_flight > 0) continue;
    const LlmJob& job = sequence.job;
    const bool waits =
        job.on_failure != HandoffFailure::kLocal && now_us - awaited.since_us < lease_us();
    if (waits) continue;
    Recover(awaited.sequence, job.decode_executor,
            absl::ResourceExhaustedError(StrCat(
                "no KV blocks are free in ", ToString(kv_->space(kv_->PoolOf(job.decode_executor))),
                " for the handoff")));
  }
}

void LlmLane::FinishHandOver(SequenceId id) {
  Sequence& sequence = sequences_.at(id);
  sequence.copies_posted = false;
  if (!sequence.job.keep.empty()) {
    End(sequence, absl::OkStatus(), {.reason = FinishReason::kLength, .stop = {}});
    events_.cancelled.push_back(id);
    return;
  }
  if (sequence.target) {
    GiveBack(sequence.kv);
    sequence.kv = *std::exchange(sequence.target, std::nullopt);
    // All but the last token's, which is not fed yet.
    if (!sequence.ended) Cache(sequence, static_cast<int32_t>(sequence.text.size()) - 1);
  }
  sequence.handing_over = false;
  sequence.handed_over = true;
  events_.handed_over.push_back(id);
}

void LlmLane::ReleaseHandoffs(SequenceId id) {
  std::erase_if(awaited_, [id](const AwaitedBlocks& awaited) { return awaited.sequence == id; });
  std::erase_if(handoffs_, [&](const PendingHandoff& pending) {
    if (pending.sequence != id) return false;
    env_.transfer->Release(pending.handoff);
    return true;
  });
  CancelReload(id);
}

void LlmLane::Lost(SequenceId id, int executor, const absl::Status& status) {
  const auto it = sequences_.find(id);
  if (it == sequences_.end() || it->second.ended) return;
  const LlmJob& job = it->second.job;
  const bool depends = job.decode_executor == executor ||
                       (job.prefill_executor == executor && !it->second.handed_over);
  if (!depends) return;
  Distrust(executor);
  Recover(id, executor, status);
}

void LlmLane::Recover(SequenceId id, int executor, const absl::Status& status) {
  Sequence& sequence = sequences_.at(id);
  if (sequence.ended) return;
  LlmJob& job = sequence.job;
  const bool handing_over = sequence.handing_over;
  absl::Status why = handing_over ? AsUnavailable(status) : status;
  if (job.on_failure == HandoffFailure::kLocal && executor != job.prefill_executor) {
    ++sequence.usage.recoveries;
    sequence.usage.stayed = true;
    metrics_.stayed->Increment();
    Log().warn("sequence {} decodes where it was prefilled: {}", id.value(),
               std::string(status.message()));
    if (handing_over) return Stay(id);
    return Migrate(id, {job.prefill_executor, job.prefill_executor});
  }
  if (job.on_failure == HandoffFailure::kRecompute && job.on_lost != nullptr) {
    const absl::StatusOr<LlmPlacement> to = job.on_lost(SequenceId(next_sequence_), executor, why);
    if (to.ok()) {
      ++sequence.usage.recoveries;
      sequence.usage.stayed = false;
      metrics_.moved->Increment();
      Log().warn("sequence {} is computed again elsewhere: {}", id.value(),
                 std::string(status.message()));
      return Migrate(id, *to);
    }
    why = to.status();
  }
  End(sequence, std::move(why));
  events_.cancelled.push_back(id);
}

void LlmLane::Stay(SequenceId id) {
  Sequence& sequence = sequences_.at(id);
  ReleaseHandoffs(id);
  if (sequence.target) GiveBack(*sequence.target);
  sequence.target.reset();
  sequence.resend.clear();
  sequence.copies_posted = false;
  LlmJob& job = sequence.job;
  if (std::exchange(sequence.slot_open, false)) {
    env_.executors[static_cast<size_t>(job.decode_executor)]->llm()->CloseSlot(sequence.slot);
  }
  job.decode_executor = job.prefill_executor;
  sequence.handing_over = false;
  sequence.handed_over = true;
  events_.stay.push_back(id);
}

void LlmLane::Migrate(SequenceId id, LlmPlacement to) {
  Sequence& old = sequences_.at(id);
  const SequenceId next_id(next_sequence_++);
  ReleaseHandoffs(id);
  Sequence next = std::move(old);
  // What batches in flight, and a device that comes back late, may still touch.
  old.kv = std::exchange(next.kv, {});
  old.target = std::exchange(next.target, std::nullopt);
  old.ended = true;
  events_.cancelled.push_back(id);

  next.slot = SlotId(-1);
  next.slot_open = false;
  next.resend.clear();
  next.copies_posted = false;
  next.layers_done.reset();
  next.handing_over = false;
  next.handed_over = false;
  next.batches_in_flight = 0;
  next.draft.clear();
  next.job.prefill_executor = to.prefill_executor;
  next.job.decode_executor = to.decode_executor;
  const auto generated = static_cast<int32_t>(next.generated_text().size());
  BATON_CHECK(generated < next.job.max_tokens);
  events_.arrived.push_back({.id = next_id,
                             .prompt_tokens = static_cast<int32_t>(next.job.prompt.size()),
                             .max_tokens = next.job.max_tokens,
                             .priority = next.job.priority,
                             .deadline_us = next.job.deadline_us,
                             .prefill_executor = to.prefill_executor,
                             .decode_executor = to.decode_executor,
                             .generated = generated,
                             .continues = id});
  sequences_.emplace(next_id, std::move(next));
}

void LlmLane::Distrust(int executor) {
  const int pool = kv_->PoolOf(executor);
  if (kv_->space(pool).kind != MemorySpace::Kind::kHost) kv_->Distrust(pool);
}

}  // namespace baton
