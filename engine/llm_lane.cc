#include "engine/llm_lane.h"

#include <algorithm>
#include <set>
#include <utility>

#include "engine/base/check.h"
#include "engine/base/log.h"
#include "engine/base/status_macros.h"
#include "engine/base/strings.h"
#include "engine/lane_warm_up.h"

namespace baton {
namespace {

constexpr TimeUs kCopyPollUs = 200;

// By executor: whether its skill does.
std::vector<bool> EachDoes(const std::vector<Executor*>& executors,
                           bool (LlmSkill::*does)() const) {
  std::vector<bool> each;
  for (Executor* executor : executors) {
    LlmSkill* const skill = executor->llm();
    each.push_back(skill != nullptr && (skill->*does)());
  }
  return each;
}

// Blocks that are copied ahead at once at least; 0: none are.
int32_t AheadBlocksMin(const TransferManager& transfer, const KvLayout& layout) {
  const std::optional<int64_t> bytes = transfer.ahead_bytes_min();
  if (!bytes) return 0;
  const int64_t blocks = (*bytes + layout.block_bytes() - 1) / layout.block_bytes();
  return static_cast<int32_t>(std::max<int64_t>(1, blocks));
}

// Whether an executor that does not take a model leaves it to those that do: it cannot run such a
// one, has no room, or is lost.
bool LeavesItToOthers(const absl::Status& status) {
  return absl::IsUnimplemented(status) || absl::IsResourceExhausted(status) ||
         absl::IsUnavailable(status);
}

// Loads the model where there is room for its KV blocks behind it, too. `shapes`: of each of
// `spaces`.
absl::Status LoadInto(LlmSkill& skill, const std::shared_ptr<const LanguageModel>& model,
                      const std::vector<MemorySpace>& spaces,
                      const std::vector<LaneKv::Shape>& shapes) {
  RETURN_IF_ERROR(skill.LoadModel(model));
  if (skill.kv_memory() == nullptr) return absl::OkStatus();
  const auto space = std::find(spaces.begin(), spaces.end(), skill.kv_space());
  const LaneKv::Shape& shape = shapes[static_cast<size_t>(space - spaces.begin())];
  const absl::Status room =
      skill.kv_memory()
          ->Allocate({.count = shape.block_count, .bytes = shape.layout.block_bytes()})
          .status();
  if (!room.ok()) skill.UnloadModel(*model);
  return room;  // the memory is given back at once
}

// Before the model is ready. What of it fails is told and not the end: the model runs without.
absl::Status WarmUpAll(const std::shared_ptr<const LanguageModel>& model,
                       const std::vector<Executor*>& able, LaneKv& kv,
                       const ScheduleOptions& schedule, const LlmLane::Env& env) {
  for (size_t i = 0; i < able.size(); ++i) {
    if (able[i] == nullptr || able[i]->llm() == nullptr) continue;
    const std::string& device = able[i]->Describe().device;
    const int executor = static_cast<int>(i);
    const TimeUs begun_us = env.clock->NowUs();
    const absl::StatusOr<int32_t> steps =
        WarmUp({.skill = able[i]->llm(),
                .model = model,
                .blocks = &kv.blocks(kv.PoolOf(executor)),
                .first_slot = env.first_slot,
                .sequences_max = static_cast<int32_t>(schedule.sequences_running_max),
                .chunk_tokens_max = ChunkTokensMax(schedule)},
               [&](int32_t done, int32_t all) {
                 return env.progress == nullptr ||
                        env.progress(StrCat("warming up ", device, ", step ", done, " of ", all));
               });
    if (absl::IsCancelled(steps.status())) return steps.status();
    if (steps.ok() && *steps == 0) continue;
    const int64_t ms = (env.clock->NowUs() - begun_us) / 1000;
    std::string told = StrCat("model ", model->name(), ": ");
    if (steps.ok()) {
      absl::StrAppend(&told, *steps, " steps in ", ms, " ms");
      Log().info("executor {}: warm: {}", device, told);
    } else {
      absl::StrAppend(&told, "not warmed up after ", ms,
                      " ms: ", std::string(steps.status().message()));
      Log().warn("executor {}: {}", device, told);
    }
    env.board->Note(executor, steps.ok() ? "warm" : "cold", std::move(told));
  }
  return absl::OkStatus();
}

}  // namespace

LlmJob CopyWork(const LlmJob& job) {
  LlmJob copy;
  copy.prompt = job.prompt;
  copy.quotable = job.quotable;
  copy.sampling = job.sampling;
  copy.max_tokens = job.max_tokens;
  copy.reason_at_max = job.reason_at_max;
  copy.ignore_eos = job.ignore_eos;
  copy.stop = job.stop;
  copy.ends = job.ends;
  copy.grammar = job.grammar;
  copy.logprobs = job.logprobs;
  copy.index = job.index;
  copy.keep = job.keep;
  copy.keep_layout = job.keep_layout;
  return copy;
}

absl::StatusOr<std::unique_ptr<LlmLane>> LlmLane::Create(std::shared_ptr<const LanguageModel> model,
                                                         const ScheduleOptions& schedule,
                                                         const KvOptions& kv, Env env) {
  // Before anything is loaded.
  const auto wanted = LaneKv::ShapesFor(model->shape(), schedule, kv, env.executors);
  if (!wanted.ok()) {
    return absl::Status(
        wanted.status().code(),
        StrCat("model \"", model->name(), "\": ", std::string(wanted.status().message())));
  }
  std::vector<Executor*> able = env.executors;
  std::vector<std::string> unable(env.executors.size());
  absl::Status refusal;
  for (size_t i = 0; i < able.size(); ++i) {
    if (able[i]->llm() == nullptr) continue;
    const absl::Status loaded =
        LoadInto(*able[i]->llm(), model, LaneKv::SpacesOf(env.executors), *wanted);
    if (loaded.ok()) continue;
    if (!LeavesItToOthers(loaded)) return loaded;
    Log().warn("model {}: not on {}: {}", model->name(), able[i]->Describe().device,
               std::string(loaded.message()));
    unable[i] = std::string(loaded.message());
    able[i] = nullptr;
    refusal = loaded;
  }
  const bool runs = std::any_of(able.begin(), able.end(), [](Executor* executor) {
    return executor != nullptr && executor->llm() != nullptr;
  });
  if (!runs && !refusal.ok()) return refusal;
  ASSIGN_OR_RETURN(const std::vector<LaneKv::Shape> shapes,
                   LaneKv::ShapesFor(model->shape(), schedule, kv, able));
  ASSIGN_OR_RETURN(std::unique_ptr<LaneKv> pools, LaneKv::Create(shapes, able));
  RETURN_IF_ERROR(
      pools->AddOffload(model->name(), kv, {.transfer = env.transfer, .metrics = env.metrics}));
  RETURN_IF_ERROR(WarmUpAll(model, able, *pools, schedule, env));
  return std::unique_ptr<LlmLane>(new LlmLane(std::move(model), schedule, kv, std::move(pools),
                                              std::move(unable), std::move(env)));
}

LlmLane::LlmLane(std::shared_ptr<const LanguageModel> model, const ScheduleOptions& schedule,
                 const KvOptions& options, std::unique_ptr<LaneKv> kv,
                 std::vector<std::string> unable, Env env)
    : model_(std::move(model)),
      unable_(std::move(unable)),
      draft_tokens_max_(schedule.draft_tokens_max),
      use_cache_(options.prefix_cache),
      reload_always_(options.offload_reload == "always"),
      chunk_tokens_max_(ChunkTokensMax(schedule)),
      kv_(std::move(kv)),
      env_(std::move(env)),
      tells_prompts_apart_(std::any_of(env_.executors.begin(), env_.executors.end(),
                                       [this](Executor* executor) {
                                         return executor->llm() != nullptr &&
                                                executor->llm()->TellsPromptsApart(*model_);
                                       })),
      scheduler_(
          schedule,
          {.block_counts = kv_->block_counts(),
           .of_executor = kv_->pool_of(),
           .ahead_blocks_min = AheadBlocksMin(*env_.transfer, kv_->layout(0)),
           .block_tokens = kv_->block_tokens(),
           .tells_layers = EachDoes(env_.executors, &LlmSkill::TellsLayers),
           .pauses = EachDoes(env_.executors, &LlmSkill::Pauses)},
          kv_->block_tokens(0), [this](SequenceId id, int pool) { return CachedBlocks(id, pool); },
          [this](SequenceId id, int pool) { return ReloadableBlocks(id, pool); }),
      metrics_{.first_token = &env_.metrics->Histogram(MetricId::kTimeToFirstTokenSeconds),
               .inter_token = &env_.metrics->Histogram(MetricId::kInterTokenSeconds),
               .step_tokens = &env_.metrics->Histogram(MetricId::kStepTokens),
               .total = &env_.metrics->Histogram(MetricId::kGenerateSeconds),
               .queue = &env_.metrics->Histogram(MetricId::kGenerateQueueSeconds),
               .prefill = &env_.metrics->Histogram(MetricId::kGeneratePrefillSeconds),
               .decode = &env_.metrics->Histogram(MetricId::kGenerateDecodeSeconds),
               .per_token = &env_.metrics->Histogram(MetricId::kTimePerOutputTokenSeconds),
               .prompt_length = &env_.metrics->Histogram(MetricId::kGeneratePromptTokens),
               .text_length = &env_.metrics->Histogram(MetricId::kGenerateOutputTokens),
               .prompt_tokens = &env_.metrics->Counter(MetricId::kPromptTokens),
               .cached_tokens = &env_.metrics->Counter(MetricId::kCachedPromptTokens),
               .recomputed_tokens = &env_.metrics->Counter(MetricId::kRecomputedTokens),
               .generated_tokens = &env_.metrics->Counter(MetricId::kGeneratedTokens),
               .draft_tokens = &env_.metrics->Counter(MetricId::kDraftTokens),
               .accepted_tokens = &env_.metrics->Counter(MetricId::kDraftTokensAccepted),
               .preemptions = &env_.metrics->Counter(MetricId::kPreemptions),
               .moved = &env_.metrics->Counter(MetricId::kSequencesRecovered,
                                               {Name(HandoffFailure::kRecompute)}),
               .stayed = &env_.metrics->Counter(MetricId::kSequencesRecovered,
                                                {Name(HandoffFailure::kLocal)}),
               .running = &env_.metrics->Gauge(MetricId::kSequencesRunning, {model_->name()}),
               .waiting = &env_.metrics->Gauge(MetricId::kSequencesWaiting, {model_->name()}),
               .reloaded_tokens = &env_.metrics->Counter(MetricId::kKvReloadedTokens),
               .reload = &env_.metrics->Histogram(MetricId::kKvReloadSeconds)} {
  for (int pool = 0; pool < kv_->pool_count(); ++pool) {
    const auto gauge = [&](const char* state) {
      return &env_.metrics->Gauge(MetricId::kKvBlocks,
                                  {model_->name(), ToString(kv_->space(pool)), state});
    };
    gauge("total")->Set(kv_->CountBlocks(pool).total);
    pool_gauges_.push_back(
        {.used = gauge("used"), .cached = gauge("cached"), .reserved = gauge("reserved")});
    const KvLayout& layout = kv_->layout(pool);
    env_.metrics->Gauge(MetricId::kKvBlockBytes, {model_->name(), Name(layout.type)})
        .Set(static_cast<double>(layout.block_bytes()));
  }
  for (auto i = static_cast<int32_t>(schedule.sequences_running_max); i-- > 0;) {
    free_slots_.emplace_back(env_.first_slot + i);
  }
}

LlmLane::~LlmLane() {
  // Of a daemon that ends: their copies touch blocks that are about to go.
  for (const PendingHandoff& pending : handoffs_) env_.transfer->Release(pending.handoff);
  while (!reloads_.empty()) CancelReload(reloads_.begin()->first);
  const std::string& name = model_->name();
  env_.metrics->RemoveGauge(MetricId::kSequencesRunning, {name});
  env_.metrics->RemoveGauge(MetricId::kSequencesWaiting, {name});
  std::set<KvType> types;
  for (int pool = 0; pool < kv_->pool_count(); ++pool) {
    if (const KvType type = kv_->layout(pool).type; types.insert(type).second) {
      env_.metrics->RemoveGauge(MetricId::kKvBlockBytes, {name, Name(type)});
    }
    for (const char* state : {"total", "used", "cached", "reserved"}) {
      env_.metrics->RemoveGauge(MetricId::kKvBlocks, {name, ToString(kv_->space(pool)), state});
    }
  }
}

absl::StatusOr<SequenceId> LlmLane::Start(LlmJob job) {
  const auto prompt_tokens = static_cast<int32_t>(job.prompt.size());
  for (int pool = 0; pool < kv_->pool_count(); ++pool) {  // it may have to go on in any of them
    const int32_t blocks = scheduler_.BlocksFor(prompt_tokens, job.max_tokens, pool);
    const int32_t allowed = kv_->blocks(pool).block_count();
    if (blocks <= allowed) continue;
    return absl::ResourceExhaustedError(
        StrCat("a prompt of ", prompt_tokens, " and max_tokens of ", job.max_tokens, " need ",
               blocks, " KV blocks, but kv.memory_mb allows ", allowed, "; ask for fewer tokens"));
  }
  const SequenceId id(next_sequence_++);
  events_.arrived.push_back({.id = id,
                             .prompt_tokens = prompt_tokens,
                             .max_tokens = job.max_tokens,
                             .priority = job.priority,
                             .deadline_us = job.deadline_us,
                             .prefill_executor = job.prefill_executor,
                             .decode_executor = job.decode_executor});
  LookupDrafter drafter(job.prompt, job.quotable, draft_tokens_max_);
  std::vector<TokenId> text = job.prompt;
  std::vector<TokenId> keys = job.prompt;
  StopScanner scanner(job.stop.strings);
  sequences_.emplace(id, Sequence{.job = std::move(job),
                                  .slot = SlotId(-1),
                                  .kv = {},
                                  .target = {},
                                  .resend = {},
                                  .layers_done = {},
                                  .text = std::move(text),
                                  .keys = std::move(keys),
                                  .decoder = StreamDecoder(model_->tokenizer(), /*continues=*/true),
                                  .scanner = std::move(scanner),
                                  .prompt_decoder = {},
                                  .prompt_logprobs = {},
                                  .drafter = std::move(drafter),
                                  .draft = {},
                                  .usage = {}});
  return id;
}

void LlmLane::Cancel(SequenceId id) { events_.cancelled.push_back(id); }

int64_t LlmLane::PromptTokensAhead(int executor) const {
  int64_t tokens = 0;
  for (const auto& [id, sequence] : sequences_) {
    const LlmJob& job = sequence.job;
    if (sequence.ended || job.prefill_executor != executor) continue;
    tokens += std::ssize(job.prompt) - sequence.prefilled;
  }
  return tokens;
}

bool LlmLane::Waits(SequenceId id) const {
  const auto it = sequences_.find(id);
  return it != sequences_.end() && !it->second.ended && it->second.slot.value() < 0;
}

TimeUs LlmLane::NextWakeUs(TimeUs now_us) const {
  const bool events = !events_.arrived.empty() || !events_.completed.empty() ||
                      !events_.handed_over.empty() || !events_.stay.empty() ||
                      !events_.reloaded.empty() || !events_.cancelled.empty();
  if (events) return now_us;
  TimeUs deadline_us = scheduler_.NextDeadlineUs();
  for (const AwaitedBlocks& awaited : awaited_) {
    deadline_us = std::min(deadline_us, awaited.since_us + lease_us());
  }
  const bool copies = !handoffs_.empty() || !reloads_.empty() ||
                      (kv_->offload() != nullptr && kv_->offload()->busy());
  return copies ? std::min(deadline_us, now_us + kCopyPollUs) : deadline_us;
}

void LlmLane::Step(TimeUs now_us) {
  PollHandoffs(now_us);
  PollReloads(now_us);
  Plan plan = scheduler_.Step(std::exchange(events_, {}), now_us);
  for (const Plan::Ended& ended : plan.ended) {
    const auto it = sequences_.find(ended.sequence);
    End(it->second, ended.status);
    if (it->second.slot.value() < 0) sequences_.erase(it);  // it waited
  }
  for (const SequenceId id : plan.released) Release(id);
  for (const SequenceId id : plan.preempted) Preempt(id);
  for (const SequenceId id : plan.admitted) Admit(id);
  TakeTargets(plan);  // before any allocation, which may evict
  BeginReloads(plan.reload, now_us);
  BeginCopies(plan, now_us);
  PollAwaited(now_us);
  for (PlannedBatch& batch : plan.batches) Submit(std::move(batch), now_us);
  BeginLayers(plan, now_us);  // of blocks that a batch has just been given
  if (kv_->offload() != nullptr) kv_->offload()->Poll(now_us);
  UpdateGauges();
}

void LlmLane::Admit(SequenceId id) {
  Sequence& sequence = sequences_.at(id);
  BATON_CHECK(!free_slots_.empty());
  sequence.slot = free_slots_.back();
  free_slots_.pop_back();
  sequence.kv = TakeCached(sequence, kv_->PoolOf(sequence.job.prefill_executor));
  CountCached(sequence);
  env_.executors[static_cast<size_t>(sequence.job.prefill_executor)]->llm()->OpenSlot(
      sequence.slot, SetupOf(sequence));
}

SlotSetup LlmLane::SetupOf(const Sequence& sequence) const {
  const LlmJob& job = sequence.job;
  const std::span<const TokenId> prompt = RepetitionWindow(job.sampling, job.prompt);
  const std::span<const TokenId> generated = sequence.generated_text();
  return {.sampler = {.params = job.sampling,
                      .prompt = {prompt.begin(), prompt.end()},
                      .generated = {generated.begin(), generated.end()},
                      .min_tokens = job.stop.min_tokens,
                      .ends = job.ends,
                      .grammar = job.grammar},
          .logprobs = job.logprobs};
}

void LlmLane::Release(SequenceId id) {
  const auto it = sequences_.find(id);
  Vacate(id, it->second);
  BATON_CHECK(it->second.ended);
  sequences_.erase(it);
}

void LlmLane::Preempt(SequenceId id) {
  Sequence& sequence = sequences_.at(id);
  BATON_CHECK(sequence.batches_in_flight == 0);
  Vacate(id, sequence);
  ++sequence.usage.preemptions;
  metrics_.preemptions->Increment();
  if (!sequence.job.keep.empty() && !sequence.generated_text().empty()) {
    // It has all that it wanted but for the copy; who asked had better compute it than wait again.
    End(sequence, absl::ResourceExhaustedError("its KV blocks made room for others"));
    events_.cancelled.push_back(id);
  }
}

void LlmLane::Vacate(SequenceId id, Sequence& sequence) {
  const LlmJob& job = sequence.job;
  env_.executors[static_cast<size_t>(job.prefill_executor)]->llm()->CloseSlot(sequence.slot);
  if (sequence.slot_open) {
    env_.executors[static_cast<size_t>(job.decode_executor)]->llm()->CloseSlot(sequence.slot);
  }
  free_slots_.push_back(sequence.slot);
  sequence.slot = SlotId(-1);
  sequence.slot_open = false;
  sequence.handing_over = false;
  sequence.handed_over = false;
  ReleaseHandoffs(id);  // first: a copy touches the blocks
  GiveBack(sequence.kv);
  if (sequence.target) GiveBack(*sequence.target);
  sequence.target.reset();
  sequence.resend.clear();
  sequence.copies_posted = false;
  sequence.draft.clear();
}

void LlmLane::End(Sequence& sequence, absl::Status status, Ending ending) {
  if (sequence.ended) return;
  sequence.ended = true;
  LlmJob& job = sequence.job;
  if (status.ok()) {
    std::string rest = sequence.scanner.Push(sequence.decoder.Finish(), /*may_stop=*/false);
    rest += sequence.scanner.Finish();
    if (!rest.empty()) {
      job.on_tokens(
          TokenChunk{.ids = {}, .text = std::move(rest), .index = job.index, .logprobs = {}});
    }
  }
  if (job.keep.empty()) {
    env_.metrics
        ->Counter(MetricId::kGenerateFinished,
                  {status.ok() ? Name(ending.reason) : absl::StatusCodeToString(status.code())})
        .Increment();
    if (status.ok()) Measure(sequence);
  }
  job.on_end(
      std::move(status),
      GenerateResult{
          .reason = ending.reason,
          .prompt_tokens = static_cast<int32_t>(job.prompt.size()),
          .cached_prompt_tokens = static_cast<int32_t>(sequence.usage.cached_prompt_tokens),
          .generated_tokens = sequence.generated,
          .decode_steps = static_cast<int32_t>(sequence.usage.decode_steps),
          .draft_tokens = static_cast<int32_t>(sequence.usage.draft_tokens),
          .draft_tokens_accepted = static_cast<int32_t>(sequence.usage.draft_tokens_accepted),
          .preemptions = sequence.usage.preemptions,
          .seed = *job.sampling.seed,
          .model = model_->name(),
          .timings = {},
          .index = job.index,
          .stop = std::move(ending.stop)},
      sequence.usage);
}

void LlmLane::Measure(const Sequence& sequence) const {
  const TimeUs arrived_us = sequence.job.arrived_us;
  const TimeUs begun_us = sequence.usage.prefill_start_us;
  metrics_.total->Observe(Seconds(env_.clock->NowUs() - arrived_us));
  metrics_.prompt_length->Observe(static_cast<double>(sequence.job.prompt.size()));
  metrics_.text_length->Observe(sequence.generated);
  if (begun_us != 0) metrics_.queue->Observe(Seconds(begun_us - arrived_us));
  if (sequence.first_token_us == 0) return;
  if (begun_us != 0) metrics_.prefill->Observe(Seconds(sequence.first_token_us - begun_us));
  if (sequence.generated < 2) return;
  const double decode_seconds = Seconds(sequence.last_token_us - sequence.first_token_us);
  metrics_.decode->Observe(decode_seconds);
  metrics_.per_token->Observe(decode_seconds / (sequence.generated - 1));
}

void LlmLane::UpdateGauges() {
  metrics_.running->Set(scheduler_.running_count());
  metrics_.waiting->Set(scheduler_.waiting_count());
  for (int pool = 0; pool < kv_->pool_count(); ++pool) {
    const LaneKv::Counts blocks = kv_->CountBlocks(pool);
    const PoolGauges& gauges = pool_gauges_[static_cast<size_t>(pool)];
    gauges.used->Set(blocks.used);
    gauges.cached->Set(blocks.cached);
    gauges.reserved->Set(scheduler_.blocks_reserved(pool));
  }
}

}  // namespace baton
