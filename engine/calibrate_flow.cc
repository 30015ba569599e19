// Calibration: small batches of every class of work on every executor that is there, one after
// another, through the same stages that requests take. What they took is learned on the way.

#include <random>
#include <utility>

#include "engine/base/check.h"
#include "engine/engine_loop.h"

namespace baton {
namespace {

constexpr int kSizes[] = {1, 2, 4, 8, 16, 32};
// Of each size: what is sure takes 32 batches of a class by default.
constexpr int kRounds = 7;
constexpr int kPromptTokens[] = {8, 16, 32, 64};
constexpr int kGeneratedTokens = 8;
constexpr int kClusterPoints[] = {64, 128, 256, 512};
constexpr int kClusterDimension = 32;

struct Step {
  int executor = 0;
  WorkKind kind = WorkKind::kEmbed;
  int64_t items = 1;
};

std::vector<float> RandomVector(std::mt19937& random, int64_t dimension) {
  std::normal_distribution<float> normal;
  std::vector<float> vector(static_cast<size_t>(dimension));
  for (float& value : vector) value = normal(random);
  return vector;
}

std::vector<std::string> Texts(int64_t count) {
  return std::vector<std::string>(
      static_cast<size_t>(count),
      "The keeper lights the lamp at dusk, and writes down each ship that passes until morning.");
}

}  // namespace

struct Engine::Loop::CalibrateFlow {
  RequestPtr active;
  Done<std::vector<LearnedCost>> done;
  std::vector<Step> steps;
  size_t next = 0;
  std::mt19937 random{1};
  // What there is to calibrate with; empty or null: those steps are left out.
  std::string collection;
  int64_t dimension = 0;
  std::shared_ptr<const EmbedderPart> embedder;
  std::shared_ptr<const EmbedderPart> reranker;
  std::shared_ptr<const LanguageModel> model;
};

void Engine::Loop::Calibrate(const RequestPtr& active, Done<std::vector<LearnedCost>> done) {
  auto flow = std::make_shared<CalibrateFlow>();
  flow->active = active;
  flow->done = std::move(done);
  active->envelope.hints.fallback = Fallback::kAlternate;  // to the one executor it is for
  int64_t points = 0;
  for (const CollectionInfo& info : parts_.store->List()) {
    if (info.points <= points || info.spec.dimension == 0) continue;
    points = info.points;
    flow->collection = info.spec.name;
    flow->dimension = info.spec.dimension;
  }
  // Models that are missing are no error here.
  if (auto embedder = UseEmbedder(active, ""); embedder.ok()) flow->embedder = *embedder;
  if (auto reranker = UseReranker(active, ""); reranker.ok()) flow->reranker = *reranker;
  if (auto model = UseLanguage(active, ""); model.ok()) flow->model = *model;

  const auto add = [this, &flow](int executor, WorkKind kind, int64_t items) {
    std::vector<std::string> unable;
    if (kind == WorkKind::kEmbed) unable = UnableToEmbed(*flow->embedder->embedder);
    if (kind == WorkKind::kRerank) unable = UnableToEmbed(*flow->reranker->embedder);
    const ExecutorBoard::Work work = {.kind = kind,
                                      .shape = ShapeOf(kind, items),
                                      .unable = unable,
                                      .only = executor,
                                      .explain = true};
    if (board_.Choose(flow->active->envelope.hints, work).chosen != executor) return;
    flow->steps.push_back({.executor = executor, .kind = kind, .items = items});
  };
  for (int executor = 0; executor < static_cast<int>(parts_.executors.size()); ++executor) {
    for (int round = 0; round < kRounds; ++round) {
      for (const int items : kSizes) {
        if (flow->embedder != nullptr) add(executor, WorkKind::kEmbed, items);
        if (flow->reranker != nullptr) add(executor, WorkKind::kRerank, items);
        if (flow->collection.empty()) continue;
        add(executor, WorkKind::kSearch, items);
        add(executor, WorkKind::kSearch, items * 16);
      }
      for (const int items : kClusterPoints) add(executor, WorkKind::kCluster, items);
      for (const int items : kPromptTokens) {
        const bool fits = flow->model != nullptr &&
                          items + kGeneratedTokens < flow->model->shape().context_tokens;
        if (fits) add(executor, WorkKind::kPrefill, items);
      }
    }
  }
  CalibrateStep(flow);
}

void Engine::Loop::CalibrateStep(const std::shared_ptr<CalibrateFlow>& flow) {
  const RequestPtr& active = flow->active;
  if (flow->next == flow->steps.size()) {
    if (Finish(active)) flow->done(board_.Costs());
    return;
  }
  const Step step = flow->steps[flow->next++];
  active->only_executor = step.executor;
  active->stages.clear();
  active->sequences.clear();
  const auto next = [this, flow](const auto&) {
    // On another turn, so that others' work comes between and nothing nests.
    mailbox_.Post([this, flow] {
      if (!flow->active->ended) CalibrateStep(flow);
    });
  };
  switch (step.kind) {
    case WorkKind::kEmbed:
      RunEmbed(active, step.kind,
               {.embedder = flow->embedder->embedder, .texts = Texts(step.items)}, next);
      return;
    case WorkKind::kRerank:
      RunRerank(active, *flow->reranker, "Who keeps the light?", Texts(step.items), next);
      return;
    case WorkKind::kSearch: {
      std::vector<std::vector<float>> queries;
      for (int64_t i = 0; i < step.items; ++i) {
        queries.push_back(RandomVector(flow->random, flow->dimension));
      }
      SearchParams params;
      params.with_payload = false;
      RunSearch(active,
                {.envelope = {},
                 .collection = flow->collection,
                 .queries = std::move(queries),
                 .params = std::move(params)},
                next);
      return;
    }
    case WorkKind::kCluster: {
      ClusterBatch batch{.cancelled = active->stop = std::make_shared<std::atomic<bool>>(false)};
      for (int64_t i = 0; i < step.items; ++i) {
        batch.vectors.push_back(RandomVector(flow->random, kClusterDimension));
      }
      batch.params = {.k = 8, .iterations = 4, .metric = Metric::kL2};
      batch.deadline_us = active->envelope.deadline_us;
      RunCluster(active, std::move(batch), {.points = step.items, .dimension = kClusterDimension},
                 next);
      return;
    }
    case WorkKind::kPrefill: {
      LlmJob job;  // of tokens that no prefix cache has seen
      const auto vocabulary = static_cast<uint32_t>(flow->model->shape().vocabulary);
      for (int64_t i = 0; i < step.items; ++i) {
        job.prompt.push_back(static_cast<TokenId>(flow->random() % vocabulary));
      }
      job.sampling.seed = 1;
      job.max_tokens = kGeneratedTokens;
      job.ignore_eos = true;
      job.on_tokens = [](const TokenChunk&) {};
      std::vector<LlmJob> jobs;
      jobs.push_back(std::move(job));
      RunGenerate(active, *LaneOf(*flow->model), std::move(jobs), next);
      return;
    }
    case WorkKind::kDecode:
    case WorkKind::kWrite:
      break;
  }
  BATON_CHECK(false);  // no step is of these kinds
}

}  // namespace baton
