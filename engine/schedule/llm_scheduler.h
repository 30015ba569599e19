#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <vector>

#include "absl/status/status.h"
#include "engine/base/clock.h"
#include "engine/base/ids.h"
#include "engine/request/work.h"
#include "engine/schedule/schedule_options.h"

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
};

// How many guesses there are for the tokens after a sequence's next one. kPlanAhead: nobody
// guesses, so that its next step may be planned before the last one is back.
inline constexpr int32_t kPlanAhead = -1;

// A batch that an executor has completed.
struct BatchCompletion {
  int executor = 0;
  struct Item {
    SequenceId sequence;
    bool ended = false;     // reached end-of-text, or failed
    int32_t generated = 0;  // tokens that it gave: of a decode, 1 and the guesses that were right
    int32_t draft = kPlanAhead;
  };
  std::vector<Item> items;  // all that were planned
};

// Everything that happened since the last step.
struct ScheduleEvents {
  std::vector<SequenceArrival> arrived;
  std::vector<BatchCompletion> completed;
  std::vector<SequenceId> handed_over;  // their KV is where they decode
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
};

// What is to be done now, in this order.
struct Plan {
  struct Ended {
    SequenceId sequence;
    absl::Status status;  // RESOURCE_EXHAUSTED, DEADLINE_EXCEEDED or CANCELLED
  };
  std::vector<Ended> ended;          // refused, expired or cancelled: tell the client now
  std::vector<SequenceId> released;  // nothing in flight names them: free their blocks and slots
  std::vector<SequenceId> admitted;  // their worst case is reserved from now on
  std::vector<PlannedBatch> batches;
};

// Continuous batching of one model's sequences over its executors. Pure: no thread, no clock, no
// executor; the same calls give the same plans.
//
// Each step fills, per executor with room for another plan, one batch of at most step_tokens_max
// tokens: every running sequence's next token first, then prompt chunks in order of admission.
// Plans name slots, not token values, so a sequence's next token is planned while its last one is
// still being computed; what was planned beyond end-of-text is computed in vain and dropped. Where
// the caller guesses a sequence's tokens, one step of it at a time is planned, the guesses with it.
//
// Admission is by worst case: a sequence starts when blocks for its whole prompt and max_tokens
// can be set aside, so that what was admitted never lacks memory. Waiting sequences are admitted by
// priority, then arrival; none overtakes a higher one that does not fit yet.
class LlmScheduler {
 public:
  // How many of a sequence's first prompt tokens, but not all, have their K and V already: asked
  // once, as the sequence is admitted.
  using CachedTokens = std::function<int32_t(SequenceId)>;

  // An empty `cached_tokens`: none ever.
  LlmScheduler(const ScheduleOptions& options, int32_t block_count, int32_t block_tokens,
               CachedTokens cached_tokens = {});

  Plan Step(const ScheduleEvents& events, TimeUs now_us);

  // The soonest moment at which Step would do something without any event; kNoDeadline: none.
  TimeUs NextDeadlineUs() const;

  // Whether so few sequences decode on an executor that their guesses would be planned.
  bool PlansDrafts(int executor) const;

  int32_t waiting_count() const { return static_cast<int32_t>(waiting_.size()); }
  int32_t running_count() const { return static_cast<int32_t>(running_.size()); }
  int32_t blocks_reserved() const { return blocks_reserved_; }
  // Blocks a sequence needs in the worst case.
  int32_t BlocksFor(int32_t prompt_tokens, int32_t max_tokens) const;

 private:
  // A sequence's way: waiting -> prefilling -> handing over -> decoding -> draining -> gone.
  enum class Phase : uint8_t {
    kPrefilling,   // prompt chunks are planned
    kHandingOver,  // the whole prompt is planned; waits for handed_over
    kDecoding,     // next tokens are planned until max_tokens
    kDraining,     // ended; waits for the batches in flight that name it
  };
  struct Running {
    SequenceArrival arrival;
    Phase phase = Phase::kPrefilling;
    int32_t tokens_planned = 0;     // positions whose K and V are computed or in flight
    int32_t generated_planned = 0;  // tokens sampled or in flight
    int32_t batches_in_flight = 0;
    int32_t blocks = 0;
    int32_t draft = kPlanAhead;   // guesses for the next decode
    int32_t draft_in_flight = 0;  // guesses being verified
  };

  void Complete(const BatchCompletion& completion);
  void End(SequenceId id, absl::Status status, Plan& plan);
  void Expire(TimeUs now_us, Plan& plan);
  void Release(Plan& plan);
  void Admit(Plan& plan);
  void Fill(Plan& plan);
  PlannedBatch FillBatch(int executor);
  void PlanDecodes(PlannedBatch& batch, int64_t& room);
  void PlanPrefills(PlannedBatch& batch, int64_t& room);

  const ScheduleOptions options_;
  const int32_t block_count_;
  const int32_t block_tokens_;
  const CachedTokens cached_tokens_;
  std::deque<SequenceArrival> waiting_;     // by priority, then arrival
  std::vector<SequenceId> order_;           // of running_, by admission
  std::map<SequenceId, Running> running_;   // admitted and not released
  std::map<int, int32_t> plans_in_flight_;  // by executor
  int32_t blocks_reserved_ = 0;
};

}  // namespace baton
