#include "engine/schedule/route_choice.h"

#include "engine/base/check.h"
#include "engine/base/strings.h"

namespace baton {
namespace {

struct Weights {
  double performance, queue, capability, residency;
};

Weights WeightsOf(Policy policy) {
  switch (policy) {
    case Policy::kLatencyOptimized:
      return {0.4, 0.4, 0.1, 0.1};  // a short queue is worth as much as a fast device
    case Policy::kThroughputOptimized:
      return {0.6, 0.1, 0.2, 0.1};  // queues are how throughput is made
    case Policy::kPowerOptimized:
      return {0.3, 0.2, 0.2, 0.3};  // moving data costs energy
    case Policy::kBalanced:
      break;
  }
  return {0.4, 0.3, 0.2, 0.1};
}

RouteCandidate Score(const Weights& weights, Platform preferred, const ExecutorChoice& choice) {
  RouteCandidate candidate{.platform = choice.platform,
                           .device = choice.device,
                           .eligible = choice.ineligible.empty(),
                           .reason = choice.ineligible};
  candidate.score_performance = weights.performance * (choice.platform == preferred ? 1.0 : 0.5);
  candidate.score_queue = weights.queue / (1.0 + choice.queue_depth);
  candidate.score_capability = candidate.eligible ? weights.capability : 0;
  candidate.score_residency = choice.holds_data ? weights.residency : 0;
  candidate.score = candidate.score_performance + candidate.score_queue +
                    candidate.score_capability + candidate.score_residency;
  return candidate;
}

// The best eligible candidate that `accept` lets through; -1 where there is none. Earlier wins
// ties.
template <class Accept>
int Best(const std::vector<RouteCandidate>& candidates, Accept accept) {
  int best = -1;
  for (int i = 0; i < static_cast<int>(candidates.size()); ++i) {
    const RouteCandidate& candidate = candidates[static_cast<size_t>(i)];
    if (!candidate.eligible || !accept(candidate)) continue;
    if (best < 0 || candidate.score > candidates[static_cast<size_t>(best)].score) best = i;
  }
  return best;
}

}  // namespace

RouteChoice ChooseRoute(const RouteOptions& options, const Classification& work,
                        std::optional<Fallback> fallback,
                        const std::vector<ExecutorChoice>& choices) {
  Policy policy = Policy::kBalanced;
  Fallback configured = Fallback::kCpu;
  BATON_CHECK(Parse(options.policy, &policy) && Parse(options.fallback, &configured));
  const bool pinned = work.rule == "pin";
  const Fallback allowed = fallback.value_or(pinned ? Fallback::kNone : configured);

  RouteChoice result;
  for (const ExecutorChoice& choice : choices) {
    result.candidates.push_back(Score(WeightsOf(policy), work.preferred, choice));
  }
  Route& route = result.route;
  route.work_class = work.work_class;
  route.preferred = work.preferred;
  route.rule = work.rule;

  const auto preferred = [&work](const RouteCandidate& c) { return c.platform == work.preferred; };
  result.chosen = Best(result.candidates, preferred);
  if (result.chosen < 0 && allowed == Fallback::kCpu) {
    result.chosen = Best(result.candidates,
                         [](const RouteCandidate& c) { return c.platform == Platform::kCpu; });
  } else if (result.chosen < 0 && allowed == Fallback::kAlternate) {
    result.chosen = Best(result.candidates, [](const RouteCandidate&) { return true; });
  }

  std::string preferred_reason;  // why the preferred platform could not take it
  for (size_t i = 0; i < choices.size(); ++i) {
    const RouteCandidate& candidate = result.candidates[i];
    if (preferred(candidate) && !candidate.eligible) preferred_reason = candidate.reason;
    if (static_cast<int>(i) == result.chosen) continue;
    route.passed_over.push_back(
        {.platform = candidate.platform,
         .device = candidate.device,
         .reason = candidate.eligible ? "scored lower or not preferred" : candidate.reason});
  }
  if (preferred_reason.empty()) preferred_reason = "no such executor";

  if (result.chosen < 0) {
    result.status = absl::UnavailableError(
        StrCat(Name(work.work_class), " asks for ", Name(work.preferred), " (rule ", work.rule,
               "), which cannot take it: ", preferred_reason, "; fallback ", Name(allowed),
               " leaves no other executor"));
    route.reason = std::string(result.status.message());
    return result;
  }
  const ExecutorChoice& chosen = choices[static_cast<size_t>(result.chosen)];
  route.platform = chosen.platform;
  route.device = chosen.device;
  route.emulated = chosen.emulated;
  route.fallback = chosen.platform != work.preferred;
  route.reason = route.fallback ? StrCat("fallback ", Name(allowed), ": ", Name(work.preferred),
                                         " cannot take it")  // passed_over says why
                                : StrCat("preferred by rule ", work.rule);
  return result;
}

}  // namespace baton
