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
  KvBlockPool& pool = kv_->blocks(kv.pool);
  CopyPath::Job job{
      .sources = {}, .destinations = sequence.job.keep, .block_bytes = kv_->layout().block_bytes()};
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

void LlmLane::BeginCopies(const std::vector<SequenceId>& ids, TimeUs now_us) {
  for (const SequenceId id : ids) {  // before any allocation, which may evict
    Sequence& sequence = sequences_.at(id);
    sequence.target = TakeCached(sequence, kv_->PoolOf(sequence.job.decode_executor));
  }
  for (const SequenceId id : ids) {
    std::erase_if(awaited_, [id](const AwaitedBlocks& awaited) { return awaited.sequence == id; });
    Sequence& sequence = sequences_.at(id);
    const Kv& from = sequence.kv;
    Kv& to = *sequence.target;
    KvBlockPool& source = kv_->blocks(from.pool);
    KvBlockPool& destination = kv_->blocks(to.pool);
    CopyPath::Job job{
        .sources = {}, .destinations = {}, .block_bytes = kv_->layout().block_bytes()};
    // What the far side has already is not sent.
    for (size_t i = to.blocks.size(); i < from.blocks.size(); ++i) {
      to.blocks.push_back(kv_->Allocate(to.pool));
      job.sources.push_back(source.Data(from.blocks[i]));
      job.destinations.push_back(destination.Data(to.blocks.back()));
    }
    Post(id,
         {.source = kv_->space(from.pool),
          .destination = kv_->space(to.pool),
          .job = std::move(job),
          .still_current =
              [&source, &destination, sent = from.blocks, received = to.blocks] {
                const auto all = [](const KvBlockPool& pool, const std::vector<KvBlockRef>& refs) {
                  return std::all_of(refs.begin(), refs.end(),
                                     [&](KvBlockRef block) { return pool.IsCurrent(block); });
                };
                return all(source, sent) && all(destination, received);
              }},
         now_us);
  }
}

void LlmLane::Post(SequenceId id, HandoffRequest request, TimeUs now_us) {
  Sequence& sequence = sequences_.at(id);
  const LlmJob& job = sequence.job;
  if (job.prefill_executor != job.decode_executor) {
    env_.executors[static_cast<size_t>(job.decode_executor)]->llm()->OpenSlot(sequence.slot,
                                                                              SetupOf(sequence));
    sequence.slot_open = true;
  }
  const absl::StatusOr<HandoffId> handoff = env_.transfer->Prepare(std::move(request), now_us);
  absl::Status status = handoff.status();
  if (status.ok()) status = env_.transfer->Post(*handoff, now_us);
  if (!status.ok()) return Recover(id, job.decode_executor, status);
  handoffs_.push_back({.sequence = id,
                       .handoff = *handoff,
                       .renew_at_us = now_us + env_.transfer->renew_interval_us(),
                       .until_us = now_us + lease_us()});
  PollHandoffs(now_us);  // within one space it is ready at once
}

void LlmLane::PollHandoffs(TimeUs now_us) {
  struct Failed {
    SequenceId sequence;
    absl::Status status;
  };
  std::vector<Failed> failed;
  std::erase_if(handoffs_, [&](PendingHandoff& pending) {
    const absl::StatusOr<TransferManager::State> state =
        env_.transfer->Check(pending.handoff, now_us);
    if (!state.ok()) {
      failed.push_back({pending.sequence, state.status()});
      return true;
    }
    if (*state == TransferManager::State::kReady) {
      FinishHandOver(pending.sequence, pending.handoff);
      return true;
    }
    if (now_us >= pending.until_us) {
      env_.transfer->Release(pending.handoff);
      failed.push_back(
          {pending.sequence, absl::DeadlineExceededError("the copy is not done within a lease")});
      return true;
    }
    if (now_us >= pending.renew_at_us && env_.transfer->Renew(pending.handoff, now_us).ok()) {
      pending.renew_at_us = now_us + env_.transfer->renew_interval_us();
    }
    return false;
  });
  for (const Failed& handoff : failed) {
    const Sequence& sequence = sequences_.at(handoff.sequence);
    Recover(handoff.sequence, sequence.job.decode_executor, handoff.status);
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

void LlmLane::FinishHandOver(SequenceId id, HandoffId handoff) {
  Sequence& sequence = sequences_.at(id);
  sequence.usage.handoff = *env_.transfer->Release(handoff);
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
