#include "engine/schedule/llm_scheduler.h"

#include <algorithm>
#include <set>
#include <utility>

#include "engine/base/check.h"
#include "engine/base/strings.h"

namespace baton {

LlmScheduler::LlmScheduler(const ScheduleOptions& options, int32_t block_count,
                           int32_t block_tokens, CachedTokens cached_tokens)
    : options_(options),
      block_count_(block_count),
      block_tokens_(block_tokens),
      cached_tokens_(std::move(cached_tokens)) {}

int32_t LlmScheduler::BlocksFor(int32_t prompt_tokens, int32_t max_tokens) const {
  // The last generated token is never fed back, so its K and V are not stored.
  const int64_t positions = int64_t{prompt_tokens} + max_tokens - 1;
  return static_cast<int32_t>((positions + block_tokens_ - 1) / block_tokens_);
}

Plan LlmScheduler::Step(const ScheduleEvents& events, TimeUs now_us) {
  Plan plan;
  for (const BatchCompletion& completion : events.completed) Complete(completion);
  for (const SequenceId id : events.handed_over) {
    const auto it = running_.find(id);
    if (it != running_.end() && it->second.phase == Phase::kHandingOver) {
      it->second.phase = Phase::kDecoding;
    }
  }
  for (const SequenceArrival& arrival : events.arrived) {
    if (waiting_count() >= options_.sequences_waiting_max) {
      plan.ended.push_back({arrival.id, absl::ResourceExhaustedError(StrCat(
                                            "schedule.sequences_waiting_max: ", waiting_.size(),
                                            " sequences are waiting already; retry in 1000 ms"))});
      continue;
    }
    const auto place = std::find_if(
        waiting_.begin(), waiting_.end(),
        [&arrival](const SequenceArrival& other) { return other.priority < arrival.priority; });
    waiting_.insert(place, arrival);
  }
  for (const SequenceId id : events.cancelled) {
    End(id, absl::CancelledError("the client cancelled the request"), plan);
  }
  Expire(now_us, plan);
  Release(plan);
  Admit(plan);
  Fill(plan);
  return plan;
}

void LlmScheduler::Complete(const BatchCompletion& completion) {
  --plans_in_flight_[completion.executor];
  for (const BatchCompletion::Item& item : completion.items) {
    Running& sequence = running_.at(item.sequence);
    --sequence.batches_in_flight;
    sequence.draft = item.draft;
    if (sequence.draft_in_flight > 0) {
      // What stands behind the first wrong guess is computed anew.
      const int32_t wrong = sequence.draft_in_flight + 1 - item.generated;
      sequence.tokens_planned -= wrong;
      sequence.generated_planned -= wrong;
      sequence.draft_in_flight = 0;
    }
    if (item.ended || (sequence.batches_in_flight == 0 &&
                       sequence.generated_planned >= sequence.arrival.max_tokens)) {
      sequence.phase = Phase::kDraining;
    }
  }
}

void LlmScheduler::End(SequenceId id, absl::Status status, Plan& plan) {
  const auto waiting = std::find_if(waiting_.begin(), waiting_.end(),
                                    [id](const SequenceArrival& a) { return a.id == id; });
  if (waiting != waiting_.end()) {
    waiting_.erase(waiting);
    plan.ended.push_back({id, std::move(status)});
    return;
  }
  const auto running = running_.find(id);
  if (running == running_.end() || running->second.phase == Phase::kDraining) return;
  running->second.phase = Phase::kDraining;
  plan.ended.push_back({id, std::move(status)});
}

void LlmScheduler::Expire(TimeUs now_us, Plan& plan) {
  std::vector<SequenceId> expired;
  for (const SequenceArrival& arrival : waiting_) {
    if (arrival.deadline_us <= now_us) expired.push_back(arrival.id);
  }
  for (const auto& [id, sequence] : running_) {
    if (sequence.arrival.deadline_us <= now_us) expired.push_back(id);
  }
  for (const SequenceId id : expired) {
    End(id, absl::DeadlineExceededError("the request's deadline has passed"), plan);
  }
}

void LlmScheduler::Release(Plan& plan) {
  for (auto it = running_.begin(); it != running_.end();) {
    const Running& sequence = it->second;
    if (sequence.phase != Phase::kDraining || sequence.batches_in_flight > 0) {
      ++it;
      continue;
    }
    blocks_reserved_ -= sequence.blocks;
    plan.released.push_back(it->first);
    order_.erase(std::find(order_.begin(), order_.end(), it->first));
    it = running_.erase(it);
  }
}

void LlmScheduler::Admit(Plan& plan) {
  while (!waiting_.empty() && running_count() < options_.sequences_running_max) {
    const SequenceArrival& next = waiting_.front();
    const int32_t blocks = BlocksFor(next.prompt_tokens, next.max_tokens);
    BATON_CHECK(blocks <= block_count_);
    if (blocks_reserved_ + blocks > block_count_) return;
    blocks_reserved_ += blocks;
    plan.admitted.push_back(next.id);
    order_.push_back(next.id);
    const int32_t cached = cached_tokens_ ? cached_tokens_(next.id) : 0;
    BATON_CHECK(cached < next.prompt_tokens);
    running_.emplace(next.id, Running{.arrival = next, .tokens_planned = cached, .blocks = blocks});
    waiting_.pop_front();
  }
}

void LlmScheduler::Fill(Plan& plan) {
  std::set<int> executors;
  for (const auto& [id, sequence] : running_) {
    executors.insert(sequence.arrival.prefill_executor);
    executors.insert(sequence.arrival.decode_executor);
  }
  for (const int executor : executors) {
    if (plans_in_flight_[executor] >= options_.plans_in_flight_max) continue;
    PlannedBatch batch = FillBatch(executor);
    if (batch.items.empty()) continue;
    ++plans_in_flight_[executor];
    plan.batches.push_back(std::move(batch));
  }
}

PlannedBatch LlmScheduler::FillBatch(int executor) {
  PlannedBatch batch{.executor = executor, .items = {}};
  int64_t room = options_.step_tokens_max;
  PlanDecodes(batch, room);
  PlanPrefills(batch, room);
  return batch;
}

void LlmScheduler::PlanDecodes(PlannedBatch& batch, int64_t& room) {
  std::vector<Running*> decoding;
  for (const SequenceId id : order_) {
    Running& sequence = running_.at(id);
    if (sequence.phase == Phase::kDecoding && sequence.arrival.decode_executor == batch.executor &&
        sequence.generated_planned < sequence.arrival.max_tokens) {
      decoding.push_back(&sequence);
    }
  }
  // Guesses fill a step that would be too small to keep the device busy, and no other.
  const bool drafts = std::ssize(decoding) <= options_.draft_sequences_max;
  // Every sequence's next token has its place before anybody's guesses.
  int64_t spare = std::max<int64_t>(0, room - std::ssize(decoding));
  for (Running* const sequence : decoding) {
    if (room == 0) return;
    if (sequence->draft_in_flight > 0) continue;  // how far it got is not known
    int32_t draft = 0;
    if (drafts && sequence->draft != kPlanAhead) {
      if (sequence->batches_in_flight > 0) continue;
      const int32_t left = sequence->arrival.max_tokens - sequence->generated_planned - 1;
      draft = static_cast<int32_t>(std::min<int64_t>({sequence->draft, left, spare}));
    }
    batch.items.push_back({.sequence = sequence->arrival.id,
                           .work_class = WorkClass::kDecode,
                           .position = sequence->tokens_planned,
                           .tokens = 1 + draft,
                           .sample = true});
    sequence->tokens_planned += 1 + draft;
    sequence->generated_planned += 1 + draft;
    sequence->draft_in_flight = draft;
    ++sequence->batches_in_flight;
    room -= 1 + draft;
    spare -= draft;
  }
}

void LlmScheduler::PlanPrefills(PlannedBatch& batch, int64_t& room) {
  for (const SequenceId id : order_) {
    Running& sequence = running_.at(id);
    if (room == 0) return;
    if (sequence.phase != Phase::kPrefilling ||
        sequence.arrival.prefill_executor != batch.executor) {
      continue;
    }
    const int32_t left = sequence.arrival.prompt_tokens - sequence.tokens_planned;
    const auto tokens =
        static_cast<int32_t>(std::min({int64_t{left}, options_.prefill_chunk_tokens_max, room}));
    const bool last = tokens == left;
    batch.items.push_back({.sequence = id,
                           .work_class = WorkClass::kPrefill,
                           .position = sequence.tokens_planned,
                           .tokens = tokens,
                           .sample = last});
    sequence.tokens_planned += tokens;
    ++sequence.batches_in_flight;
    room -= tokens;
    if (last) {
      sequence.phase = Phase::kHandingOver;
      sequence.generated_planned = 1;
    }
  }
}

bool LlmScheduler::PlansDrafts(int executor) const {
  const auto decodes = [executor](const auto& entry) {
    const Running& sequence = entry.second;
    return sequence.arrival.decode_executor == executor &&
           (sequence.phase == Phase::kHandingOver || sequence.phase == Phase::kDecoding);
  };
  return std::count_if(running_.begin(), running_.end(), decodes) <= options_.draft_sequences_max;
}

TimeUs LlmScheduler::NextDeadlineUs() const {
  TimeUs next = kNoDeadline;
  for (const SequenceArrival& arrival : waiting_) next = std::min(next, arrival.deadline_us);
  for (const auto& [id, sequence] : running_) {
    if (sequence.phase != Phase::kDraining) next = std::min(next, sequence.arrival.deadline_us);
  }
  return next;
}

}  // namespace baton
