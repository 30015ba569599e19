#include "engine/schedule/llm_scheduler.h"

#include <algorithm>
#include <set>
#include <utility>

#include "engine/base/check.h"
#include "engine/base/strings.h"

namespace baton {

namespace {

// A step of so long is not planned while another one runs, where prompts' chunks are cut to a time:
// who arrives meanwhile would wait for both, and the time to plan one in between is nothing to it.
constexpr double kLongStepUs = 20'000;
// So much longer than it may be a step becomes for the end of a short prompt, which would else be a
// step more, with all that a chunk costs before its first token.
constexpr double kEndShare = 1.15;

// Whether a sequence ranks above another.
template <class A, class B>
bool Above(const A& a, const B& b) {
  if (a.arrival.priority != b.arrival.priority) return a.arrival.priority > b.arrival.priority;
  return a.ordinal < b.ordinal;
}

}  // namespace

LlmScheduler::LlmScheduler(const ScheduleOptions& options, KvPools pools, int32_t block_tokens,
                           CachedBlocks cached_blocks, ReloadableBlocks reloadable_blocks)
    : options_(options),
      block_tokens_(pools.block_tokens.empty()
                        ? std::vector<int32_t>(pools.block_counts.size(), block_tokens)
                        : std::move(pools.block_tokens)),
      cached_blocks_(std::move(cached_blocks)),
      reloadable_blocks_(std::move(reloadable_blocks)),
      pool_of_executor_(std::move(pools.of_executor)),
      ahead_blocks_min_(pools.ahead_blocks_min),
      tells_layers_(std::move(pools.tells_layers)),
      pauses_(std::move(pools.pauses)),
      ledgers_(pools.block_counts.begin(), pools.block_counts.end()),
      forecast_(options.admission == "worst_case" ? LengthForecast::WorstCase()
                                                  : LengthForecast::Learning()) {
  BATON_CHECK(block_tokens_.size() == ledgers_.size());
}

int32_t LlmScheduler::BlocksFor(int32_t prompt_tokens, int32_t max_tokens, int pool) const {
  // The last generated token is never fed back, so its K and V are not stored.
  const int64_t positions = int64_t{prompt_tokens} + max_tokens - 1;
  const int64_t step = BlockTokens(pool);
  return static_cast<int32_t>((positions + step - 1) / step);
}

int32_t LlmScheduler::ExpectedBlocks(const SequenceArrival& arrival, int32_t generated,
                                     int pool) const {
  return BlocksFor(arrival.prompt_tokens, forecast_.Expect(generated, arrival.max_tokens), pool);
}

bool LlmScheduler::TellsLayers(int executor) const {
  const auto index = static_cast<size_t>(executor);
  return index < tells_layers_.size() && tells_layers_[index];
}

bool LlmScheduler::Pauses(int executor) const {
  const auto index = static_cast<size_t>(executor);
  return index < pauses_.size() && pauses_[index];
}

int LlmScheduler::PoolOf(int executor) const {
  const auto index = static_cast<size_t>(executor);
  return index < pool_of_executor_.size() ? pool_of_executor_[index] : 0;
}

int32_t LlmScheduler::Reserved(int pool) const {
  int32_t blocks = ledgers_[static_cast<size_t>(pool)].used();
  for (const auto& [id, sequence] : running_) {
    if (!sequence.live()) continue;
    const bool decodes_here = PoolOf(sequence.arrival.decode_executor) == pool;
    if (sequence.pool != pool && !decodes_here) continue;
    const int32_t expected =
        decodes_here ? ExpectedBlocks(sequence.arrival, sequence.generated_planned, pool)
                     : BlocksOf(sequence.prefill_tokens, pool);
    int32_t held = 0;
    if (sequence.pool == pool) {
      held = sequence.blocks.count();
    } else if (sequence.target) {
      held = sequence.target->count();
    }
    blocks += std::max(0, expected - held);
  }
  return blocks;
}

int32_t LlmScheduler::blocks_reserved() const {
  int32_t blocks = 0;
  for (int pool = 0; pool < static_cast<int>(ledgers_.size()); ++pool) blocks += Reserved(pool);
  return blocks;
}

std::vector<BlockId> LlmScheduler::Cached(SequenceId id, int pool) const {
  return cached_blocks_ ? cached_blocks_(id, pool) : std::vector<BlockId>();
}

void LlmScheduler::FreeBlocks(Running& sequence) {
  LedgerOf(sequence).Free(sequence.blocks);
  if (!sequence.target) return;
  ledgers_[static_cast<size_t>(PoolOf(sequence.arrival.decode_executor))].Free(*sequence.target);
  sequence.target.reset();
}

void LlmScheduler::HandOver(SequenceId id) {
  const auto it = running_.find(id);
  if (it == running_.end() || it->second.phase != Phase::kHandingOver) return;
  Running& sequence = it->second;
  const int pool = PoolOf(sequence.arrival.decode_executor);
  if (pool != sequence.pool) {
    BATON_CHECK(sequence.target.has_value());
    LedgerOf(sequence).Free(sequence.blocks);
    sequence.blocks = *std::exchange(sequence.target, std::nullopt);
    sequence.pool = pool;
  }
  sequence.phase = Phase::kDecoding;
}

void LlmScheduler::Stay(SequenceId id) {
  const auto it = running_.find(id);
  if (it == running_.end() || it->second.phase != Phase::kHandingOver) return;
  Running& sequence = it->second;
  if (sequence.target) {
    ledgers_[static_cast<size_t>(PoolOf(sequence.arrival.decode_executor))].Free(*sequence.target);
    sequence.target.reset();
    sequence.target_granted = false;
  }
  sequence.arrival.decode_executor = sequence.arrival.prefill_executor;
  sequence.phase = Phase::kDecoding;
}

void LlmScheduler::Reload(const ScheduleEvents::Reloaded& reloaded) {
  const auto it = running_.find(reloaded.sequence);
  if (it == running_.end() || it->second.phase != Phase::kReloading) return;
  Running& sequence = it->second;
  sequence.tokens_planned += reloaded.blocks * BlockTokens(sequence.pool);
  BATON_CHECK(sequence.tokens_planned < sequence.prefill_tokens &&
              BlocksOf(sequence.tokens_planned, sequence.pool) <= sequence.blocks.count());
  sequence.tokens_computed = sequence.tokens_planned;
  sequence.phase = Phase::kPrefilling;
}

void LlmScheduler::GrantTargets(Plan& plan) {
  for (const SequenceId id : std::vector<SequenceId>(order_)) {
    const auto it = running_.find(id);
    if (it == running_.end()) continue;  // made room for one above
    Running& sequence = it->second;
    const int pool = PoolOf(sequence.arrival.decode_executor);
    if (!sequence.live() || sequence.phase != Phase::kHandingOver || pool == sequence.pool ||
        sequence.target_granted || sequence.batches_in_flight > 0) {
      continue;
    }
    BlockLedger& ledger = ledgers_[static_cast<size_t>(pool)];
    std::vector<BlockId> cached = sequence.target ? std::vector<BlockId>() : Cached(id, pool);
    const int32_t held =
        sequence.target ? sequence.target->count() : static_cast<int32_t>(cached.size());
    const int32_t own = BlocksOf(sequence.tokens_planned, pool) - held;
    BATON_CHECK(own >= 0);
    const int32_t wanted = ledger.CountNew(cached) + own;
    if (ledger.free() < wanted) MakeRoom(sequence, pool, wanted, plan);
    if (ledger.free() < wanted) return;  // nobody below comes first
    if (!sequence.target) sequence.target = ledger.Hold(std::move(cached));
    ledger.Grow(*sequence.target, own);
    sequence.target_granted = true;
    plan.hand_over.push_back(id);
  }
}

void LlmScheduler::GrantAhead(Plan& plan) {
  if (ahead_blocks_min_ == 0) return;
  for (const SequenceId id : order_) {
    Running& sequence = running_.at(id);
    const int pool = PoolOf(sequence.arrival.decode_executor);
    const bool computes = sequence.phase == Phase::kPrefilling ||
                          (sequence.phase == Phase::kHandingOver && sequence.batches_in_flight > 0);
    if (!sequence.live() || !computes || pool == sequence.pool) continue;
    // Whole blocks, here and there: nothing is written to them any more.
    const int32_t step = std::max(BlockTokens(sequence.pool), BlockTokens(pool));
    const int32_t computed = sequence.tokens_computed / step * step;
    if (GrantAhead(id, sequence, computed)) {
      plan.ahead.push_back({.sequence = id, .tokens = computed});
    }
    const bool tells = TellsLayers(sequence.arrival.prefill_executor);
    const bool last_chunk =
        sequence.phase == Phase::kHandingOver && sequence.batches_in_flight == 1;
    if (tells && last_chunk && GrantAhead(id, sequence, sequence.tokens_planned)) {
      plan.ahead.push_back({.sequence = id, .tokens = sequence.tokens_planned, .layers = true});
    }
  }
}

bool LlmScheduler::GrantAhead(SequenceId id, Running& sequence, int32_t tokens) {
  const int pool = PoolOf(sequence.arrival.decode_executor);
  const int32_t had = sequence.target ? sequence.target->count() : 0;
  if (BlocksOf(tokens - had * BlockTokens(pool), sequence.pool) < ahead_blocks_min_) return false;
  BlockLedger& ledger = ledgers_[static_cast<size_t>(pool)];
  if (Reserved(pool) > ledger.block_count()) return false;  // others are expected to want them
  std::vector<BlockId> cached = sequence.target ? std::vector<BlockId>() : Cached(id, pool);
  const int32_t held = had + static_cast<int32_t>(cached.size());
  const int32_t own = std::max(0, BlocksOf(tokens, pool) - held);
  if (ledger.free() < ledger.CountNew(cached) + own) return false;
  if (!sequence.target) sequence.target = ledger.Hold(std::move(cached));
  ledger.Grow(*sequence.target, own);
  return true;
}

Plan LlmScheduler::Step(const ScheduleEvents& events, TimeUs now_us) {
  Plan plan;
  for (const BatchCompletion& completion : events.completed) Complete(completion);
  for (const SequenceId id : events.handed_over) HandOver(id);
  for (const SequenceId id : events.stay) Stay(id);
  for (const ScheduleEvents::Reloaded& reloaded : events.reloaded) Reload(reloaded);
  for (const SequenceArrival& arrival : events.arrived) {
    if (arrival.continues) {
      // It was admitted before: no bound refuses it.
      const auto before = running_.find(*arrival.continues);
      const uint64_t ordinal = before != running_.end() ? before->second.ordinal : next_ordinal_++;
      Queue({.arrival = arrival, .ordinal = ordinal, .generated = arrival.generated});
      continue;
    }
    if (waiting_count() >= options_.sequences_waiting_max) {
      plan.ended.push_back({arrival.id, absl::ResourceExhaustedError(StrCat(
                                            "schedule.sequences_waiting_max: ", waiting_.size(),
                                            " sequences are waiting already; retry in 1000 ms"))});
      continue;
    }
    Queue({.arrival = arrival, .ordinal = next_ordinal_++});
  }
  for (const SequenceId id : events.cancelled) {
    End(id, absl::CancelledError("the client cancelled the request"), plan);
  }
  Expire(now_us, plan);
  Release(plan);
  GrantTargets(plan);
  Admit(plan);
  Fill(plan);
  GrantAhead(plan);
  return plan;
}

void LlmScheduler::Complete(const BatchCompletion& completion) {
  if (completion.pausing) {
    PausingBatches& pausing = pausing_[completion.executor];
    (completion.overtakes ? pausing.overtaking : pausing.one) = false;
  } else {
    --steps_[completion.executor].in_flight;
  }
  step_forecasts_[completion.executor].Observe(completion.decode_tokens, completion.prompt_tokens,
                                               completion.run_us);
  if (completion.prompt_tokens == 0) {
    guess_costs_[completion.executor].Observe(completion.decode_tokens, completion.run_us);
  }
  for (const BatchCompletion::Item& item : completion.items) {
    Running& sequence = running_.at(item.sequence);
    --sequence.batches_in_flight;
    if (completion.pausing) sequence.pausing = false;
    sequence.generated += item.generated;
    sequence.tokens_computed += item.prefilled;
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
      // What gave nothing failed, or was computed in vain.
      if (sequence.phase != Phase::kDraining && item.generated > 0) {
        forecast_.ObserveEnd(sequence.generated, sequence.arrival.max_tokens);
      }
      sequence.phase = Phase::kDraining;
    }
  }
}

void LlmScheduler::Queue(Waiting sequence) {
  const auto place =
      std::find_if(waiting_.begin(), waiting_.end(),
                   [&sequence](const Waiting& other) { return Above(sequence, other); });
  waiting_.insert(place, sequence);
}

void LlmScheduler::End(SequenceId id, absl::Status status, Plan& plan) {
  const auto waiting = std::find_if(waiting_.begin(), waiting_.end(),
                                    [id](const Waiting& w) { return w.arrival.id == id; });
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
  for (const Waiting& waiting : waiting_) {
    if (waiting.arrival.deadline_us <= now_us) expired.push_back(waiting.arrival.id);
  }
  for (const auto& [id, sequence] : running_) {
    if (sequence.arrival.deadline_us <= now_us) expired.push_back(id);
  }
  for (const SequenceId id : expired) {
    End(id, absl::DeadlineExceededError("the request's deadline has passed"), plan);
  }
}

void LlmScheduler::Release(Plan& plan) {
  const std::vector<SequenceId> order = order_;
  for (const SequenceId id : order) {
    Running& sequence = running_.at(id);
    if (sequence.phase != Phase::kDraining || sequence.batches_in_flight > 0) continue;
    FreeBlocks(sequence);
    plan.released.push_back(id);
    std::erase(order_, id);
    running_.erase(id);
  }
  bool above = false;  // somebody who may still want the blocks
  for (const SequenceId id : std::vector<SequenceId>(order_)) {
    Running& sequence = running_.at(id);
    if (sequence.live()) above = true;
    if (!sequence.preempting || sequence.batches_in_flight > 0) continue;
    if (!above || LedgerOf(sequence).free() > 0) {
      sequence.preempting = false;  // others have made room meanwhile
      above = true;
    } else {
      Preempt(id, plan);
    }
  }
}

void LlmScheduler::Preempt(SequenceId id, Plan& plan) {
  const auto it = running_.find(id);
  Running& sequence = it->second;
  BATON_CHECK(sequence.batches_in_flight == 0 && sequence.generated == sequence.generated_planned);
  FreeBlocks(sequence);
  std::erase(plan.hand_over, id);
  std::erase_if(plan.reload, [id](const Plan::Reload& reload) { return reload.sequence == id; });
  Queue(
      {.arrival = sequence.arrival, .ordinal = sequence.ordinal, .generated = sequence.generated});
  if (std::erase(plan.admitted, id) == 0) {  // else nothing has come of it yet
    forecast_.ObservePreemption();
    plan.preempted.push_back(id);
  }
  std::erase(order_, id);
  running_.erase(it);
}

void LlmScheduler::Admit(Plan& plan) {
  while (!waiting_.empty() && running_count() < options_.sequences_running_max) {
    const Waiting& next = waiting_.front();
    const SequenceArrival& arrival = next.arrival;
    const int pool = PoolOf(arrival.prefill_executor);
    const int target = PoolOf(arrival.decode_executor);
    BlockLedger& ledger = ledgers_[static_cast<size_t>(pool)];
    const int32_t target_count = ledgers_[static_cast<size_t>(target)].block_count();
    const auto worst = [&](int of) {
      return BlocksFor(arrival.prompt_tokens, arrival.max_tokens, of);
    };
    BATON_CHECK(worst(pool) <= ledger.block_count() && worst(target) <= target_count);
    std::vector<BlockId> cached = Cached(arrival.id, pool);
    const auto cached_count = static_cast<int32_t>(cached.size());
    const int32_t prefill_tokens = arrival.prompt_tokens + next.generated;
    BATON_CHECK(cached_count * BlockTokens(pool) < prefill_tokens);
    const int32_t expected = ExpectedBlocks(arrival, next.generated, target);
    const int32_t blocks =
        (pool == target ? expected : BlocksOf(prefill_tokens, pool)) - cached_count;
    if (Reserved(pool) + ledger.CountNew(cached) + blocks > ledger.block_count()) return;
    if (pool != target && Reserved(target) + expected > target_count) return;
    plan.admitted.push_back(arrival.id);
    const auto [it, added] =
        running_.emplace(arrival.id, Running{.arrival = arrival,
                                             .ordinal = next.ordinal,
                                             .prefill_tokens = prefill_tokens,
                                             .tokens_computed = cached_count * BlockTokens(pool),
                                             .tokens_planned = cached_count * BlockTokens(pool),
                                             .generated_planned = next.generated,
                                             .generated = next.generated,
                                             .pool = pool,
                                             .blocks = ledger.Hold(std::move(cached))});
    const auto place = std::find_if(order_.begin(), order_.end(), [&](SequenceId other) {
      return Above(it->second, running_.at(other));
    });
    order_.insert(place, arrival.id);
    if (const int32_t back = reloadable_blocks_ ? reloadable_blocks_(arrival.id, pool) : 0;
        back > 0) {
      Running& sequence = it->second;
      BATON_CHECK((cached_count + back) * BlockTokens(pool) < prefill_tokens);
      ledger.Grow(sequence.blocks, back);  // of the blocks that were found to be free for it
      sequence.phase = Phase::kReloading;
      plan.reload.push_back({.sequence = arrival.id, .blocks = back});
    }
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
    PlanStep(executor, plan);
    if (Pauses(executor)) PlanPausing(executor, plan);
  }
}

void LlmScheduler::PlanStep(int executor, Plan& plan) {
  Steps& steps = steps_[executor];
  const PausingBatches& pausing = pausing_[executor];
  if (steps.in_flight >= options_.plans_in_flight_max) return;
  if (steps.in_flight > 0 && (steps.long_step || pausing.one || pausing.overtaking)) return;
  PlannedBatch batch{.executor = executor, .items = {}};
  int64_t room = options_.step_tokens_max;
  PlanDecodes(batch, room, plan);
  steps.long_step = PlanPrefills(batch, room, plan);
  if (batch.items.empty()) return;
  ++steps.in_flight;
  plan.batches.push_back(std::move(batch));
}

void LlmScheduler::PlanDecodes(PlannedBatch& batch, int64_t& room, Plan& plan) {
  std::vector<SequenceId> decoding;
  for (const SequenceId id : order_) {
    const Running& sequence = running_.at(id);
    if (sequence.live() && sequence.phase == Phase::kDecoding &&
        sequence.arrival.decode_executor == batch.executor &&
        sequence.generated_planned < sequence.arrival.max_tokens) {
      decoding.push_back(id);
    }
  }
  // Guesses fill a step that would be too small to keep the device busy, and no other.
  const bool drafts = std::ssize(decoding) <= options_.draft_sequences_max;
  // Every sequence's next token has its place before anybody's guesses.
  int64_t spare = std::max<int64_t>(0, room - std::ssize(decoding));
  for (const SequenceId id : decoding) {
    if (room == 0) return;
    const auto it = running_.find(id);
    if (it == running_.end() || !it->second.live()) continue;  // made room for one above
    Running& sequence = it->second;
    if (sequence.draft_in_flight > 0) continue;  // how far it got is not known
    int32_t draft = 0;
    if (drafts && sequence.draft != kPlanAhead) {
      if (sequence.batches_in_flight > 0) continue;
      const int32_t left = sequence.arrival.max_tokens - sequence.generated_planned - 1;
      draft = static_cast<int32_t>(std::min<int64_t>({sequence.draft, left, spare}));
    }
    const int32_t tokens = Grant(sequence, 1 + draft, plan);
    if (tokens == 0) continue;
    batch.items.push_back({.sequence = id,
                           .work_class = WorkClass::kDecode,
                           .position = sequence.tokens_planned,
                           .tokens = tokens,
                           .sample = true});
    sequence.tokens_planned += tokens;
    sequence.generated_planned += tokens;
    sequence.draft_in_flight = tokens - 1;
    ++sequence.batches_in_flight;
    room -= tokens;
    spare -= tokens - 1;
  }
}

std::vector<SequenceId> LlmScheduler::Prefilling(int executor) const {
  std::vector<SequenceId> prefilling;
  for (const SequenceId id : order_) {
    const Running& sequence = running_.at(id);
    if (sequence.live() && sequence.phase == Phase::kPrefilling && !sequence.pausing &&
        sequence.arrival.prefill_executor == executor) {
      prefilling.push_back(id);
    }
  }
  return prefilling;
}

int64_t LlmScheduler::DecodingCount(int executor) const {
  return std::count_if(running_.begin(), running_.end(), [executor](const auto& entry) {
    const Running& sequence = entry.second;
    return sequence.live() && sequence.phase == Phase::kDecoding &&
           sequence.arrival.decode_executor == executor;
  });
}

int64_t LlmScheduler::BoundedTokens(int executor, int64_t decodes, int64_t prefilling) const {
  if (decodes == 0) return INT64_MAX;
  const auto steps = step_forecasts_.find(executor);
  const int64_t tokens = steps == step_forecasts_.end()
                             ? INT64_MAX
                             : steps->second.PromptTokens(options_.decode_stall_percent_max,
                                                          decodes, decodes + prefilling);
  // What a chunk takes is learnt from one that decodes need not wait for.
  return tokens == INT64_MAX && Pauses(executor) ? StepForecast::kTokensMin : tokens;
}

bool LlmScheduler::PlanPrefills(PlannedBatch& batch, int64_t& room, Plan& plan) {
  std::vector<SequenceId> prefilling = Prefilling(batch.executor);
  if (prefilling.empty()) return false;
  const StepForecast& steps = step_forecasts_[batch.executor];
  const int64_t decodes = options_.step_tokens_max - room;
  // Those whose guesses are being verified wait for this step, too.
  const int64_t beside =
      Pauses(batch.executor) ? std::max(decodes, DecodingCount(batch.executor)) : decodes;
  int64_t bounded = BoundedTokens(batch.executor, beside, std::ssize(prefilling));
  if (bounded >= room) {
    for (const SequenceId id : prefilling) PlanPrefill(id, batch, room, plan);
    return false;
  }
  if (Pauses(batch.executor)) {
    return PlanShortPrefills(batch, std::move(prefilling), bounded, plan);
  }
  const SequenceId highest = prefilling.front();
  PrefillShare& share = shares_[batch.executor];
  if (share.highest != highest) share = {.highest = highest};
  std::sort(prefilling.begin(), prefilling.end(),
            [this](SequenceId a, SequenceId b) { return PrefillsBefore(a, b); });
  // Kept for the highest: half, but for what it has had of earlier steps beyond that.
  int64_t kept = std::max<int64_t>(1, bounded / 2 - share.ahead);
  const Running& shortest = running_.at(prefilling.front());
  const int64_t to_end = shortest.prefill_tokens - shortest.tokens_planned + kept;
  if (prefilling.front() != highest && to_end > bounded && to_end <= room &&
      steps.StepUs(decodes, to_end) <= kEndShare * steps.StepUs(decodes, bounded)) {
    bounded = to_end;
  }
  room = bounded - kept;
  int64_t to_highest = 0;
  for (const SequenceId id : prefilling) {
    if (id == highest) room += std::exchange(kept, 0);
    const int64_t before = room;
    PlanPrefill(id, batch, room, plan);
    if (id == highest) to_highest = before - room;
  }
  const int64_t planned = bounded - kept - room;
  share.ahead = std::clamp<int64_t>(share.ahead + to_highest - planned / 2, 0, bounded / 2);
  return steps.StepUs(decodes, planned) >= kLongStepUs;
}

bool LlmScheduler::PlanShortPrefills(PlannedBatch& batch, std::vector<SequenceId> prefilling,
                                     int64_t room, Plan& plan) {
  const int64_t decodes = std::ssize(batch.items);
  const int64_t bounded = room;
  std::erase_if(prefilling, [&](SequenceId id) { return Left(id) > bounded; });
  std::sort(prefilling.begin(), prefilling.end(),
            [this](SequenceId a, SequenceId b) { return PrefillsBefore(a, b); });
  for (const SequenceId id : prefilling) PlanPrefill(id, batch, room, plan);
  return room < bounded &&
         step_forecasts_[batch.executor].StepUs(decodes, bounded - room) >= kLongStepUs;
}

void LlmScheduler::PlanPausing(int executor, Plan& plan) {
  PausingBatches& pausing = pausing_[executor];
  const int64_t decodes = DecodingCount(executor);
  std::vector<SequenceId> prefilling = Prefilling(executor);
  const auto running = decodes + std::ssize(prefilling);
  if ((pausing.one && pausing.overtaking) || decodes == 0 || prefilling.empty()) return;
  const int64_t bounded = BoundedTokens(executor, decodes, std::ssize(prefilling));
  const SequenceId highest = prefilling.front();
  int64_t room = options_.step_tokens_max;
  std::erase_if(prefilling, [&](SequenceId id) { return Left(id) <= bounded; });
  if (pausing.one) {
    room = std::min(room, options_.prefill_chunk_tokens_max) / 2;
    std::erase_if(prefilling, [&](SequenceId id) {
      return Left(id) > room || running_.at(id).arrival.priority < pausing.priority;
    });
  }
  if (prefilling.empty()) return;
  std::sort(prefilling.begin(), prefilling.end(),
            [this](SequenceId a, SequenceId b) { return PrefillsBefore(a, b); });
  if (!pausing.one && pausing.highest_next) {
    const auto place = std::find(prefilling.begin(), prefilling.end(), highest);
    if (place != prefilling.end()) std::rotate(prefilling.begin(), place, place + 1);
  }
  const double spare_us =
      step_forecasts_[executor].SpareUs(options_.decode_stall_percent_max, decodes, running);
  PlannedBatch batch{.executor = executor,
                     .items = {},
                     .pause_after_us = static_cast<TimeUs>(std::max(0.0, spare_us)),
                     .overtakes = pausing.one};
  for (const SequenceId id : prefilling) PlanPrefill(id, batch, room, plan);
  if (batch.items.empty()) return;
  if (pausing.one) {
    pausing.overtaking = true;
  } else {
    pausing.one = true;
    pausing.highest_next = prefilling.size() == 1 || !pausing.highest_next;
    pausing.priority = INT32_MIN;
  }
  for (const PlannedItem& item : batch.items) {
    Running& sequence = running_.at(item.sequence);
    sequence.pausing = true;
    if (!batch.overtakes) pausing.priority = std::max(pausing.priority, sequence.arrival.priority);
  }
  plan.batches.push_back(std::move(batch));
}

int64_t LlmScheduler::Left(SequenceId id) const {
  const Running& sequence = running_.at(id);
  return sequence.prefill_tokens - sequence.tokens_planned;
}

bool LlmScheduler::PrefillsBefore(SequenceId a, SequenceId b) const {
  const Running& x = running_.at(a);
  const Running& y = running_.at(b);
  if (x.arrival.priority != y.arrival.priority) return x.arrival.priority > y.arrival.priority;
  const int32_t left_x = x.prefill_tokens - x.tokens_planned;
  const int32_t left_y = y.prefill_tokens - y.tokens_planned;
  return left_x != left_y ? left_x < left_y : x.ordinal < y.ordinal;
}

void LlmScheduler::PlanPrefill(SequenceId id, PlannedBatch& batch, int64_t& room, Plan& plan) {
  if (room == 0) return;
  const auto it = running_.find(id);
  if (it == running_.end()) return;  // made room for one above
  Running& sequence = it->second;
  if (!sequence.live() || sequence.phase != Phase::kPrefilling) return;
  const int32_t left = sequence.prefill_tokens - sequence.tokens_planned;
  const auto wanted =
      static_cast<int32_t>(std::min({int64_t{left}, options_.prefill_chunk_tokens_max, room}));
  const int32_t tokens = Grant(sequence, wanted, plan);
  if (tokens == 0) return;
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
    ++sequence.generated_planned;
  }
}

int32_t LlmScheduler::Grant(Running& sequence, int32_t tokens, Plan& plan) {
  const auto capacity = [&] {
    const int64_t blocks = int64_t{sequence.blocks.count()} + LedgerOf(sequence).free();
    return blocks * BlockTokens(sequence.pool) - sequence.tokens_planned;
  };
  if (capacity() < 1) MakeRoom(sequence, sequence.pool, 1, plan);
  tokens = static_cast<int32_t>(std::clamp<int64_t>(capacity(), 0, tokens));
  const int32_t positions = sequence.tokens_planned + tokens;
  const int32_t blocks = BlocksOf(positions, sequence.pool);
  LedgerOf(sequence).Grow(sequence.blocks, std::max(0, blocks - sequence.blocks.count()));
  return tokens;
}

void LlmScheduler::MakeRoom(const Running& sequence, int pool, int32_t blocks, Plan& plan) {
  const auto here = [this, pool](const Running& other) {
    return other.pool == pool || (other.target && PoolOf(other.arrival.decode_executor) == pool);
  };
  const auto leaves = [&](const auto& entry) {
    const Running& other = entry.second;
    return !other.live() && here(other) && (other.pool != pool || other.blocks.own > 0);
  };
  if (std::any_of(running_.begin(), running_.end(), leaves)) return;  // soon
  while (ledgers_[static_cast<size_t>(pool)].free() < blocks) {
    const auto victim = std::find_if(order_.rbegin(), order_.rend(), [&](SequenceId id) {
      return running_.at(id).live() && here(running_.at(id));
    });
    if (victim == order_.rend() || !Above(sequence, running_.at(*victim))) return;
    if (running_.at(*victim).batches_in_flight > 0) {
      running_.at(*victim).preempting = true;
      return;
    }
    Preempt(*victim, plan);
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

double LlmScheduler::GuessShare(int executor) const {
  const auto cost = guess_costs_.find(executor);
  return cost == guess_costs_.end() ? GuessCost::kUnknown : cost->second.Share();
}

TimeUs LlmScheduler::NextDeadlineUs() const {
  TimeUs next = kNoDeadline;
  for (const Waiting& waiting : waiting_) next = std::min(next, waiting.arrival.deadline_us);
  for (const auto& [id, sequence] : running_) {
    if (sequence.phase != Phase::kDraining) next = std::min(next, sequence.arrival.deadline_us);
  }
  return next;
}

}  // namespace baton
