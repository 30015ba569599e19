// The stages that are no generation: embed, rerank, search, cluster, write.
#include <algorithm>
#include <map>
#include <utility>

#include "engine/base/status_macros.h"
#include "engine/base/strings.h"
#include "engine/engine_loop.h"
#include "engine/text_search.h"
#include "engine/vector/view_queries.h"
#include "engine/vector/view_text.h"

namespace baton {
namespace {

// The neighbours as points: their scores, and what the request wants of their stored data. A point
// that was deleted since the search is left out. `hits` has no parts where there was no text.
absl::StatusOr<std::vector<std::vector<ScoredPoint>>> FetchPoints(const VectorStore& store,
                                                                  const SearchRequest& request,
                                                                  Metric metric,
                                                                  const TextHits& hits) {
  const SearchParams& params = request.params;
  const auto& neighbors = hits.neighbors;
  struct Stored {
    Point point;
    int uses = 0;  // still to come: the last one takes it
    bool found = false;
  };
  std::map<PointId, Stored> stored;
  const bool fetch = params.with_payload || params.with_vectors;
  if (fetch) {
    std::vector<PointId> ids;
    for (const auto& list : neighbors) {
      for (const Neighbor& neighbor : list) {
        if (stored[neighbor.id].uses++ == 0) ids.push_back(neighbor.id);
      }
    }
    ASSIGN_OR_RETURN(std::vector<Point> points,
                     store.Get(request.collection, ids, params.with_vectors, params.with_payload));
    for (Point& point : points) {
      Stored& one = stored[point.id];
      one.point = std::move(point);
      one.found = true;
    }
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
        if (!it->second.found) continue;
        if (--it->second.uses > 0) {
          scored.payload = it->second.point.payload;
          scored.vector = it->second.point.vector;
          scored.named = it->second.point.named;
        } else {
          scored.payload = std::move(it->second.point.payload);
          scored.vector = std::move(it->second.point.vector);
          scored.named = std::move(it->second.point.named);
        }
      }
      results[i].push_back(std::move(scored));
    }
  }
  return results;
}

}  // namespace

std::vector<std::string> Engine::Loop::UnableToEmbed(const Embedder& embedder) const {
  std::vector<std::string> unable;
  for (const auto& executor : parts_.executors) {
    EmbedSkill* const skill = executor->embed();
    unable.push_back(skill == nullptr ? "" : skill->Unable(embedder));
  }
  return unable;
}

void Engine::Loop::RunEmbed(const RequestPtr& active, WorkKind kind, EmbedBatch batch,
                            absl::AnyInvocable<void(EmbedBatchResult)> then) {
  batch.deadline_us = active->envelope.deadline_us;
  batch.deterministic = active->envelope.hints.deterministic.value_or(false);
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
  attempt->unable = UnableToEmbed(*batch.embedder);
  attempt->work = {.kind = kind, .shape = shape, .unable = attempt->unable, .only = {}};
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

}  // namespace baton
