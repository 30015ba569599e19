// How generations run: routed, started in a model's lane, and again elsewhere where that fails.
#include <algorithm>
#include <utility>

#include "engine/base/check.h"
#include "engine/base/strings.h"
#include "engine/engine_loop.h"
#include "engine/generate_run.h"

namespace baton {
namespace {

// Behind a tenant's name, as the prefix caches know it; longer than any name that a client can
// give.
const std::string& DeterministicSalt() {
  static const std::string salt(129, 'd');
  return salt;
}

}  // namespace

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
      run->active->slot.Served();
      run->on_tokens[i](std::move(chunk));
    };
    job.on_end = [this, run, number, again, prefill, decode](
                     absl::Status status, GenerateResult result, const LlmUsage& usage) {
      if (run->active->ended || number != run->number) return;
      result.timings = {
          .stages = LlmStages(run->before, run->routed, usage, run->active->arrived_us),
          .total_us = clock_.NowUs() - run->active->arrived_us};
      run->active->stages = result.timings.stages;  // as they went, for the log of slow requests
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
  if (!usage.reload_passed_over.empty()) {
    prefill.route.passed_over.push_back({.platform = prefill.route.platform,
                                         .device = "kv offload",
                                         .reason = usage.reload_passed_over});
  }
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

}  // namespace baton
