#include "engine/schedule/route_choice.h"

#include <algorithm>

#include "engine/base/check.h"
#include "engine/base/strings.h"

namespace baton {
namespace {

Policy PolicyOf(const RouteOptions& options, const Hints& hints) {
  Policy configured = Policy::kBalanced;
  BATON_CHECK(Parse(options.policy, &configured));  // the options' OneOf
  return hints.policy.value_or(configured);
}

Fallback FallbackOf(const RouteOptions& options, const Hints& hints, bool pinned) {
  Fallback configured = Fallback::kCpu;
  BATON_CHECK(Parse(options.fallback, &configured));
  return hints.fallback.value_or(pinned ? Fallback::kNone : configured);
}

// Why an executor may not take the work, whatever it could; empty where it may.
std::string Forbidden(const std::vector<std::string>& placement, WorkClass work_class,
                      PlatformSet exclude, Platform platform) {
  if (exclude.Has(platform)) return StrCat("the request excludes ", Name(platform));
  const bool placed = placement.empty() || std::find(placement.begin(), placement.end(),
                                                     Name(platform)) != placement.end();
  return placed ? ""
                : StrCat("route.platforms.", Name(work_class), " leaves ", Name(platform), " out");
}

RouteCandidate Score(const RouteWeights& weights, Platform preferred, const ExecutorChoice& choice,
                     std::string ineligible) {
  RouteCandidate candidate{.platform = choice.platform,
                           .device = choice.device,
                           .eligible = ineligible.empty(),
                           .reason = std::move(ineligible)};
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

void PassOver(const RouteChoice& choice, Route& route) {
  for (size_t i = 0; i < choice.candidates.size(); ++i) {
    if (static_cast<int>(i) == choice.chosen) continue;
    const RouteCandidate& candidate = choice.candidates[i];
    route.passed_over.push_back(
        {.platform = candidate.platform,
         .device = candidate.device,
         .reason = candidate.eligible ? "scored lower or not preferred" : candidate.reason});
  }
}

}  // namespace

int32_t RetriesOf(const RouteOptions& options, const Hints& hints) {
  switch (FallbackOf(options, hints, hints.platform.has_value())) {
    case Fallback::kNone:
      return 0;
    case Fallback::kCpu:
    case Fallback::kAlternate:
      return 1;
    case Fallback::kRetry:
      break;
  }
  return hints.retries.value_or(options.retries);
}

RouteChoice ChooseRoute(const RouteOptions& options, const Classification& work, const Hints& hints,
                        const std::vector<ExecutorChoice>& choices) {
  const bool pinned = work.rule == "pin";
  const Fallback allowed = FallbackOf(options, hints, pinned);
  const RouteWeights& weights = options.WeightsOf(PolicyOf(options, hints));
  const std::vector<std::string>& placement = options.platforms.Of(work.work_class);

  RouteChoice result;
  Route& route = result.route;
  route.work_class = work.work_class;
  route.preferred = work.preferred;
  route.rule = work.rule;
  if (!pinned && !placement.empty() &&
      std::find(placement.begin(), placement.end(), Name(work.preferred)) == placement.end()) {
    BATON_CHECK(Parse(placement.front(), &route.preferred));
    route.rule = "placement";
  }

  for (const ExecutorChoice& choice : choices) {
    std::string ineligible = choice.ineligible;
    if (ineligible.empty()) {
      ineligible = Forbidden(placement, work.work_class, hints.exclude.value_or(PlatformSet()),
                             choice.platform);
    }
    result.candidates.push_back(Score(weights, route.preferred, choice, std::move(ineligible)));
  }

  const auto preferred = [&route](const RouteCandidate& c) {
    return c.platform == route.preferred;
  };
  result.chosen = Best(result.candidates, preferred);
  if (result.chosen < 0 && allowed == Fallback::kCpu) {
    result.chosen = Best(result.candidates,
                         [](const RouteCandidate& c) { return c.platform == Platform::kCpu; });
  } else if (result.chosen < 0 && allowed != Fallback::kNone) {
    result.chosen = Best(result.candidates, [](const RouteCandidate&) { return true; });
  }
  PassOver(result, route);

  if (result.chosen < 0) {
    std::string reason = "no such executor";  // why the preferred platform cannot take it
    for (const RouteCandidate& candidate : result.candidates) {
      if (preferred(candidate)) reason = candidate.reason;
    }
    result.status =
        absl::UnavailableError(StrCat(Name(work.work_class), " asks for ", Name(route.preferred),
                                      " (rule ", route.rule, "), which cannot take it: ", reason,
                                      "; fallback ", Name(allowed), " leaves no other executor"));
    route.reason = std::string(result.status.message());
    return result;
  }
  const ExecutorChoice& chosen = choices[static_cast<size_t>(result.chosen)];
  route.platform = chosen.platform;
  route.device = chosen.device;
  route.emulated = chosen.emulated;
  route.fallback = chosen.platform != route.preferred;
  route.reason = route.fallback ? StrCat("fallback ", Name(allowed), ": ", Name(route.preferred),
                                         " cannot take it")  // passed_over says why
                                : StrCat("preferred by rule ", route.rule);
  return result;
}

}  // namespace baton
