#include "engine/engine_loop.h"

#include <algorithm>
#include <utility>

#include "engine/base/check.h"
#include "engine/base/log.h"
#include "engine/base/memory_limit.h"
#include "engine/base/simd_level.h"
#include "engine/base/status_macros.h"
#include "engine/base/strings.h"
#include "engine/base/thread_name.h"
#include "engine/base/thread_placement.h"
#include "engine/cost_model_file.h"
#include "engine/exec/cpu/kernels/kv_convert.h"

namespace baton {
namespace {

constexpr TimeUs kIdleTurnUs = 500'000;  // the loop turns at least this often
// Up to so many requests are answered on the threads that work for them. Under more the loop's
// thread hardly sleeps, and those that work had better do that.
constexpr int64_t kBringersMax = 2;
// A client's thread may be one of gRPC's few, which others' requests wait for.
constexpr double kSearchHereUsMax = 1000;
constexpr TimeUs kProgressLimitUs = 5'000'000;  // without a turn for so long it is stuck

// What models may take where the configuration leaves it to the daemon: the rest is for vectors,
// requests and the page cache.
int64_t ModelsBytesMax(const MemoryOptions& options) {
  return options.models_bytes_max > 0 ? options.models_bytes_max : MemoryLimitBytes() / 5 * 4;
}

// Of each kind the first that can: segments are built a few at a time, and without hurry.
void OfferDevices(const std::vector<std::unique_ptr<Executor>>& executors, IndexMakers& makers) {
  bool graphs = false;
  bool files = false;
  for (const auto& executor : executors) {
    if (GraphSkill* const graph = executor->graph(); graph != nullptr && !graphs) {
      graphs = true;
      makers.graphs.Offer(
          [graph](const GraphRows& rows, const GraphNodes& nodes, absl::FunctionRef<bool()> stop) {
            return graph->Link(rows, nodes, stop);
          });
    }
    if (const IvfMath* const math = executor->ivf(); math != nullptr && !files) {
      files = true;
      makers.inverted_files.Offer(*math);
    }
  }
}

std::vector<Executor*> Pointers(const std::vector<std::unique_ptr<Executor>>& executors) {
  std::vector<Executor*> pointers;
  for (const auto& executor : executors) pointers.push_back(executor.get());
  return pointers;
}

}  // namespace

Engine::Loop::Loop(const EngineOptions& options, EngineParts parts)
    : options_(options),
      parts_(std::move(parts)),
      clock_(*parts_.clock),
      metrics_(*parts_.metrics),
      slow_log_(options.requests.slow_ms),
      turns_(clock_, mailbox_, [this] { return Turn(); }),
      board_(options, Pointers(parts_.executors), clock_, metrics_, parts_.placement),
      host_direct_path_(KvConverterFor(DetectedSimdLevel()), clock_),
      host_path_(KvConverterFor(DetectedSimdLevel()),
                 static_cast<size_t>(options.transfer.host_copies_max), clock_),
      transfer_(options.transfer, metrics_),
      collector_(options.batching,
                 [this](const LaunchKey& key, const WorkShape& first, int64_t items) {
                   return board_.Outlook(key, first, items);
                 }),
      models_(ModelsBytesMax(options.memory), metrics_),
      in_flight_(std::make_shared<RequestsInFlight>(options.queues.requests_in_flight_max, clock_,
                                                    metrics_)),
      index_lane_("index", 1, static_cast<size_t>(options.queues.write_queue_max)),
      write_lane_(*parts_.store, clock_, *parts_.metrics,
                  static_cast<size_t>(options.queues.write_queue_max)),
      host_lane_("host", PoolThreads(options.queues.host_threads),
                 static_cast<size_t>(options.queues.host_queue_max)),
      loader_(std::in_place, "models", 1, static_cast<size_t>(kModelJobsMax)) {
  transfer_.RegisterDirectPath(&host_direct_path_);
  transfer_.RegisterPath(&host_path_);
  for (const auto& path : parts_.paths) transfer_.RegisterPath(path.get());
  OfferDevices(parts_.executors, parts_.store->makers());
}

absl::Status Engine::Loop::StartStaging() {
  Staging::Parts parts = {.converter = &host_path_};
  for (const auto& executor : parts_.executors) {
    if (executor->Describe().present && executor->llm() != nullptr) {
      parts.spaces.push_back(executor->llm()->kv_space());
    }
  }
  std::sort(parts.spaces.begin(), parts.spaces.end());
  parts.spaces.erase(std::unique(parts.spaces.begin(), parts.spaces.end()), parts.spaces.end());
  for (const auto& path : parts_.paths) parts.paths.push_back(path.get());
  for (const auto& mapper : parts_.mappers) parts.devices.push_back(mapper.get());
  ASSIGN_OR_RETURN(staging_, Staging::Create(options_.transfer, parts, clock_));
  if (staging_ == nullptr) return absl::OkStatus();
  for (const auto& path : staging_->paths()) transfer_.RegisterPath(path.get());
  return absl::OkStatus();
}

absl::Status Engine::Loop::LoadModels() {
  RETURN_IF_ERROR(StartStaging());
  RETURN_IF_ERROR(StartPeers());
  for (auto& model : std::exchange(parts_.models, {})) {
    const std::string name = model->name();
    RETURN_IF_ERROR(models_.Begin(name, model->path()));
    ASSIGN_OR_RETURN(LoadedModel loaded, Install(std::move(model), TakeSlots(name)));
    TakeOver(name, std::move(loaded));
  }
  for (EmbedderPart& part : std::exchange(parts_.embedders, {})) {
    const std::string name = part.embedder->name();
    RETURN_IF_ERROR(models_.Begin(name, ""));
    ASSIGN_OR_RETURN(LoadedModel loaded, Install(std::move(part)));
    TakeOver(name, std::move(loaded));
  }
  if (const std::string& name = options_.rag.rerank_model; !name.empty()) {
    const absl::Status found = models_.FindReranker(name).status();
    if (!found.ok()) {
      return absl::FailedPreconditionError(
          StrCat("rag.rerank_model: ", std::string(found.message())));
    }
  }
  RETURN_IF_ERROR(CheckRoutes());
  if (!options_.cost_model_path.empty()) RestoreCosts(options_.cost_model_path, board_);
  saved_us_ = clock_.NowUs();
  return absl::OkStatus();
}

void Engine::Loop::StartThread() {
  last_turn_us_ = clock_.NowUs();
  // Other devices and daemons may want one thread's calls only.
  brings_ = parts_.answers != nullptr && board_.present_count() == 1 && peers_ == nullptr;
  thread_ = std::thread([this] {
    NameThread("engine");
    turns_.Run();
  });
}

Engine::Loop::~Loop() {
  parts_.store->makers().graphs.Withdraw();
  parts_.store->makers().inverted_files.Withdraw();
  draining_ = true;
  if (thread_.joinable()) {
    mailbox_.Post([this] {
      while (!active_.empty()) {
        Fail(active_.begin()->second, absl::UnavailableError("the daemon is shutting down"));
      }
      stopping_ = true;
    });
    thread_.join();
  }
  turns_.Close();
  mailbox_.Close();
  SaveCosts();
  loader_.reset();  // it works on the executors
  // Executors run what they have begun; their completions go to the closed mailbox.
  while (!parts_.executors.empty()) parts_.executors.pop_back();  // some stand on earlier ones
}

thread_local bool Engine::Loop::is_clients_thread_ = false;

bool Engine::Loop::MaySearchHere(const ExecutorBoard::Begun& begun) const {
  if (!is_clients_thread_ || !turns_.keeps()) return false;
  const std::optional<CostPrediction> expected = board_.Expected(begun);
  return expected.has_value() && expected->run_us <= kSearchHereUsMax;
}

bool Engine::Loop::MayBring() const { return brings_ && in_flight_->count() <= kBringersMax; }

void Engine::Loop::Bring(Mailbox::Task task) {
  if (!MayBring()) return mailbox_.Post(std::move(task));
  turns_.Bring(std::move(task));
}

TimeUs Engine::Loop::NextTurnUs(TimeUs now_us) const {
  TimeUs wake_us = now_us + kIdleTurnUs;
  if (!deadlines_.empty()) wake_us = std::min(wake_us, deadlines_.begin()->first);
  for (const auto& lane : llm_lanes_) wake_us = std::min(wake_us, lane->NextWakeUs(now_us));
  if (peers_ != nullptr) wake_us = std::min(wake_us, peers_->NextWakeUs(now_us));
  return std::min({wake_us, NextUnloadUs(), board_.NextWatchUs(), collector_.NextDueUs()});
}

std::optional<TimeUs> Engine::Loop::Turn() {
  for (Mailbox::Task& task : mailbox_.TakeAll()) task();
  const TimeUs now_us = clock_.NowUs();
  ExpireDeadlines(now_us);
  LaunchDue(now_us);
  if (peers_ != nullptr) peers_->Poll(now_us);
  for (const auto& lane : llm_lanes_) lane->Step(now_us);
  AdvanceUnloads(now_us);
  transfer_.ExpireLeases(now_us);
  for (auto& lost : board_.Watch()) lost();
  for (const int suspected : board_.TakeSuspected()) OnLlmSuspected(suspected);
  if (now_us - saved_us_ >= options_.cost_model.save_seconds * 1'000'000) {
    saved_us_ = now_us;
    host_lane_.TryRun([this] { SaveCosts(); });  // where the lane is full: the next time
  }
  last_turn_us_ = now_us;
  if (stopping_) return std::nullopt;
  return NextTurnUs(now_us);
}

absl::Status Engine::Loop::Progress() const {
  if (clock_.NowUs() - last_turn_us_ >= kProgressLimitUs) {
    return absl::UnavailableError("the engine's loop has not turned for some seconds");
  }
  return board_.Progress();
}

void Engine::Loop::SaveCosts() {
  if (options_.cost_model_path.empty() || options_.cost_model.save_seconds == 0) return;
  const std::lock_guard lock(save_mutex_);
  const absl::Status saved = SaveCostsTo(options_.cost_model_path, board_);
  if (!saved.ok()) Log().warn("cost model: {}", std::string(saved.message()));
}

// ---- Requests

absl::StatusOr<RequestId> Engine::Loop::Admit(Envelope envelope, Outcome outcome,
                                              absl::AnyInvocable<void(const RequestPtr&)> begin,
                                              WaitsFor waits_for) {
  RETURN_IF_ERROR(ValidateEnvelope(envelope));
  if (draining_) return absl::UnavailableError("the daemon is shutting down");
  const TimeUs now_us = clock_.NowUs();
  if (envelope.deadline_us <= now_us) {
    return absl::DeadlineExceededError("the deadline had passed when the request arrived");
  }
  const RequestId id(next_request_++);
  ASSIGN_OR_RETURN(
      RequestsInFlight::Slot slot,
      in_flight_->Enter(id, waits_for, WaitUsMax(envelope, waits_for, now_us), now_us));
  auto active = std::make_shared<ActiveRequest>();
  active->id = id;
  active->envelope = std::move(envelope);
  active->arrived_us = now_us;
  active->outcome = std::move(outcome);
  active->slot = std::move(slot);
  Mailbox::Task task = [this, active = std::move(active), begin = std::move(begin)]() mutable {
    active_.emplace(active->id, active);
    if (active->envelope.deadline_us != kNoDeadline) {
      deadlines_.emplace(active->envelope.deadline_us, active->id);
    }
    begin(active);
  };
  if (waits_for == WaitsFor::kSearch && MayBring()) {
    const bool before = std::exchange(is_clients_thread_, true);
    turns_.Bring(std::move(task));
    is_clients_thread_ = before;
  } else {
    mailbox_.Post(std::move(task));
  }
  return id;
}

TimeUs Engine::Loop::WaitUsMax(const Envelope& envelope, WaitsFor what, TimeUs now_us) const {
  const int64_t limit_ms = what == WaitsFor::kSearch ? options_.queues.search_wait_ms
                                                     : options_.queues.first_token_wait_ms;
  TimeUs wait_us = limit_ms > 0 ? limit_ms * 1000 : -1;
  const auto lower = [&wait_us](TimeUs us) { wait_us = wait_us < 0 ? us : std::min(wait_us, us); };
  if (envelope.deadline_us != kNoDeadline) lower((envelope.deadline_us - now_us) / 2);
  if (envelope.hints.sla_required.value_or(false) && envelope.hints.latency_sla_us) {
    lower(*envelope.hints.latency_sla_us);
  }
  return wait_us;
}

void Engine::Loop::Cancel(RequestId id) {
  mailbox_.Post([this, id] {
    const auto it = active_.find(id);
    if (it != active_.end()) {
      Fail(it->second, absl::CancelledError("the client cancelled the request"));
    }
  });
}

void Engine::Loop::ExpireDeadlines(TimeUs now_us) {
  while (!deadlines_.empty() && deadlines_.begin()->first <= now_us) {
    const auto it = active_.find(deadlines_.begin()->second);
    BATON_CHECK(it != active_.end());
    Fail(it->second, absl::DeadlineExceededError("the request's deadline has passed"));
  }
}

void Engine::Loop::Forget(const RequestPtr& active, absl::StatusCode code) {
  active->ended = true;
  const TimeUs now_us = clock_.NowUs();
  slow_log_.Tell({.id = active->id,
                  .tenant = active->envelope.tenant,
                  .stages = active->stages,
                  .total_us = now_us - active->arrived_us,
                  .code = code},
                 now_us);
  active->llm_fenced = nullptr;  // it holds the request
  active->llm_suspected = nullptr;
  if (active->stop != nullptr) *active->stop = true;
  if (active->peer_fetch != 0) peers_->Drop(std::exchange(active->peer_fetch, 0));
  deadlines_.erase({active->envelope.deadline_us, active->id});
  active_.erase(active->id);
  for (const std::string& model : std::exchange(active->models, {})) {
    const auto uses = model_uses_.find(model);
    if (--uses->second == 0) model_uses_.erase(uses);
  }
  active->slot.set_served(code == absl::StatusCode::kOk);
  RequestsInFlight::Slot slot = std::move(active->slot);
  if (active->outcome.holder != nullptr) *active->outcome.holder = std::move(slot);
}

void Engine::Loop::Fail(const RequestPtr& request, absl::Status status) {
  const RequestPtr active = request;  // Forget() drops the caller's reference into active_
  if (active->ended) return;
  Forget(active, status.code());
  // Its sequences, if it has any, stop computing; what they still report is ignored.
  for (const SequenceId sequence : active->sequences) active->llm_lane->Cancel(sequence);
  std::exchange(active->outcome, {}).fail(std::move(status));
}

void Engine::Loop::RefuseFull(const RequestPtr& active, std::string_view queue, int64_t max) {
  metrics_.Counter(MetricId::kQueueRefused, {queue}).Increment();
  Fail(active, absl::ResourceExhaustedError(
                   StrCat("queues.", queue, "_queue_max: ", max, " are waiting; retry in 100 ms")));
}

bool Engine::Loop::Finish(const RequestPtr& active) {
  if (active->ended) return false;
  Forget(active, absl::StatusCode::kOk);
  return true;
}

Timings Engine::Loop::MakeTimings(const ActiveRequest& active) const {
  return Timings{.stages = active.stages, .total_us = clock_.NowUs() - active.arrived_us};
}

// ---- Where work runs

absl::Status Engine::Loop::CheckRoutes() {
  // Work of each class, as it comes without hints.
  struct Sample {
    WorkKind kind;
    int64_t items;
  };
  const Sample samples[] = {{WorkKind::kPrefill, 1},
                            {WorkKind::kDecode, 1},
                            {WorkKind::kSearch, 1},
                            {WorkKind::kSearch, options_.classify.search_bulk_queries + 1},
                            {WorkKind::kEmbed, 1},
                            {WorkKind::kRerank, 1},
                            {WorkKind::kCluster, 1},
                            {WorkKind::kWrite, 1},
                            {WorkKind::kWrite, options_.classify.batch_items + 1}};
  for (const Sample& sample : samples) {
    const RouteChoice choice = board_.Choose({}, {.kind = sample.kind,
                                                  .shape = ShapeOf(sample.kind, sample.items),
                                                  .only = {},
                                                  .explain = true});
    if (choice.chosen >= 0) continue;
    return absl::FailedPreconditionError(
        StrCat("route.platforms.", Name(choice.route.work_class), " and route.fallback: ",
               std::string(choice.status.message()), ", so that such work could run nowhere"));
  }
  return absl::OkStatus();
}

WorkShape Engine::Loop::ShapeOf(WorkKind kind, int64_t items) const {
  WorkShape shape{.items = static_cast<double>(items)};
  if (kind == WorkKind::kPrefill || kind == WorkKind::kDecode) {
    const auto model = models_.FindLanguage("");
    if (model.ok()) shape.scale = static_cast<double>((*model)->shape().parameters);
  } else if (kind == WorkKind::kSearch) {  // of the largest collection
    int64_t points = 0;
    for (const CollectionInfo& info : parts_.store->List()) {
      if (info.points <= points) continue;
      points = info.points;
      shape.context = static_cast<double>(info.points);
      shape.scale = static_cast<double>(info.spec.dimension);
    }
  }
  return shape;
}

int Engine::Loop::Route(const RequestPtr& active, std::string_view stage,
                        ExecutorBoard::Work work) {
  work.only = active->only_executor;
  work.held = &collector_;
  RouteChoice choice = board_.Choose(active->envelope.hints, work);
  if (choice.chosen < 0) {
    Fail(active, std::move(choice.status));
    return -1;
  }
  const baton::Route& route = choice.route;
  metrics_
      .Counter(MetricId::kStages, {Name(route.work_class), Name(route.platform),
                                   route.emulated ? "true" : "false", route.rule})
      .Increment();
  if (route.fallback) {
    metrics_
        .Counter(MetricId::kFallbacks,
                 {Name(route.work_class), Name(route.preferred), Name(route.platform)})
        .Increment();
  }
  const auto items = static_cast<int64_t>(work.shape.items);
  // Repeated work of one stage, such as an Ingest's batches, is one record.
  if (!active->stages.empty() && active->stages.back().name == stage) {
    if (work.failed != 0) {
      active->stages.back().route = std::move(choice.route);
    } else {
      active->stages.back().items += items;
    }
    return choice.chosen;
  }
  active->stages.push_back(Stage{.name = std::string(stage),
                                 .route = std::move(choice.route),
                                 .start_us = clock_.NowUs() - active->arrived_us,
                                 .items = items});
  return choice.chosen;
}

bool Engine::Loop::MayRetry(const RequestPtr& active, const absl::Status& status, int executor,
                            WorkClass work_class, ExecutorBoard::Work& work,
                            int32_t& retries_left) {
  // A full queue is no fault, but another executor may have room.
  if (!IsExecutorsFault(status) && !absl::IsResourceExhausted(status)) return false;
  if (retries_left <= 0) return false;
  --retries_left;
  ExecutorBoard::Work again = work;
  again.failed |= 1u << executor;
  again.only = active->only_executor;
  const Hints& hints = active->envelope.hints;
  if (board_.Choose(hints, again).chosen < 0) {
    // All have failed: only retry asks the same ones again.
    const bool same = hints.fallback ? *hints.fallback == Fallback::kRetry
                                     : !hints.platform && options_.route.fallback == "retry";
    again.failed = 0;
    if (!same || board_.Choose(hints, again).chosen < 0) return false;
  }
  work.failed = again.failed;
  const ExecutorInfo& info = parts_.executors[static_cast<size_t>(executor)]->Describe();
  metrics_.Counter(MetricId::kWorkRetries, {Name(work_class), Name(info.platform)}).Increment();
  Log().warn("{} failed on {} and is done again: {}", Name(work_class), info.device,
             std::string(status.message()));
  return true;
}

void Engine::Loop::EndStage(Stage& stage, const BatchTimes& times, const Energy& energy) {
  stage.queue_us += times.queue_us;
  stage.run_us += times.run_us;
  stage.joules_measured = energy.measured && (stage.joules == 0 || stage.joules_measured);
  stage.joules += energy.joules;
  const auto work_class = Name(stage.route.work_class);
  const auto platform = Name(stage.route.platform);
  metrics_.Histogram(MetricId::kStageSeconds, {work_class, platform})
      .Observe(Seconds(times.run_us));
  metrics_.Histogram(MetricId::kStageQueueSeconds, {work_class, platform})
      .Observe(Seconds(times.queue_us));
}

LlmLane* Engine::Loop::LaneOf(const LanguageModel& model) {
  for (const auto& lane : llm_lanes_) {
    if (&lane->model() == &model) return lane.get();
  }
  BATON_CHECK(false);
  return nullptr;
}

std::shared_ptr<GrammarCache> Engine::Loop::GrammarsOf(const LanguageModel& model) {
  return grammars_.at(&model);
}

}  // namespace baton
