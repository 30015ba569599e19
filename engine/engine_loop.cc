#include "engine/engine_loop.h"

#include <algorithm>
#include <array>
#include <map>
#include <numeric>
#include <utility>

#include "engine/base/check.h"
#include "engine/base/log.h"
#include "engine/base/memory_limit.h"
#include "engine/base/simd_level.h"
#include "engine/base/status_macros.h"
#include "engine/base/strings.h"
#include "engine/cost_model_file.h"
#include "engine/exec/cpu/kernels/kv_convert.h"
#include "engine/generate_run.h"
#include "engine/text_search.h"
#include "engine/vector/view_queries.h"
#include "engine/vector/view_text.h"

namespace baton {
namespace {

// Behind a tenant's name, as the prefix caches know it; longer than any name that a client can
// give.
const std::string& DeterministicSalt() {
  static const std::string salt(129, 'd');
  return salt;
}
constexpr TimeUs kIdleTurnUs = 500'000;         // the loop turns at least this often
constexpr TimeUs kProgressLimitUs = 5'000'000;  // without a turn for so long it is stuck

// What models may take where the configuration leaves it to the daemon: the rest is for vectors,
// requests and the page cache.
int64_t ModelsBytesMax(const MemoryOptions& options) {
  return options.models_bytes_max > 0 ? options.models_bytes_max : MemoryLimitBytes() / 5 * 4;
}

// The neighbours as points: their scores, and what the request wants of their stored data. A point
// that was deleted since the search is left out. `hits` has no parts where there was no text.
absl::StatusOr<std::vector<std::vector<ScoredPoint>>> FetchPoints(const VectorStore& store,
                                                                  const SearchRequest& request,
                                                                  Metric metric,
                                                                  const TextHits& hits) {
  const SearchParams& params = request.params;
  const auto& neighbors = hits.neighbors;
  std::map<PointId, Point> stored;
  const bool fetch = params.with_payload || params.with_vectors;
  if (fetch) {
    std::vector<PointId> ids;
    for (const auto& list : neighbors) {
      for (const Neighbor& neighbor : list) {
        if (stored.try_emplace(neighbor.id).second) ids.push_back(neighbor.id);
      }
    }
    ASSIGN_OR_RETURN(std::vector<Point> points,
                     store.Get(request.collection, ids, params.with_vectors, params.with_payload));
    stored.clear();
    for (Point& point : points) stored.emplace(point.id, std::move(point));
  }
  std::vector<std::vector<ScoredPoint>> results(neighbors.size());
  for (size_t i = 0; i < neighbors.size(); ++i) {
    for (size_t j = 0; j < neighbors[i].size(); ++j) {
      const Neighbor& neighbor = neighbors[i][j];
      ScoredPoint scored{.id = neighbor.id,
                         .score = ScoreOf(metric, neighbor.distance),
                         .payload = {},
                         .vector = {}};
      if (!hits.parts.empty()) {
        scored.score = -neighbor.distance;
        scored.parts = hits.parts[i][j];
      }
      if (fetch) {
        const auto it = stored.find(neighbor.id);
        if (it == stored.end()) continue;
        scored.payload = it->second.payload;
        scored.vector = it->second.vector;
        scored.named = it->second.named;
      }
      results[i].push_back(std::move(scored));
    }
  }
  return results;
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
      in_flight_gauge_(metrics_.Gauge(MetricId::kRequestsInFlight)),
      write_lane_(*parts_.store, clock_, *parts_.metrics,
                  static_cast<size_t>(options.queues.write_queue_max)),
      host_lane_(static_cast<int>(options.queues.host_threads),
                 static_cast<size_t>(options.queues.host_queue_max)),
      loader_(std::in_place, 1, static_cast<size_t>(kModelJobsMax)) {
  transfer_.RegisterDirectPath(&host_direct_path_);
  transfer_.RegisterPath(&host_path_);
  for (const auto& path : parts_.paths) transfer_.RegisterPath(path.get());
  // The first that can: graphs are linked one after the other anyway.
  for (const auto& executor : parts_.executors) {
    GraphSkill* const graph = executor->graph();
    if (graph == nullptr) continue;
    parts_.store->graphs().Offer(
        [graph](const GraphRows& rows, const GraphNodes& nodes, absl::FunctionRef<bool()> stop) {
          return graph->Link(rows, nodes, stop);
        });
    break;
  }
}

absl::Status Engine::Loop::LoadModels() {
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
  thread_ = std::thread([this] { Run(); });
}

Engine::Loop::~Loop() {
  parts_.store->graphs().Withdraw();
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
  mailbox_.Close();
  SaveCosts();
  loader_.reset();  // it works on the executors
  // Executors run what they have begun; their completions go to the closed mailbox.
  while (!parts_.executors.empty()) parts_.executors.pop_back();  // some stand on earlier ones
}

void Engine::Loop::Run() {
  while (!stopping_) Turn();
}

void Engine::Loop::Turn() {
  TimeUs now_us = clock_.NowUs();
  TimeUs wake_us = now_us + kIdleTurnUs;
  if (!deadlines_.empty()) wake_us = std::min(wake_us, deadlines_.begin()->first);
  for (const auto& lane : llm_lanes_) wake_us = std::min(wake_us, lane->NextWakeUs(now_us));
  if (peers_ != nullptr) wake_us = std::min(wake_us, peers_->NextWakeUs(now_us));
  wake_us = std::min({wake_us, NextUnloadUs(), board_.NextWatchUs(), collector_.NextDueUs()});
  for (Mailbox::Task& task : mailbox_.TakeAll(std::max<TimeUs>(0, wake_us - now_us))) task();
  now_us = clock_.NowUs();
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

absl::StatusOr<RequestId> Engine::Loop::Admit(Envelope envelope,
                                              absl::AnyInvocable<void(absl::Status)> fail,
                                              absl::AnyInvocable<void(const RequestPtr&)> begin) {
  RETURN_IF_ERROR(ValidateEnvelope(envelope));
  if (draining_) return absl::UnavailableError("the daemon is shutting down");
  const TimeUs now_us = clock_.NowUs();
  if (envelope.deadline_us <= now_us) {
    return absl::DeadlineExceededError("the deadline had passed when the request arrived");
  }
  if (in_flight_.fetch_add(1) >= options_.queues.requests_in_flight_max) {
    --in_flight_;
    metrics_.Counter(MetricId::kQueueRefused, {"requests"}).Increment();
    return absl::ResourceExhaustedError(
        StrCat("queues.requests_in_flight_max: ", options_.queues.requests_in_flight_max,
               " requests are in flight; retry in 100 ms"));
  }
  auto active = std::make_shared<ActiveRequest>();
  active->id = RequestId(next_request_++);
  active->envelope = std::move(envelope);
  active->arrived_us = now_us;
  active->fail = std::move(fail);
  const RequestId id = active->id;
  mailbox_.Post([this, active = std::move(active), begin = std::move(begin)]() mutable {
    in_flight_gauge_.Set(static_cast<double>(in_flight_));
    active_.emplace(active->id, active);
    if (active->envelope.deadline_us != kNoDeadline) {
      deadlines_.emplace(active->envelope.deadline_us, active->id);
    }
    begin(active);
  });
  return id;
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

void Engine::Loop::Forget(const RequestPtr& active) {
  active->ended = true;
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
  in_flight_gauge_.Set(static_cast<double>(--in_flight_));
}

void Engine::Loop::Fail(const RequestPtr& request, absl::Status status) {
  const RequestPtr active = request;  // Forget() drops the caller's reference into active_
  if (active->ended) return;
  Forget(active);
  // Its sequences, if it has any, stop computing; what they still report is ignored.
  for (const SequenceId sequence : active->sequences) active->llm_lane->Cancel(sequence);
  std::exchange(active->fail, nullptr)(std::move(status));
}

void Engine::Loop::RefuseFull(const RequestPtr& active, std::string_view queue, int64_t max) {
  metrics_.Counter(MetricId::kQueueRefused, {queue}).Increment();
  Fail(active, absl::ResourceExhaustedError(
                   StrCat("queues.", queue, "_queue_max: ", max, " are waiting; retry in 100 ms")));
}

bool Engine::Loop::Finish(const RequestPtr& active) {
  if (active->ended) return false;
  Forget(active);
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

void Engine::Loop::RunEmbed(const RequestPtr& active, WorkKind kind, EmbedBatch batch,
                            absl::AnyInvocable<void(EmbedBatchResult)> then) {
  batch.deadline_us = active->envelope.deadline_us;
  WorkShape shape{.items = static_cast<double>(batch.texts.size())};
  size_t bytes = 0;
  for (const std::string& text : batch.texts) bytes += text.size();
  shape.context = static_cast<double>(bytes) / std::max(1.0, shape.items);
  if (const auto* encoder = dynamic_cast<const TextEncoder*>(batch.embedder.get())) {
    shape.scale = static_cast<double>(encoder->shape().parameters);
  }
  auto attempt = std::make_shared<Attempt<EmbedBatch, EmbedBatchResult>>();
  attempt->active = active;
  attempt->stage_name = kind == WorkKind::kRerank ? "rerank" : "embed";
  attempt->work = {.kind = kind, .shape = shape, .only = {}};
  attempt->batch = std::move(batch);
  attempt->execute = [](Executor& executor, EmbedBatch work,
                        absl::AnyInvocable<void(EmbedBatchResult)> done) {
    executor.embed()->Execute(std::move(work), std::move(done));
  };
  attempt->then = std::move(then);
  Try(attempt);
}

void Engine::Loop::RunRerank(const RequestPtr& active, const EmbedderPart& model, std::string query,
                             std::vector<std::string> documents,
                             absl::AnyInvocable<void(Scores)> then) {
  EmbedBatch batch{.embedder = model.embedder, .texts = std::move(documents)};
  if (model.embedder->kind() == Embedder::Kind::kCrossEncoder) {
    batch.query = std::move(query);
    return RunEmbed(active, WorkKind::kRerank, std::move(batch),
                    [then = std::move(then)](EmbedBatchResult result) mutable {
                      Scores scores{.method = RerankMethod::kCrossEncoder,
                                    .texts = std::move(result.texts),
                                    .query_truncated = result.query_truncated};
                      for (size_t i = 0; i < result.embeddings.size(); ++i) {
                        scores.raw_scores.push_back(result.embeddings[i].front());
                        scores.truncated.push_back(result.inputs[i].truncated);
                      }
                      then(std::move(scores));
                    });
  }
  const size_t prefix = model.passage_prefix.size();
  if (prefix > 0) {
    for (std::string& text : batch.texts) text.insert(0, model.passage_prefix);
  }
  batch.texts.push_back(model.question_prefix + query);
  RunEmbed(active, WorkKind::kRerank, std::move(batch),
           [prefix, then = std::move(then)](EmbedBatchResult result) mutable {
             Scores scores{.method = RerankMethod::kEmbedding,
                           .query_truncated = result.inputs.back().truncated};
             const std::vector<float> query_embedding = std::move(result.embeddings.back());
             result.texts.pop_back();
             for (size_t i = 0; i < result.texts.size(); ++i) {
               const std::vector<float>& embedding = result.embeddings[i];
               // Both are of length one.
               scores.raw_scores.push_back(std::inner_product(embedding.begin(), embedding.end(),
                                                              query_embedding.begin(), 0.0f));
               scores.truncated.push_back(result.inputs[i].truncated);
               if (prefix > 0) result.texts[i].erase(0, prefix);
             }
             scores.texts = std::move(result.texts);
             then(std::move(scores));
           });
}

void Engine::Loop::RunSearch(const RequestPtr& active, SearchRequest request,
                             absl::AnyInvocable<void(SearchResult)> then) {
  absl::StatusOr<std::shared_ptr<const CollectionView>> view =
      parts_.store->View(request.collection, request.vector_name);
  if (!view.ok()) return Fail(active, view.status());
  // Texts are those of all points, also of those that lack the vector.
  std::shared_ptr<const CollectionView> texts_view = *view;
  if (!request.vector_name.empty() && !request.texts.empty()) {
    const auto all = parts_.store->View((*view)->spec().name);
    if (!all.ok()) return Fail(active, all.status());
    texts_view = *all;
  }
  // A named vector has no partition key of its own.
  auto filter = CheckFilter(request.collection, request.params);
  if (!filter.ok()) return Fail(active, filter.status());
  request.params.filter = *std::move(filter);
  const bool text_only = IsTextOnly(request);
  if (text_only && !request.vector_name.empty()) {
    return Fail(active, absl::InvalidArgumentError(
                            "vector_name says what a vector is compared with, but there is none"));
  }
  for (size_t i = 0; i < request.queries.size(); ++i) {
    absl::Status status;
    if (!request.texts.empty()) status = CheckTextQuery(*texts_view, request.texts[i]);
    if (status.ok() && !text_only) status = PrepareQuery(**view, request.queries[i]);
    if (!status.ok()) {
      return Fail(
          active,
          absl::Status(status.code(), StrCat("queries[", i, "]: ", std::string(status.message()))));
    }
  }
  request.collection = (*view)->spec().name;  // an alias may be switched meanwhile
  const Metric metric = (*view)->spec().metric;
  const TimeUs deadline_us = active->envelope.deadline_us;
  const WorkShape shape{.items = static_cast<double>(request.queries.size()),
                        .context = static_cast<double>((*view)->points()),
                        .scale = static_cast<double>((*view)->spec().dimension)};
  SearchBatch batch{.view = *view,
                    .queries = std::move(request.queries),
                    .params = DenseParams(request),
                    .deadline_us = deadline_us};
  // Only texts need a view once more.
  if (request.texts.empty()) texts_view.reset();
  auto answer = [this, active, metric, deadline_us, view = std::move(texts_view),
                 request = std::make_shared<SearchRequest>(std::move(request)),
                 then = std::move(then)](SearchBatchResult found) mutable {
    RunHost<SearchResult>(
        active,
        [this, request, metric, deadline_us, view = std::move(view),
         found = std::move(found)]() mutable -> absl::StatusOr<SearchResult> {
          SearchResult result{.unsearched_points = found.unsearched_points};
          if (request->is_range) {
            result.more = std::ssize(found.neighbors.front()) > request->params.k;
            if (result.more) found.neighbors.front().pop_back();
          }
          TextHits hits{.neighbors = found.neighbors, .parts = {}};
          if (!request->texts.empty()) {
            const auto poll = [&] { return MayGoOn("search by text", *view, deadline_us); };
            ASSIGN_OR_RETURN(hits, SearchTexts(*view, metric, *request, found.neighbors, poll));
          }
          ASSIGN_OR_RETURN(result.results, FetchPoints(*parts_.store, *request, metric, hits));
          return result;
        },
        std::move(then));
  };
  if (text_only) return answer({});
  auto attempt = std::make_shared<Attempt<SearchBatch, SearchBatchResult>>();
  attempt->active = active;
  attempt->stage_name = "search";
  for (const auto& executor : parts_.executors) {
    SearchSkill* const skill = executor->search();
    attempt->unable.push_back(skill == nullptr ? "" : skill->Unable(*batch.view, batch.params));
  }
  attempt->work = {
      .kind = WorkKind::kSearch, .shape = shape, .unable = attempt->unable, .only = {}};
  attempt->batch = std::move(batch);
  attempt->execute = [](Executor& executor, SearchBatch work,
                        absl::AnyInvocable<void(SearchBatchResult)> done) {
    executor.search()->Execute(std::move(work), std::move(done));
  };
  attempt->then = std::move(answer);
  Try(attempt);
}

void Engine::Loop::RunCluster(const RequestPtr& active, ClusterBatch batch,
                              const ClusterInput& input,
                              absl::AnyInvocable<void(ClusterBatchResult)> then) {
  auto attempt = std::make_shared<Attempt<ClusterBatch, ClusterBatchResult>>();
  attempt->active = active;
  attempt->stage_name = "cluster";
  attempt->work = {.kind = WorkKind::kCluster,
                   .shape = {.items = static_cast<double>(input.points),
                             .context = static_cast<double>(batch.params.k),
                             .scale = static_cast<double>(input.dimension)},
                   .only = {}};
  attempt->batch = std::move(batch);
  attempt->open_ended = true;
  attempt->execute = [](Executor& executor, ClusterBatch work,
                        absl::AnyInvocable<void(ClusterBatchResult)> done) {
    executor.cluster()->Execute(std::move(work), std::move(done));
  };
  attempt->then = std::move(then);
  Try(attempt);
}

absl::Status Engine::Loop::MayGoOn(const char* what, const CollectionView& view,
                                   TimeUs deadline_us) const {
  if (stopping_) return absl::CancelledError("the engine is shutting down");
  if (clock_.NowUs() < deadline_us) return absl::OkStatus();
  return absl::DeadlineExceededError(
      StrCat("the ", what, " over ", view.points(), " points did not end before its deadline"));
}

absl::StatusOr<FilterPtr> Engine::Loop::CheckFilter(const std::string& collection,
                                                    const SearchParams& params) const {
  ASSIGN_OR_RETURN(const auto view, parts_.store->View(collection));
  return parts_.store->CheckFilter(view->spec(), params.partition, params.filter);
}

absl::StatusOr<SearchGroupsResult> Engine::Loop::FindGroups(
    const SearchGroupsRequest& request) const {
  ASSIGN_OR_RETURN(const auto view, parts_.store->View(request.collection, request.vector_name));
  SearchParams params = request.params;
  ASSIGN_OR_RETURN(params.filter, CheckFilter(request.collection, params));
  std::vector<float> query = request.query;
  RETURN_IF_ERROR(PrepareQuery(*view, query));
  const auto poll = [&] {
    return MayGoOn("search of groups", *view, request.envelope.deadline_us);
  };
  std::vector<NeighborGroup> found;
  SearchGroupsResult result;
  RETURN_IF_ERROR(SearchViewGroups(*view, query, params, request.group_by, poll, &found,
                                   &result.unsearched_points));
  std::vector<std::vector<Neighbor>> neighbors;
  for (NeighborGroup& group : found) neighbors.push_back(std::move(group.neighbors));
  ASSIGN_OR_RETURN(
      std::vector<std::vector<ScoredPoint>> points,
      FetchPoints(*parts_.store, {.collection = view->spec().name, .params = request.params},
                  view->spec().metric, {.neighbors = neighbors, .parts = {}}));
  for (size_t i = 0; i < found.size(); ++i) {
    result.groups.push_back({.value = std::move(found[i].value), .points = std::move(points[i])});
  }
  return result;
}

void Engine::Loop::RunWrite(const RequestPtr& active, Write write,
                            absl::AnyInvocable<void(WriteResult)> then) {
  // How many a filter means is not known yet.
  auto items = static_cast<int64_t>(write.upserts.size() + write.deletes.size());
  for (const PayloadPatch& patch : write.patches) items += std::ssize(patch.ids);
  items = std::max<int64_t>(items, 1);
  const int executor =
      Route(active, "write",
            {.kind = WorkKind::kWrite, .shape = {.items = static_cast<double>(items)}, .only = {}});
  if (executor < 0) return;
  const size_t stage = active->stages.size() - 1;
  // To what an alias means now: held back, it must not end up in another collection.
  write.collection = parts_.store->ResolveName(write.collection);
  const bool queued = write_lane_.TryWrite(
      std::move(write), active->envelope.deadline_us,
      [this, active, stage, then = std::move(then)](WriteLane::Outcome outcome) mutable {
        mailbox_.Post(
            [this, active, stage, then = std::move(then), outcome = std::move(outcome)]() mutable {
              if (active->ended) return;
              EndStage(active->stages[stage],
                       {.queue_us = outcome.queue_us, .run_us = outcome.run_us}, {});
              if (!outcome.result.status.ok()) return Fail(active, outcome.result.status);
              then(std::move(outcome.result));
            });
      });
  if (!queued) RefuseFull(active, "write", options_.queues.write_queue_max);
}

void Engine::Loop::RunGenerate(const RequestPtr& active, LlmLane& lane, std::vector<LlmJob> jobs,
                               absl::AnyInvocable<void(GenerateResult)> then) {
  auto run = std::make_shared<GenerateRun>();
  run->active = active;
  run->lane = &lane;
  for (LlmJob& job : jobs) {
    run->on_prompt.push_back(std::exchange(job.on_prompt, nullptr));
    run->on_tokens.push_back(std::exchange(job.on_tokens, nullptr));
  }
  run->jobs = std::move(jobs);
  run->then = std::move(then);
  run->before = active->stages;
  const auto parameters = static_cast<double>(lane.model().shape().parameters);
  const auto prompt = static_cast<double>(run->jobs.front().prompt.size());
  run->prefill = {
      .kind = WorkKind::kPrefill, .shape = {.items = prompt, .scale = parameters}, .only = {}};
  run->decode = {.kind = WorkKind::kDecode,
                 .shape = {.items = 1, .context = prompt, .scale = parameters},
                 .only = {}};
  run->prefill.unable = run->decode.unable = lane.unable();
  if (board_.present_count() > 1) {
    run->retries_left = RetriesOf(options_.route, active->envelope.hints);
  }
  if (!AskPeer(run)) StartGenerate(run);
}

void Engine::Loop::StartGenerate(const std::shared_ptr<GenerateRun>& run) {
  const RequestPtr& active = run->active;
  active->stages = run->before;
  const int prefill = Route(active, "prefill", run->prefill);
  if (prefill < 0) return;
  run->routed[0] = active->stages.back();
  run->decode.after = prefill;
  const int decode = Route(active, "decode", run->decode);
  if (decode < 0) return;
  run->routed[1] = active->stages.back();
  active->llm_lane = run->lane;
  active->llm_executors = {prefill, decode};
  const uint32_t number = ++run->number;

  // Elsewhere, from the start, where nothing was handed out. Its sequences still hold what a device
  // that hangs may write to; they end as that comes back.
  const auto again = [this, run](const absl::Status& status, int executor) {
    if (run->delivered || run->jobs.empty()) return false;
    const WorkClass work_class = run->routed[0].route.work_class;
    if (!MayRetry(run->active, status, executor, work_class, run->prefill, run->retries_left)) {
      return false;
    }
    run->decode.failed = run->prefill.failed;
    ++run->number;
    for (const SequenceId sequence : run->active->sequences) run->lane->Cancel(sequence);
    run->active->sequences.clear();
    StartGenerate(run);
    return true;
  };
  active->llm_fenced = [this, run, again](int executor, absl::Status status) {
    if (run->delivered) {  // each of its sequences that depends on it goes on as it may
      const std::vector<SequenceId> sequences = run->active->sequences;
      for (const SequenceId id : sequences) run->lane->Lost(id, executor, status);
    } else if (!again(status, executor)) {
      Fail(run->active, std::move(status));
    }
  };
  // Where all of it waits, and another executor may have it.
  active->llm_suspected = [this, run, again](int executor) {
    const std::vector<SequenceId>& sequences = run->active->sequences;
    const bool waits = std::all_of(sequences.begin(), sequences.end(),
                                   [&](SequenceId id) { return run->lane->Waits(id); });
    ExecutorBoard::Work elsewhere = run->prefill;
    elsewhere.failed |= 1u << executor;
    elsewhere.only = run->active->only_executor;
    if (run->delivered || !waits || run->retries_left <= 0 ||
        board_.Choose(run->active->envelope.hints, elsewhere).chosen < 0) {
      return;
    }
    again(absl::UnavailableError("the device completes nothing, and the work waits for it"),
          executor);
  };
  for (size_t i = 0; i < run->on_tokens.size(); ++i) {
    LlmJob job = run->retries_left > 0 ? CopyWork(run->jobs[i]) : std::move(run->jobs[i]);
    job.prefill_executor = prefill;
    job.decode_executor = job.keep.empty() ? decode : prefill;
    job.given = run->given;
    job.priority = active->envelope.priority;
    job.tenant = active->envelope.tenant;
    job.deterministic = active->envelope.hints.deterministic.value_or(false);
    // What was computed in another way is not to be found again as if it were the same.
    if (job.deterministic) job.tenant += DeterministicSalt();
    job.arrived_us = active->arrived_us;
    job.deadline_us = active->envelope.deadline_us;
    job.on_failure = OnHandoffFailure(active->envelope.hints);
    job.on_lost = [this, run, number, failed = 0u](
                      SequenceId next, int executor,
                      const absl::Status& status) mutable -> absl::StatusOr<LlmPlacement> {
      if (executor >= 0) failed |= 1u << executor;
      // Before the first token the fallback decides.
      if (run->active->ended || number != run->number || !run->delivered) return status;
      return Reroute(*run, failed, next, status);
    };
    if (run->on_prompt[i] != nullptr) {
      job.on_prompt = [run, number, i](PromptChunk chunk) {
        if (number != run->number) return;
        run->delivered = true;
        run->on_prompt[i](std::move(chunk));
      };
    }
    job.on_tokens = [run, number, i](TokenChunk chunk) {
      if (number != run->number) return;
      run->delivered = true;
      run->on_tokens[i](std::move(chunk));
    };
    job.on_end = [this, run, number, again, prefill, decode](
                     absl::Status status, GenerateResult result, const LlmUsage& usage) {
      if (run->active->ended || number != run->number) return;
      result.timings = {
          .stages = LlmStages(run->before, run->routed, usage, run->active->arrived_us),
          .total_us = clock_.NowUs() - run->active->arrived_us};
      if (status.ok()) return run->then(std::move(result));
      if (!again(status, usage.decode_start_us != 0 ? decode : prefill)) {
        Fail(run->active, std::move(status));
      }
    };
    const absl::StatusOr<SequenceId> sequence = run->lane->Start(std::move(job));
    if (!sequence.ok()) return Fail(active, sequence.status());
    active->sequences.push_back(*sequence);
  }
  run->given.reset();  // what is started again is computed
  if (run->retries_left == 0) run->jobs.clear();
}

HandoffFailure Engine::Loop::OnHandoffFailure(const Hints& hints) const {
  HandoffFailure failure{};
  BATON_CHECK(Parse(options_.transfer.on_failure, &failure));  // the options' OneOf
  return hints.on_handoff_failure.value_or(failure);
}

absl::StatusOr<LlmPlacement> Engine::Loop::Reroute(GenerateRun& run, uint32_t failed,
                                                   SequenceId next, const absl::Status& status) {
  const Hints& hints = run.active->envelope.hints;
  ExecutorBoard::Work work[] = {run.prefill, run.decode};
  RouteChoice choices[2];
  for (size_t i = 0; i < 2; ++i) {
    work[i].failed |= failed;
    work[i].only = run.active->only_executor;
    if (i > 0) work[i].after = choices[0].chosen;
    choices[i] = board_.Choose(hints, work[i]);
    if (choices[i].chosen < 0) return status;  // nowhere else
  }
  for (size_t i = 0; i < 2; ++i) {
    const baton::Route& route = choices[i].route;
    metrics_
        .Counter(MetricId::kFallbacks,
                 {Name(route.work_class), Name(route.preferred), Name(route.platform)})
        .Increment();
    run.routed[i].route = std::move(choices[i].route);
    run.active->llm_executors.push_back(choices[i].chosen);
  }
  run.active->sequences.push_back(next);
  return LlmPlacement{.prefill_executor = choices[0].chosen, .decode_executor = choices[1].chosen};
}

std::vector<RequestPtr> Engine::Loop::LlmRequestsOn(int executor) const {
  std::vector<RequestPtr> found;
  for (const auto& [id, active] : active_) {
    const std::vector<int>& executors = active->llm_executors;
    if (std::find(executors.begin(), executors.end(), executor) != executors.end()) {
      found.push_back(active);
    }
  }
  return found;
}

void Engine::Loop::OnLlmSuspected(int executor) {
  for (const RequestPtr& active : LlmRequestsOn(executor)) {
    if (active->ended || active->llm_suspected == nullptr) continue;
    auto suspected = std::exchange(active->llm_suspected, nullptr);  // it may set another one
    suspected(executor);
    if (!active->ended && active->llm_suspected == nullptr) {
      active->llm_suspected = std::move(suspected);
    }
  }
}

void Engine::Loop::OnLlmFenced(int executor) {
  for (const RequestPtr& active : LlmRequestsOn(executor)) {
    if (active->ended || active->llm_fenced == nullptr) continue;
    auto fenced = std::exchange(active->llm_fenced, nullptr);  // it may set another one
    fenced(executor, absl::UnavailableError("the device completes nothing and was fenced"));
    // What goes on may be hit by another fence.
    if (!active->ended && active->llm_fenced == nullptr) active->llm_fenced = std::move(fenced);
  }
}

std::vector<Stage> Engine::Loop::LlmStages(std::vector<Stage> stages,
                                           std::span<const Stage, 2> routed, const LlmUsage& usage,
                                           TimeUs arrived_us) {
  if (usage.reload_start_us != 0) {
    Stage reload{.name = "reload",
                 .route = routed[0].route,
                 .start_us = usage.reload_start_us - arrived_us,
                 .run_us = usage.reload.copy_us,
                 .items = usage.reload.bytes};
    reload.route.reason = usage.reload.path.empty() ? "failed" : StrCat("path ", usage.reload.path);
    stages.push_back(std::move(reload));
  }
  Stage prefill = routed[0];
  prefill.start_us = usage.prefill_start_us - arrived_us;
  prefill.items = usage.prefill_tokens;
  EndStage(prefill, usage.prefill, usage.prefill_energy);
  stages.push_back(std::move(prefill));
  const bool decoded = usage.decode_tokens > 0;  // else it ended with what the prefill sampled
  if (usage.handoff_start_us != 0) {
    Stage handoff{.name = "handoff",
                  .route = routed[decoded ? 1 : 0].route,
                  .start_us = usage.handoff_start_us - arrived_us,
                  .run_us = usage.handoff.copy_us,
                  .items = usage.handoff.bytes};
    handoff.route.reason = StrCat("path ", usage.handoff.path);
    stages.push_back(std::move(handoff));
  }
  if (decoded) {
    Stage decode = routed[1];
    if (usage.stayed) {
      const baton::Route& prefilled = routed[0].route;
      decode.route.platform = prefilled.platform;
      decode.route.device = prefilled.device;
      decode.route.emulated = prefilled.emulated;
      decode.route.fallback = true;
      decode.route.reason =
          StrCat("local: ", routed[1].route.device, " failed, or the handoff to it");
    }
    decode.start_us = usage.decode_start_us - arrived_us;
    decode.items = usage.decode_tokens;
    EndStage(decode, usage.decode, usage.decode_energy);
    stages.push_back(std::move(decode));
  }
  return stages;
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
