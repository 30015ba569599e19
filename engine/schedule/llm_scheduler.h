#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "engine/base/clock.h"
#include "engine/base/ids.h"
#include "engine/request/work.h"
#include "engine/schedule/block_ledger.h"
#include "engine/schedule/guess_cost.h"
#include "engine/schedule/length_forecast.h"
#include "engine/schedule/schedule_options.h"
#include "engine/schedule/step_forecast.h"

namespace baton {

// A sequence that wants to be generated. Its prompt is not empty, max_tokens is at least 1, and its
// worst case fits the pool (the caller has checked that).
struct SequenceArrival {
  SequenceId id;
  int32_t prompt_tokens = 0;
  int32_t max_tokens = 0;
  int32_t priority = 0;  // higher first
  TimeUs deadline_us = kNoDeadline;
  int prefill_executor = 0;  // indices of the caller's choosing
  int decode_executor = 0;
  // Of one that goes on elsewhere, in the rank of the sequence whose place it takes.
  int32_t generated = 0;  // tokens of its text beside the prompt; below max_tokens
  std::optional<SequenceId> continues = {};
};

// The memories that executors keep KV blocks in.
struct KvPools {
  std::vector<int32_t> block_counts;
  std::vector<int> of_executor = {};  // by executor; beyond it: the first pool
  // Blocks, of where they are computed, that make a copy ahead worth it (Plan::Ahead); 0: nothing
  // is copied ahead.
  int32_t ahead_blocks_min = 0;
  // Positions in a block, powers of two, by pool; empty: as many in each as the scheduler is told.
  std::vector<int32_t> block_tokens = {};
  // By executor: it tells how many layers of a batch are done; beyond it: it does not.
  std::vector<bool> tells_layers = {};
  // By executor: it pauses a batch with PlannedBatch::pause_after_us; beyond it: it does not.
  std::vector<bool> pauses = {};
};

// How many guesses there are for the tokens after a sequence's next one. kPlanAhead: nobody
// guesses, so that its next step may be planned before the last one is back.
inline constexpr int32_t kPlanAhead = -1;

// A batch that an executor has completed.
struct BatchCompletion {
  int executor = 0;
  bool pausing = false;    // it was planned with pause_after_us
  bool overtakes = false;  // and to overtake
  struct Item {
    SequenceId sequence;
    bool ended = false;     // reached end-of-text, or failed
    int32_t generated = 0;  // tokens that it gave: of a decode, 1 and the guesses that were right
    int32_t prefilled = 0;  // of a prefill: tokens whose K and V are computed now
    int32_t draft = kPlanAhead;
  };
  std::vector<Item> items;  // all that were planned
  int64_t decode_tokens = 0;
  int64_t prompt_tokens = 0;
  TimeUs run_us = 0;  // of the executor; 0: not known
};

// Everything that happened since the last step.
struct ScheduleEvents {
  std::vector<SequenceArrival> arrived;
  std::vector<BatchCompletion> completed;
  std::vector<SequenceId> handed_over;  // their KV is where they decode
  std::vector<SequenceId> stay;         // handed nothing over, and decode where they prefilled
  // What a plan had brought back, in blocks: all that it named, or fewer where that failed.
  struct Reloaded {
    SequenceId sequence;
    int32_t blocks = 0;
  };
  std::vector<Reloaded> reloaded;
  std::vector<SequenceId> cancelled;
};

struct PlannedItem {
  SequenceId sequence;
  WorkClass work_class = WorkClass::kDecode;  // kPrefill or kDecode
  int32_t position = 0;                       // of the first token
  int32_t tokens = 0;                         // of a decode: 1 and the guesses to verify
  bool sample = false;
};

struct PlannedBatch {
  int executor = 0;
  std::vector<PlannedItem> items;  // not empty
  // Of prompts alone: each time that it has run so long it is paused for the batches planned behind
  // it.
  std::optional<TimeUs> pause_after_us = {};
  bool overtakes = false;  // of one that pauses: the one before it, which does not, pauses for it
};

// Tokens of a prompt that one step takes at most.
inline int32_t ChunkTokensMax(const ScheduleOptions& options) {
  return static_cast<int32_t>(std::min(options.prefill_chunk_tokens_max, options.step_tokens_max));
}

// What is to be done now, in this order.
struct Plan {
  struct Ended {
    SequenceId sequence;
    absl::Status status;  // RESOURCE_EXHAUSTED, DEADLINE_EXCEEDED or CANCELLED
  };
  std::vector<Ended> ended;          // refused, expired or cancelled: tell the client now
  std::vector<SequenceId> released;  // nothing in flight names them: free their blocks and slots
  // Nothing in flight names them: free their blocks and slots; they will be admitted again, to be
  // computed from their prompt and what they have generated.
  std::vector<SequenceId> preempted;
  std::vector<SequenceId> admitted;  // take slots, and of the prefix cache what was asked for
  // Of those admitted: so many blocks behind what the prefix cache has are granted, for what a tier
  // below it has: bring that back, and say reloaded. Until then nothing of them is computed.
  struct Reload {
    SequenceId sequence;
    int32_t blocks = 0;
  };
  std::vector<Reload> reload;
  // Still prefilled in another pool than they decode in; for the first so many tokens of their text
  // blocks are granted where they decode, before anybody waits for them: take of its prefix cache
  // what was asked for, where that was not done yet, and copy what is missing of these. They are
  // computed, and fill whole blocks in both pools; or, with `layers`, they are all of the text,
  // whose last chunk is in flight on an executor that tells layers: copy what is done, layer by
  // layer.
  struct Ahead {
    SequenceId sequence;
    int32_t tokens = 0;
    bool layers = false;
  };
  std::vector<Ahead> ahead;
  // Prefilled in another pool than they decode in; blocks for what they have are granted there:
  // take of its prefix cache what was asked for, copy what was not copied ahead, and say
  // handed_over.
  std::vector<SequenceId> hand_over;
  std::vector<PlannedBatch> batches;
};

// Continuous batching of one model's sequences over its executors. Pure: no thread, no clock, no
// executor; the same calls give the same plans.
//
// Each step fills, per executor with room for another plan, one batch of at most step_tokens_max
// tokens: every running sequence's next token first, then prompt chunks. Plans name slots, not
// token values, so a sequence's next token is planned while its last one is still being computed;
// what was planned beyond end-of-text is computed in vain and dropped. Where the caller guesses a
// sequence's tokens, one step of it at a time is planned, the guesses with it.
//
// Prompt chunks beside decodes are cut so that the step takes no longer than the options allow, by
// what the executor's steps took before. Among prompts of one priority the one with the least left
// goes first then: a short one must not wait for a long one, which is not done in this step anyhow;
// but half of the room is for the highest in rank, over time: under more prompts than can be
// computed the long ones would otherwise wait for all of the short ones. While a long step of that
// kind is in flight no other is planned.
//
// Where an executor can pause a batch, only short prompts go with the decodes. The others are not
// cut, but have batches of their own, one at a time, that pause for the decodes after the time that
// the options leave between these; the highest in rank and the one with the least left are in turn
// the first in it. Who needs less than half of such a batch does not wait for the next, but
// overtakes it with one more. While any is in flight one step beside it is planned at a time: who
// arrives has a place in the next one.
//
// Sequences rank by priority, then arrival. Waiting ones are admitted by rank when the blocks that
// all admitted ones are expected to need can be had (LengthForecast; under worst_case all of
// max_tokens); none overtakes a higher one that does not fit yet. Where blocks run out
// nevertheless, the lowest in rank is preempted: what it has in flight comes back as usual, then
// its blocks are freed and it waits, in its rank, to be computed again from its prompt and what it
// has generated. It never makes room for one below it, so the highest always gets on, and with it
// everybody in turn.
//
// Executors with KV blocks in different memories have a pool each. A sequence is admitted when both
// its pools can have it; where a tier below has more of its text than the prefix cache, it is
// prefilled once that is back; after the prefill it waits, in its rank, until it is granted blocks
// where it decodes, and gives back the others when it has been handed over. Where blocks are free
// there that nobody is expected to need, it is granted them while its prompt is still computed.
class LlmScheduler {
 public:
  // The blocks of a pool that hold the K and V of a sequence's first tokens already, whole blocks,
  // but not of all of its prompt and generated tokens. Asked of a waiting sequence; no promise to
  // admit it.
  using CachedBlocks = std::function<std::vector<BlockId>(SequenceId, int pool)>;

  // How many whole blocks behind those a tier below the pool could bring back, not of all of the
  // sequence's tokens either. Asked of a sequence that is being admitted.
  using ReloadableBlocks = std::function<int32_t(SequenceId, int pool)>;

  // Empty functions: none ever. `block_tokens`: of each pool, unless `pools` says.
  LlmScheduler(const ScheduleOptions& options, KvPools pools, int32_t block_tokens,
               CachedBlocks cached_blocks = {}, ReloadableBlocks reloadable_blocks = {});
  // Of one pool.
  LlmScheduler(const ScheduleOptions& options, int32_t block_count, int32_t block_tokens,
               CachedBlocks cached_blocks = {})
      : LlmScheduler(options, KvPools{.block_counts = {block_count}}, block_tokens,
                     std::move(cached_blocks)) {}

  Plan Step(const ScheduleEvents& events, TimeUs now_us);

  // The soonest moment at which Step would do something without any event; kNoDeadline: none.
  TimeUs NextDeadlineUs() const;

  // Whether so few sequences decode on an executor that their guesses would be planned.
  bool PlansDrafts(int executor) const;
  // What each guess adds to a step there, as a share of one without.
  double GuessShare(int executor) const;

  int32_t waiting_count() const { return static_cast<int32_t>(waiting_.size()); }
  int32_t running_count() const { return static_cast<int32_t>(running_.size()); }
  // Held, and expected to be held by those that run; of all pools, or of one.
  int32_t blocks_reserved() const;
  int32_t blocks_reserved(int pool) const { return Reserved(pool); }
  // Blocks a sequence needs of a pool in the worst case.
  int32_t BlocksFor(int32_t prompt_tokens, int32_t max_tokens, int pool = 0) const;

 private:
  // A sequence's way: waiting -> reloading -> prefilling -> handing over -> decoding -> draining ->
  // gone, where most have nothing to reload; from the four in the middle back to waiting when it is
  // preempted.
  enum class Phase : uint8_t {
    kReloading,    // blocks of its text are brought back; waits for reloaded
    kPrefilling,   // chunks of the prompt, and of what was generated before, are planned
    kHandingOver,  // all of these are planned; waits for handed_over
    kDecoding,     // next tokens are planned until max_tokens
    kDraining,     // ended; waits for the batches in flight that name it
  };
  struct Waiting {
    SequenceArrival arrival;
    uint64_t ordinal = 0;   // of arrival
    int32_t generated = 0;  // before it was preempted
  };
  struct Running {
    SequenceArrival arrival;
    uint64_t ordinal = 0;
    Phase phase = Phase::kPrefilling;
    bool preempting = false;        // nothing is planned; waits for the batches in flight
    bool pausing = false;           // its chunk in flight pauses: nothing is planned behind it
    int32_t prefill_tokens = 0;     // the prompt's, and those generated before
    int32_t tokens_computed = 0;    // of the prefill, K and V
    int32_t tokens_planned = 0;     // positions whose K and V are computed or in flight
    int32_t generated_planned = 0;  // tokens sampled or in flight
    int32_t generated = 0;          // tokens sampled
    int32_t batches_in_flight = 0;
    int pool = 0;  // where its blocks are
    BlockLedger::Holding blocks;
    std::optional<BlockLedger::Holding> target = {};  // where it decodes, while it is handed over
    bool target_granted = false;                      // for all of its text
    int32_t draft = kPlanAhead;                       // guesses for the next decode
    int32_t draft_in_flight = 0;                      // guesses being verified

    bool live() const { return !preempting && phase != Phase::kDraining; }
  };
  // Of one executor, batches that do not pause.
  struct Steps {
    int32_t in_flight = 0;
    bool long_step = false;  // the last one: none is planned while it is in flight
  };
  // Of the room for prompts beside decodes, on one executor that does not pause.
  struct PrefillShare {
    SequenceId highest = {};  // in rank, of those that prefill
    int64_t ahead = 0;        // tokens that it has had beyond half of the room
  };
  // Of one executor that pauses.
  struct PausingBatches {
    bool one = false;          // is in flight
    bool overtaking = false;   // and one that overtakes such a one
    int32_t priority = 0;      // the highest of those in the former
    bool highest_next = true;  // who is to be the first in such a one; else it is the shortest
  };

  void Complete(const BatchCompletion& completion);
  void Queue(Waiting sequence);
  void End(SequenceId id, absl::Status status, Plan& plan);
  void Expire(TimeUs now_us, Plan& plan);
  void Release(Plan& plan);
  void Admit(Plan& plan);
  void Fill(Plan& plan);
  // Decodes, and the prompts' chunks beside them.
  void PlanStep(int executor, Plan& plan);
  void PlanDecodes(PlannedBatch& batch, int64_t& room, Plan& plan);
  // Whether chunks were cut to a time, and the step is a long one nevertheless.
  bool PlanPrefills(PlannedBatch& batch, int64_t& room, Plan& plan);
  // Where batches can pause: of prompts that end in the step. As PlanPrefills.
  bool PlanShortPrefills(PlannedBatch& batch, std::vector<SequenceId> prefilling, int64_t room,
                         Plan& plan);
  // A batch that pauses, of the prompts that do not fit beside the decodes; and one that overtakes.
  void PlanPausing(int executor, Plan& plan);
  // Those that wait for a chunk there, by rank.
  std::vector<SequenceId> Prefilling(int executor) const;
  int64_t Left(SequenceId id) const;  // tokens of its prompt that are not planned yet
  int64_t DecodingCount(int executor) const;
  // Prompt tokens that a step with so many decodes has room for; INT64_MAX: any number.
  int64_t BoundedTokens(int executor, int64_t decodes, int64_t prefilling) const;
  // By priority, then by what is left of the prompt.
  bool PrefillsBefore(SequenceId a, SequenceId b) const;
  // Plans a chunk of at most `room` tokens of a sequence that may have been preempted meanwhile.
  void PlanPrefill(SequenceId id, PlannedBatch& batch, int64_t& room, Plan& plan);
  // Gives the sequence blocks for as many of its next `tokens` as it can have: how many those are.
  int32_t Grant(Running& sequence, int32_t tokens, Plan& plan);
  // Frees blocks of those that rank below the sequence until there are so many, or has them freed
  // when they drain.
  void MakeRoom(const Running& sequence, int pool, int32_t blocks, Plan& plan);
  // Blocks in the pools where they decode, for those that have prefilled in another one.
  void GrantTargets(Plan& plan);
  // There, for what is computed of those that still prefill; of what is free, from nobody.
  void GrantAhead(Plan& plan);
  // Blocks where it decodes, of what is free there, for the first tokens of its text; false where
  // that is not worth it, or there are none.
  bool GrantAhead(SequenceId id, Running& sequence, int32_t tokens);
  void FreeBlocks(Running& sequence);
  void HandOver(SequenceId id);
  void Stay(SequenceId id);
  void Reload(const ScheduleEvents::Reloaded& reloaded);
  int PoolOf(int executor) const;
  BlockLedger& LedgerOf(const Running& sequence) {
    return ledgers_[static_cast<size_t>(sequence.pool)];
  }
  // Held in a pool, and expected to be by those that run.
  int32_t Reserved(int pool) const;
  std::vector<BlockId> Cached(SequenceId id, int pool) const;
  int32_t BlockTokens(int pool) const { return block_tokens_[static_cast<size_t>(pool)]; }
  int32_t BlocksOf(int32_t tokens, int pool) const {
    return (tokens + BlockTokens(pool) - 1) / BlockTokens(pool);
  }
  bool TellsLayers(int executor) const;
  bool Pauses(int executor) const;
  void Preempt(SequenceId id, Plan& plan);
  int32_t ExpectedBlocks(const SequenceArrival& arrival, int32_t generated, int pool) const;

  const ScheduleOptions options_;
  const std::vector<int32_t> block_tokens_;  // by pool
  const CachedBlocks cached_blocks_;
  const ReloadableBlocks reloadable_blocks_;
  const std::vector<int> pool_of_executor_;
  const int32_t ahead_blocks_min_;
  const std::vector<bool> tells_layers_;
  const std::vector<bool> pauses_;
  std::vector<BlockLedger> ledgers_;  // by pool
  LengthForecast forecast_;
  std::deque<Waiting> waiting_;            // by rank
  std::vector<SequenceId> order_;          // of running_, by rank
  std::map<SequenceId, Running> running_;  // admitted and not released
  // By executor.
  std::map<int, Steps> steps_;
  std::map<int, PrefillShare> shares_;
  std::map<int, PausingBatches> pausing_;
  std::map<int, StepForecast> step_forecasts_;
  std::map<int, GuessCost> guess_costs_;
  uint64_t next_ordinal_ = 0;
};

}  // namespace baton
