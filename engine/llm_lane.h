#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "engine/base/clock.h"
#include "engine/base/ids.h"
#include "engine/base/metrics.h"
#include "engine/exec/executor.h"
#include "engine/executor_board.h"
#include "engine/given_kv.h"
#include "engine/kv/block_pool.h"
#include "engine/kv/kv_options.h"
#include "engine/kv/prefix_cache.h"
#include "engine/lane_kv.h"
#include "engine/mailbox.h"
#include "engine/model/language_model.h"
#include "engine/model/stop_scanner.h"
#include "engine/request/generate_request.h"
#include "engine/schedule/llm_scheduler.h"
#include "engine/schedule/lookup_drafter.h"
#include "engine/transfer/transfer_manager.h"

namespace baton {

// What of a generation is measured, for the request's report.
struct LlmUsage {
  TimeUs prefill_start_us = 0;  // on the engine's clock; 0: never began
  TimeUs decode_start_us = 0;
  BatchTimes prefill;
  BatchTimes decode;
  Energy prefill_energy;  // its share of its batches'
  Energy decode_energy;
  int64_t prefill_tokens = 0;  // of the prompt; what a preemption has computed again not twice
  int64_t cached_prompt_tokens = 0;  // that needed no prefill
  int64_t decode_tokens = 0;
  int64_t decode_steps = 0;
  int64_t draft_tokens = 0;  // guesses that were verified
  int64_t draft_tokens_accepted = 0;
  int32_t preemptions = 0;
  int32_t recoveries = 0;  // times that it went on elsewhere, or stayed, after a failure
  bool stayed = false;     // it decodes where it was prefilled, after a failure
  HandoffReport handoff;
  TimeUs handoff_start_us = 0;
  HandoffReport reload;  // of what came back from the offload tier
  TimeUs reload_start_us = 0;
  std::string reload_passed_over;  // why the tier's blocks were computed; empty: they were not
};

// Where a sequence runs.
struct LlmPlacement {
  int prefill_executor = 0;
  int decode_executor = 0;
};

// A sequence to be generated, and where its tokens go.
struct LlmJob {
  std::vector<TokenId> prompt;                 // not empty, shorter than the context
  std::vector<std::vector<TokenId>> quotable;  // texts beside the prompt that it may repeat
  SamplingParams sampling;                     // its seed set
  int32_t max_tokens = 0;
  FinishReason reason_at_max = FinishReason::kLength;
  bool ignore_eos = false;
  StopConditions stop;
  std::vector<TokenId> ends;  // as SamplerSetup's, where min_tokens or a grammar asks for them
  std::shared_ptr<const Grammar> grammar;  // of the text; null: any
  std::optional<int32_t> logprobs;         // alternatives beside each token's own
  int32_t index = 0;                       // of the request's completions
  int32_t priority = 0;
  std::string tenant;
  bool deterministic = false;
  TimeUs arrived_us = 0;  // of the request: time to first token counts from here
  TimeUs deadline_us = kNoDeadline;
  int prefill_executor = 0;
  int decode_executor = 0;
  std::shared_ptr<const GivenKv> given;  // what of its prompt need not be computed; null: nothing
  // Host memory for the KV of its prompt's first blocks, none with the last token. Not empty: it
  // ends when that is there, and no token is told.
  std::vector<void*> keep;
  KvLayout keep_layout = {};  // of each of them: nothing is converted
  // What becomes of it where its handoff or an executor fails.
  HandoffFailure on_failure = HandoffFailure::kRecompute;
  // On the loop's thread. Of kRecompute: where it goes on, as the sequence `next`, from its text so
  // far, since `executor` failed at it. An error, or null: it ends with that.
  absl::AnyInvocable<absl::StatusOr<LlmPlacement>(SequenceId next, int executor,
                                                  const absl::Status&)>
      on_lost;
  // On the loop's thread. `on_prompt` may be null: no echo. `on_end` comes once and last.
  absl::AnyInvocable<void(PromptChunk)> on_prompt;
  absl::AnyInvocable<void(TokenChunk)> on_tokens;
  absl::AnyInvocable<void(absl::Status, GenerateResult, const LlmUsage&)> on_end;
};

// A job's work without its callbacks and what it was given, to be started again.
LlmJob CopyWork(const LlmJob& job);

// Runs one language model's sequences: carries out the plans of the pure LlmScheduler. Owns their
// KV blocks and slots; hands the KV over between prefill and decode, and has sequences go on where
// an executor or a handoff fails them (llm_lane_handoff.cc); takes what others have computed of
// their texts from the prefix cache and the tier below (llm_lane_kv.cc). Lives on the engine's loop
// thread; only the completions that executors post come from elsewhere, through the mailbox.
class LlmLane {
 public:
  struct Env {
    const Clock* clock = nullptr;
    Metrics* metrics = nullptr;
    TransferManager* transfer = nullptr;
    std::vector<Executor*> executors;  // indexed as in LlmJob; those without the skill unused
    Mailbox* mailbox = nullptr;
    ExecutorBoard* board = nullptr;
    std::function<void(int)> fenced = {};  // an executor was, with batches of this lane
    int32_t first_slot = 0;  // slots from here on are this lane's; executors serve several lanes
    // While it is created: what goes on, in a line; false: it is to end.
    std::function<bool(std::string)> progress = {};
  };

  // Blocks while executors take the model; on any thread. RESOURCE_EXHAUSTED: not even one sequence
  // fits kv.memory_mb. INVALID_ARGUMENT: the options' offload tier cannot be.
  static absl::StatusOr<std::unique_ptr<LlmLane>> Create(std::shared_ptr<const LanguageModel> model,
                                                         const ScheduleOptions& schedule,
                                                         const KvOptions& kv, Env env);

  // Nothing of it runs. On any thread; the executors still have the model.
  ~LlmLane();
  LlmLane(const LlmLane&) = delete;
  LlmLane& operator=(const LlmLane&) = delete;

  // RESOURCE_EXHAUSTED: its worst case exceeds the whole KV memory.
  absl::StatusOr<SequenceId> Start(LlmJob job);
  // Ends a sequence: `on_end` gets CANCELLED at the next step, unless it has ended already.
  void Cancel(SequenceId id);
  // An executor will not do what it was given, and may do it late: a sequence that depends on it
  // goes on as its job says. Nothing where it has ended.
  void Lost(SequenceId id, int executor, const absl::Status& status);
  // Whether a sequence waits to be admitted, so that no executor has seen anything of it.
  bool Waits(SequenceId id) const;
  // One turn: what happened since the last one becomes a plan, the plan becomes batches.
  void Step(TimeUs now_us);
  // When Step must be called though nothing happens; kNoDeadline: never.
  TimeUs NextWakeUs(TimeUs now_us) const;

  const LanguageModel& model() const { return *model_; }
  // How many prompt tokens an executor has to compute for those that are there already.
  int64_t PromptTokensAhead(int executor) const;
  // How many of a prompt's tokens, whole blocks, need not be computed, in that memory which has
  // most of them.
  int32_t KnownTokens(const std::string& tenant, std::span<const TokenId> prompt) const;

  // By executor: why it does not run the model; empty: it does.
  std::span<const std::string> unable() const { return unable_; }
  // Of its offload tier; null: there is none. Any thread.
  std::shared_ptr<const OffloadStatus> offload_status() const {
    return kv_->offload() == nullptr ? nullptr : kv_->offload()->status();
  }
  // Nothing runs or waits, no executor works for it, nothing of it is being copied.
  bool idle() const {
    return sequences_.empty() && (kv_->offload() == nullptr || !kv_->offload()->busy());
  }

 private:
  // Blocks in one memory, and what of them is shared by a cache.
  struct Kv {
    int pool = 0;
    std::vector<KvBlockRef> blocks;
    std::shared_ptr<PrefixCache> cache;  // null: holds nothing
    PrefixCache::Chain chain;
  };
  struct Sequence {
    LlmJob job;
    SlotId slot;
    Kv kv;
    std::optional<Kv> target;    // where it is being copied to
    std::vector<size_t> resend;  // pieces of its text whose copy ahead failed
    bool copies_posted = false;  // all that the handoff takes
    std::shared_ptr<std::atomic<int32_t>> layers_done;  // of its last chunk, while in flight
    std::vector<TokenId> text;                          // prompt and what was generated
    // The text as the prefix cache knows it. Where given and generated text are told apart, a
    // generated token t is ~t there: the text is found again as it was computed.
    std::vector<TokenId> keys;
    StreamDecoder decoder;
    StopScanner scanner;
    std::optional<StreamDecoder> prompt_decoder;   // of the echo
    std::optional<TokenLogprobs> prompt_logprobs;  // of the first token of its next piece
    LookupDrafter drafter;
    std::vector<TokenId> draft;  // of what follows its last token
    int32_t batches_in_flight = 0;
    int32_t prefilled = 0;  // prompt tokens that were computed, or cached, once
    int32_t echoed = 0;     // prompt tokens whose echo was handed out
    LlmUsage usage;
    int32_t generated = 0;
    TimeUs first_token_us = 0;
    TimeUs last_token_us = 0;
    bool slot_open = false;
    bool handing_over = false;  // prefilled; decodes once it is handed over
    bool handed_over = false;
    bool ended = false;  // the client has been told

    std::span<const TokenId> generated_text() const {
      return std::span(text).subspan(job.prompt.size());
    }
  };
  // Why a sequence ends with the tokens at hand.
  struct Ending {
    FinishReason reason;
    std::variant<std::monostate, std::string, TokenId> stop;
  };
  // Of a copy whose layers are posted as they are computed.
  struct Layers {
    std::shared_ptr<const std::atomic<int32_t>> done;
    int32_t group = 1;  // so many at a time; the last ones with the handoff
    int32_t posted = 0;
  };
  struct PendingHandoff {
    SequenceId sequence;
    HandoffId handoff;
    TimeUs renew_at_us = 0;
    TimeUs until_us = 0;             // a copy that takes longer than a lease hangs
    std::vector<size_t> ahead = {};  // of what goes ahead of the handoff: its pieces
    std::optional<Layers> layers = {};
  };
  struct PendingReload {
    LaneOffload::Reload reload;      // of the tier
    std::optional<HandoffId> given;  // or of what its job was given
    TimeUs begun_us = 0;
  };
  // Of a sequence that waits for blocks where it decodes.
  struct AwaitedBlocks {
    SequenceId sequence;
    TimeUs since_us = 0;
  };

  LlmLane(std::shared_ptr<const LanguageModel> model, const ScheduleOptions& schedule,
          const KvOptions& options, std::unique_ptr<LaneKv> kv, std::vector<std::string> unable,
          Env env);

  // ---- llm_lane_kv.cc

  // Whether blocks are others in two pools, so that what goes from one to the other is converted.
  // What was converted is not what the other side would have computed: no cache keeps it.
  bool Differ(int pool, int other) const { return kv_->layout(pool) != kv_->layout(other); }
  // What of its text may come from the cache.
  std::span<const TokenId> Reusable(const Sequence& sequence) const;
  std::vector<BlockId> CachedBlocks(SequenceId id, int pool) const;
  // Takes what the pool's cache has of its text.
  Kv TakeCached(const Sequence& sequence, int pool);
  void GiveBack(Kv& kv);
  // To its text.
  void Append(Sequence& sequence, std::span<const TokenId> generated) const;
  // Adds to the cache the blocks that are full now: K and V of `positions` are computed.
  void Cache(Sequence& sequence, int32_t positions);
  // What of its prompt the cache had.
  void CountCached(Sequence& sequence);
  // The whole blocks of its text that lie behind those it has.
  struct TextBehind {
    std::vector<KvChainKey> keys;
    std::span<const TokenId> tokens;
  };
  TextBehind BehindCached(const Sequence& sequence, const Kv& kv) const;
  int32_t ReloadableBlocks(SequenceId id, int pool);
  // Whether so many blocks behind the first `cached` tokens of a text are sooner brought back than
  // computed; where one of the times is not known for sure, they are taken to be.
  bool ReloadPays(Sequence& sequence, int pool, int32_t cached, int32_t blocks);
  // Of those behind what it has: how many its job was given.
  int32_t GivenBehind(const Sequence& sequence, const Kv& kv, const TextBehind& behind) const;
  absl::StatusOr<PendingReload> PostGiven(const Sequence& sequence, size_t first, TimeUs now_us);
  std::optional<absl::StatusOr<HandoffReport>> CheckReload(PendingReload& pending, TimeUs now_us);
  void BeginReloads(const std::vector<Plan::Reload>& plan, TimeUs now_us);
  void PollReloads(TimeUs now_us);
  void EndReload(SequenceId id, const absl::StatusOr<HandoffReport>& done, TimeUs begun_us,
                 TimeUs now_us);
  void CancelReload(SequenceId id);

  // ---- llm_lane.cc

  void Admit(SequenceId id);
  void Release(SequenceId id);
  void Preempt(SequenceId id);
  // Gives up its slots, blocks and handoffs.
  void Vacate(SequenceId id, Sequence& sequence);
  SlotSetup SetupOf(const Sequence& sequence) const;

  // ---- llm_lane_batches.cc

  void Submit(PlannedBatch planned, TimeUs now_us);
  // The tokens of a piece of its text, and those whose log probabilities its echo still lacks.
  void SetPrefill(const Sequence& sequence, const PlannedItem& item, LlmItem& work) const;
  // What a batch tells of its executor, before it runs.
  ExecutorBoard::Begun BegunOf(const PlannedBatch& planned) const;
  void OnBatchDone(const PlannedBatch& planned, uint64_t ticket, LlmBatchResult result);
  void Count(Sequence& sequence, const PlannedItem& item, int32_t generated);
  // Hands what is new of the prompt's piece to the client, where it wants the echo.
  void Echo(Sequence& sequence, const PlannedItem& item, std::vector<TokenLogprobs> logprobs);
  // Hands sampled tokens to the client, up to an end. True where the sequence ends with them.
  bool Deliver(Sequence& sequence, const LlmBatchResult::Item& sampled, TimeUs now_us);
  // Adds tokens and text to the chunk until something ends the sequence: what that is.
  std::optional<Ending> Take(Sequence& sequence, const LlmBatchResult::Item& sampled,
                             TokenChunk& chunk) const;
  // Guesses how the sequence goes on, for the scheduler to plan: the number of guesses.
  int32_t Draft(Sequence& sequence, std::span<const TokenId> tokens);
  void SetTexts(TokenLogprobs& logprobs) const;

  // ---- llm_lane_handoff.cc

  void HandOver(SequenceId id, TimeUs now_us);
  // Copies the prompt's blocks to where its job wants them kept.
  void Keep(SequenceId id, TimeUs now_us);
  // Of those that a plan has copied: what the caches have where they decode.
  void TakeTargets(const Plan& plan);
  // What a plan has granted blocks for, to the memory where they decode.
  void BeginCopies(const Plan& plan, TimeUs now_us);
  // A text is copied in pieces: positions that fill whole blocks in both memories, those at the end
  // aside. Of how many positions they are.
  int64_t PieceTokens(const Kv& from, const Kv& to) const;
  // Has the target hold blocks of so many positions: the pieces that are new, and to be copied.
  std::vector<size_t> GrowTarget(Sequence& sequence, int64_t positions);
  // Of pieces, in order, of a text of which so many positions are, or will be, computed.
  HandoffRequest CopyOf(const Sequence& sequence, const std::vector<size_t>& pieces,
                        int64_t positions, bool by_layers = false) const;
  // The handoff itself; or, where `ahead` names the request's pieces, what goes ahead of it.
  void Post(SequenceId id, HandoffRequest request, TimeUs now_us, std::vector<size_t> ahead = {});
  // Its decodes begin where it is being copied to.
  void OpenTarget(Sequence& sequence);
  // Begins to copy what is not there yet of texts whose last chunk is in flight, by layers.
  void BeginLayers(const Plan& plan, TimeUs now_us);
  // Posts what is computed now. False where the handoff has ended.
  bool PostLayers(PendingHandoff& pending, TimeUs now_us);
  // The prompt is computed: posts the rest. False where nothing is copied by layers; what failed is
  // to be sent again.
  bool FinishLayers(SequenceId id, TimeUs now_us);
  void FinishHandOver(SequenceId id);
  void PollHandoffs(TimeUs now_us);
  void PollAwaited(TimeUs now_us);
  void ReleaseHandoffs(SequenceId id);
  // What becomes of a sequence that `executor` failed; -1: nobody did.
  void Recover(SequenceId id, int executor, const absl::Status& status);
  // Decodes where it has prefilled.
  void Stay(SequenceId id);
  // Goes on elsewhere, from its text, as another sequence; what it leaves behind ends when nothing
  // in flight names it.
  void Migrate(SequenceId id, LlmPlacement to);
  void Distrust(int executor);
  TimeUs lease_us() const { return env_.transfer->renew_interval_us() * 6; }

  void End(Sequence& sequence, absl::Status status, Ending ending = {});
  // Of a text that ended well: its times and lengths.
  void Measure(const Sequence& sequence) const;
  void UpdateGauges();

  const std::shared_ptr<const LanguageModel> model_;
  const std::vector<std::string> unable_;
  const int32_t draft_tokens_max_;
  const bool use_cache_;
  const bool reload_always_;
  const int32_t chunk_tokens_max_;
  const std::unique_ptr<LaneKv> kv_;
  Env env_;
  const bool tells_prompts_apart_;  // one of the executors does
  LlmScheduler scheduler_;
  ScheduleEvents events_;  // since the last step
  std::map<SequenceId, Sequence> sequences_;
  std::vector<SlotId> free_slots_;
  std::vector<PendingHandoff> handoffs_;
  std::map<SequenceId, PendingReload> reloads_;
  uint64_t reloads_passed_over_ = 0;
  std::vector<AwaitedBlocks> awaited_;
  uint64_t next_sequence_ = 1;

  struct Handles {
    prometheus::Histogram *first_token, *inter_token, *step_tokens, *total, *queue, *prefill,
        *decode, *per_token, *prompt_length, *text_length;
    prometheus::Counter *prompt_tokens, *cached_tokens, *recomputed_tokens, *generated_tokens,
        *draft_tokens, *accepted_tokens, *preemptions, *moved, *stayed;
    prometheus::Gauge *running, *waiting;
    prometheus::Counter* reloaded_tokens;
    prometheus::Histogram* reload;
  };
  const Handles metrics_;
  struct PoolGauges {
    prometheus::Gauge *used, *cached, *reserved;
  };
  std::vector<PoolGauges> pool_gauges_;  // by pool
};

}  // namespace baton
