// How a prompt gets prefilled by another daemon, and another daemon's prompt here.
#include <algorithm>
#include <utility>

#include "engine/base/log.h"
#include "engine/base/status_macros.h"
#include "engine/base/strings.h"
#include "engine/engine_loop.h"
#include "engine/generate_run.h"
#include "engine/peer/model_fingerprint.h"

namespace baton {

absl::Status Engine::Loop::StartPeers() {
  const PeerOptions& options = options_.peer;
  if (!options.enabled()) return absl::OkStatus();
  if (!options.prefill.empty() && !options_.kv.prefix_cache) {
    return absl::InvalidArgumentError(
        "peer.prefill names daemons, but kv.prefix_cache is false: what takes their KV");
  }
  ASSIGN_OR_RETURN(
      peers_,
      PeerLane::Create(options, options_.transfer, parts_.peer_hold_at,
                       {.clock = &clock_,
                        .metrics = &metrics_,
                        .transfer = &transfer_,
                        .mailbox = &mailbox_,
                        .serve = [this](PeerServeId serve,
                                        PeerPrefill order) { ServePeer(serve, std::move(order)); },
                        .stop_serving =
                            [this](PeerServeId serve) {
                              if (const auto it = serving_.find(serve); it != serving_.end()) {
                                Cancel(it->second);
                              }
                            }}));
  transfer_.RegisterPath(peers_->path());
  return absl::OkStatus();
}

PeerModel Engine::Loop::PeerModelOf(const LanguageModel& model) const {
  return {.name = model.name(),
          .fingerprint = FingerprintOf(model),
          .layout = LaneKv::LayoutIn(model.shape(), options_.kv)};
}

// ---- There: ask -> posted -> ready -> given to the lane

bool Engine::Loop::AskPeer(const std::shared_ptr<GenerateRun>& run) {
  const RequestPtr& active = run->active;
  const Hints& hints = active->envelope.hints;
  const std::vector<TokenId>& prompt = run->jobs.front().prompt;
  if (peers_ == nullptr || !peers_->asks() || active->only_executor) return false;
  // A pin says where, and the same tokens each time need the same device.
  if (hints.platform || hints.deterministic.value_or(false)) return false;
  // An echo with log probabilities computes every token; and nobody asks in another's name.
  if (run->on_prompt.front() != nullptr || !run->jobs.front().keep.empty()) return false;
  const LanguageModel& model = run->lane->model();
  const auto described = peer_models_.find(&model);
  if (described == peer_models_.end()) return false;
  const KvLayout& layout = described->second.layout;
  const auto blocks = static_cast<int32_t>((std::ssize(prompt) - 1) / layout.block_tokens);
  const int64_t missing =
      std::ssize(prompt) - run->lane->KnownTokens(active->envelope.tenant, prompt);
  if (blocks == 0 || missing < options_.peer.prefill_tokens_min) return false;

  std::optional<double> local_us;
  ExecutorBoard::Work work = run->prefill;
  work.shape.items = static_cast<double>(missing);
  work.explain = true;
  const RouteChoice local = board_.Choose(hints, work);
  if (local.chosen >= 0) {
    const auto expected = board_.Expected(
        {.executor = local.chosen,
         .work_class = WorkClass::kPrefill,
         .shape = {.items = static_cast<double>(missing), .batch = 1, .scale = work.shape.scale}});
    // As prompts that wait there, or are being computed, take it now.
    const auto ahead = static_cast<double>(run->lane->PromptTokensAhead(local.chosen));
    if (expected) local_us = expected->run_us * (1 + ahead / static_cast<double>(missing));
  }
  const std::optional<int> peer =
      peers_->Choose({.model = model.name(), .tokens = missing, .local_us = local_us});
  if (!peer) return false;

  const TimeUs now_us = clock_.NowUs();
  uint64_t timeout_us = static_cast<uint64_t>(options_.peer.timeout_ms) * 1000;
  if (active->envelope.deadline_us != kNoDeadline) {
    const TimeUs left_us = std::max<TimeUs>(1, active->envelope.deadline_us - now_us);
    timeout_us = std::min(timeout_us, static_cast<uint64_t>(left_us));
  }
  PeerPrefill order{.model = described->second,
                    .tenant = active->envelope.tenant,
                    .priority = active->envelope.priority,
                    .timeout_us = timeout_us,
                    .tokens = prompt};
  const auto done = [this, run, peer = *peer, now_us](absl::StatusOr<PeerLane::Fetched> fetched) {
    const RequestPtr& asked = run->active;
    asked->peer_fetch = 0;
    if (asked->ended) return;
    const std::string name = peers_->NameOf(peer);
    if (!fetched.ok()) {
      const std::string why(fetched.status().message());
      if (OnHandoffFailure(asked->envelope.hints) == HandoffFailure::kFail) {
        return Fail(asked,
                    absl::UnavailableError(StrCat("the handoff failed: peer ", name, ": ", why)));
      }
      Log().warn("request {} is prefilled here: peer {}: {}", asked->id.value(), name, why);
      return StartGenerate(run);
    }
    Stage stage{.name = "peer_prefill",
                .route = {},
                .start_us = now_us - asked->arrived_us,
                .queue_us = 0,
                .run_us = clock_.NowUs() - now_us,
                .items = fetched->report.bytes};
    stage.route.device = ToString(NetworkPath::SpaceOf(peer));
    stage.route.rule = "peer";
    stage.route.reason = StrCat("prefilled by ", name, ", path ", fetched->report.path);
    run->before.push_back(std::move(stage));
    run->given = std::move(fetched->kv);
    StartGenerate(run);
  };
  const absl::StatusOr<uint64_t> fetch =
      peers_->Fetch(*peer, std::move(order), blocks, layout, done);
  if (!fetch.ok()) return false;  // counted; the prompt is computed here
  active->peer_fetch = *fetch;
  return true;
}

// ---- Here: as any other request, up to its KV

void Engine::Loop::ServePeer(PeerServeId serve, PeerPrefill order) {
  Envelope envelope{.hints = {},
                    .deadline_us = clock_.NowUs() + static_cast<TimeUs>(order.timeout_us),
                    .priority = order.priority,
                    .tenant = order.tenant};
  const absl::StatusOr<RequestId> id =
      Admit(std::move(envelope),
            {.fail =
                 [this, serve](absl::Status status) {
                   serving_.erase(serve);
                   peers_->Answer(serve, std::move(status));
                 }},
            [this, serve, order = std::move(order)](const RequestPtr& active) mutable {
              PrefillForPeer(active, serve, std::move(order));
            });
  if (!id.ok()) return peers_->Answer(serve, id.status());
  serving_.emplace(serve, *id);
}

void Engine::Loop::PrefillForPeer(const RequestPtr& active, PeerServeId serve, PeerPrefill order) {
  const auto model = UseLanguage(active, order.model.name);
  if (!model.ok()) {
    return Fail(active, absl::FailedPreconditionError(std::string(model.status().message())));
  }
  const auto described = peer_models_.find(model->get());
  if (described == peer_models_.end()) {
    return Fail(active, absl::FailedPreconditionError("the model is not ready for peers"));
  }
  if (absl::Status same = SameModel(described->second, order.model); !same.ok()) {
    return Fail(active, std::move(same));
  }
  const LlmShape& shape = (*model)->shape();
  const KvLayout& layout = described->second.layout;
  const auto tokens = std::ssize(order.tokens);
  const auto blocks = static_cast<int32_t>((tokens - 1) / layout.block_tokens);
  if (tokens < 1 || tokens >= shape.context_tokens || blocks < 1) {
    return Fail(active, absl::InvalidArgumentError(
                            StrCat("prefill.tokens must be ", layout.block_tokens + 1, " to ",
                                   shape.context_tokens - 1, ", but are ", tokens)));
  }
  for (const TokenId token : order.tokens) {
    if (token >= 0 && token < shape.vocabulary) continue;
    return Fail(active,
                absl::InvalidArgumentError(StrCat("prefill.tokens must be 0 to ",
                                                  shape.vocabulary - 1, ", but one is ", token)));
  }
  absl::StatusOr<PinnedBuffer> memory = peers_->Allocate(blocks * layout.block_bytes());
  if (!memory.ok()) return Fail(active, memory.status());
  auto kv = std::make_shared<PeerKv>(
      PeerKv{.memory = *std::move(memory), .blocks = blocks, .block_bytes = layout.block_bytes()});
  LlmJob job;
  job.prompt = std::move(order.tokens);
  job.sampling.seed = 0;
  job.max_tokens = 2;  // the first is sampled and dropped; then it would decode
  for (int32_t i = 0; i < blocks; ++i) {
    job.keep.push_back(kv->memory.data() + i * layout.block_bytes());
  }
  job.keep_layout = layout;
  job.on_tokens = [](TokenChunk) {};
  std::vector<LlmJob> jobs;
  jobs.push_back(std::move(job));
  const TimeUs begun_us = clock_.NowUs();
  RunGenerate(active, *LaneOf(**model), std::move(jobs),
              [this, active, serve, kv, begun_us](GenerateResult) {
                if (!Finish(active)) return;
                serving_.erase(serve);
                kv->prefill_us = clock_.NowUs() - begun_us;
                peers_->Answer(serve, std::move(*kv));
              });
}

}  // namespace baton
