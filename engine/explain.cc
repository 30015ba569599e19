// What would run where, and why: nothing is executed.
#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "engine/base/status_macros.h"
#include "engine/base/strings.h"
#include "engine/engine_loop.h"
#include "engine/reload_cost.h"

namespace baton {
namespace {

// Of a prompt of so many tokens that the tier below the prefix caches has: whether the executor
// that would prefill it brings its blocks back instead. Nothing: there is no such tier, or no
// block.
struct Reloading {
  const EngineOptions& options;
  const ModelTable& models;
  const ExecutorBoard& board;
  const TransferManager& transfer;
  Executor& prefills;
  int executor = 0;  // its index
  int32_t tokens = 0;
};
std::optional<ExplainedStage> ExplainReload(const Reloading& of) {
  const std::shared_ptr<const OffloadStatus> tier = of.models.OffloadOf("");
  const auto model = of.models.FindLanguage("");
  if (tier == nullptr || !model.ok()) return std::nullopt;
  Executor& prefills = of.prefills;
  const MemorySpace space = prefills.llm()->kv_space();
  const auto way = std::find_if(tier->ways.begin(), tier->ways.end(),
                                [&](const OffloadStatus::Way& each) { return each.pool == space; });
  const int32_t blocks = (of.tokens - 1) / tier->block_tokens;
  if (way == tier->ways.end() || blocks < 1) return std::nullopt;

  ReloadCost cost{.tokens = blocks * tier->block_tokens, .reload_us = {}, .compute_us = {}};
  cost.reload_us = of.transfer.PredictIdleUs({.source = way->tier, .destination = way->pool},
                                             blocks * tier->block_bytes);
  cost.compute_us =
      ComputeUs(of.board, {.executor = of.executor,
                           .begin = 0,
                           .end = cost.tokens,
                           .chunk_tokens_max = ChunkTokensMax(of.options.schedule),
                           .parameters = static_cast<double>((*model)->shape().parameters)});
  const bool always = of.options.kv.offload_reload == "always";
  const bool reloads = always || cost.reload_pays();
  const ExecutorInfo& info = prefills.Describe();
  RouteCandidate reload{.platform = info.platform,
                        .device = StrCat("kv offload in ", tier->space),
                        .eligible = true,
                        .predicted_us = cost.reload_us.value_or(0),
                        .sure = cost.reload_us.has_value()};
  RouteCandidate compute{.platform = info.platform,
                         .device = info.device,
                         .eligible = !always,
                         .reason = always ? "kv.offload_reload is always" : "",
                         .predicted_us = cost.compute_us.value_or(0),
                         .sure = cost.compute_us.has_value()};
  const RouteCandidate& other = reloads ? compute : reload;
  ExplainedStage stage{.name = "reload", .route = {}, .candidates = {}};
  stage.route = {.work_class = WorkClass::kPrefill,
                 .preferred = info.platform,
                 .rule = "reload",
                 .platform = info.platform,
                 .device = reloads ? reload.device : compute.device,
                 .emulated = info.emulated,
                 .reason = StrCat(reloads ? "brought back" : "computed",
                                  " where the tier has it: ", cost.ToString()),
                 .passed_over = {{.platform = other.platform,
                                  .device = other.device,
                                  .reason = always ? other.reason : cost.ToString()}}};
  stage.candidates = {std::move(reload), std::move(compute)};
  return stage;
}

}  // namespace

absl::StatusOr<std::vector<ExplainedStage>> Engine::Explain(const ExplainRequest& request) const {
  RETURN_IF_ERROR(ValidateEnvelope(request.envelope));
  if (request.items < 1) {
    return absl::InvalidArgumentError(StrCat("items must be at least 1, but is ", request.items));
  }
  std::vector<ExplainedStage> stages;
  std::optional<int> before;  // the executor of the stage before, where there is one
  const auto add = [&](std::string name, WorkKind kind, int64_t items) {
    const bool reads = kind == WorkKind::kDecode;
    std::vector<std::string> unable;
    const auto model = kind == WorkKind::kEmbed    ? loop_->models().FindEmbedder("")
                       : kind == WorkKind::kRerank ? loop_->models().FindReranker("")
                                                   : absl::NotFoundError("");
    if (model.ok()) unable = loop_->UnableToEmbed(*(*model)->embedder);
    RouteChoice choice =
        loop_->board().Choose(request.envelope.hints, {.kind = kind,
                                                       .shape = loop_->ShapeOf(kind, items),
                                                       .unable = unable,
                                                       .only = {},
                                                       .explain = true,
                                                       .after = reads ? before : std::nullopt});
    before = choice.chosen < 0 ? std::nullopt : std::optional(choice.chosen);
    stages.push_back({.name = std::move(name),
                      .route = std::move(choice.route),
                      .candidates = std::move(choice.candidates)});
  };
  using Kind = ExplainRequest::Kind;
  if (request.kind == Kind::kEmbed) add("embed", WorkKind::kEmbed, request.items);
  if (request.kind == Kind::kAsk) add("embed", WorkKind::kEmbed, 1);
  if (request.kind == Kind::kAsk) add("search", WorkKind::kSearch, 1);
  if (request.kind == Kind::kRerank) add("rerank", WorkKind::kRerank, request.items);
  if (request.kind == Kind::kSearch) add("search", WorkKind::kSearch, request.items);
  if (request.kind == Kind::kCluster) add("cluster", WorkKind::kCluster, request.items);
  if (request.kind == Kind::kUpsert) add("write", WorkKind::kWrite, request.items);
  if (request.kind == Kind::kGenerate || request.kind == Kind::kAsk) {
    add("prefill", WorkKind::kPrefill, request.items);
    if (before) {
      auto reload =
          ExplainReload({.options = loop_->options(),
                         .models = loop_->models(),
                         .board = loop_->board(),
                         .transfer = loop_->transfer(),
                         .prefills = *loop_->parts().executors[static_cast<size_t>(*before)],
                         .executor = *before,
                         .tokens = request.items});
      if (reload) stages.insert(stages.end() - 1, *std::move(reload));
    }
    add("decode", WorkKind::kDecode, 1);
  }
  return stages;
}

}  // namespace baton
