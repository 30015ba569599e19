#include "engine/schedule/route_choice.h"

#include <algorithm>
#include <cmath>
#include <utility>

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

// What a prediction costs under a policy: microseconds until it is done, or joules.
double CostOf(const RouteCandidate& candidate, const ExecutorChoice& choice, bool by_energy) {
  return by_energy ? candidate.predicted_joules
                   : candidate.predicted_us + static_cast<double>(choice.wait_us);
}

class Scorer {
 public:
  Scorer(const RouteWeights& weights, Policy policy, Platform preferred,
         const std::vector<ExecutorChoice>& choices)
      : weights_(weights), preferred_(preferred) {
    by_energy_ = policy == Policy::kPowerOptimized;
    for (const ExecutorChoice& choice : choices) {
      if (choice.sure && choice.watts <= 0) by_energy_ = false;
    }
  }

  RouteCandidate Describe(const ExecutorChoice& choice, std::string ineligible) const {
    RouteCandidate candidate{.platform = choice.platform,
                             .device = choice.device,
                             .eligible = ineligible.empty(),
                             .reason = std::move(ineligible)};
    if (!choice.predicted) return candidate;
    candidate.predicted_us = choice.predicted->run_us;
    candidate.predicted_us_high = choice.predicted->run_us_high;
    candidate.samples = choice.predicted->samples;
    candidate.sure = choice.sure;
    candidate.predicted_joules = choice.watts * choice.predicted->run_us * 1e-6;
    return candidate;
  }

  void Score(const std::vector<ExecutorChoice>& choices,
             std::vector<RouteCandidate>& candidates) const {
    const auto known = [](const RouteCandidate& c) { return c.eligible && c.sure; };
    double least = 0;
    for (size_t i = 0; i < candidates.size(); ++i) {
      if (!known(candidates[i])) continue;
      const double cost = CostOf(candidates[i], choices[i], by_energy_);
      if (least == 0 || cost < least) least = cost;
    }
    for (size_t i = 0; i < candidates.size(); ++i) {
      RouteCandidate& c = candidates[i];
      const ExecutorChoice& choice = choices[i];
      const double performance = known(c) && least > 0      ? least / CostOf(c, choice, by_energy_)
                                 : c.platform == preferred_ ? 1.0
                                                            : 0.5;
      c.score_performance = weights_.performance * performance;
      c.score_queue = weights_.queue / (1.0 + choice.queue_depth);
      c.score_capability = c.eligible ? weights_.capability * choice.capacity : 0;
      c.score_residency = choice.holds_data ? weights_.residency : 0;
      c.score = c.score_performance + c.score_queue + c.score_capability + c.score_residency +
                choice.share;
      if (!known(c)) continue;
      double other_us = 0;
      for (const RouteCandidate& other : candidates) {
        if (&other != &c && known(other) && (other_us == 0 || other.predicted_us < other_us)) {
          other_us = other.predicted_us;
        }
      }
      c.speedup = other_us / c.predicted_us;
    }
  }

 private:
  const RouteWeights& weights_;
  const Platform preferred_;
  bool by_energy_ = false;
};

// The best candidate that `accept` lets through; -1 where there is none. What is paired wins ties,
// then what is earlier.
template <class Accept>
int Best(const std::vector<ExecutorChoice>& choices, const std::vector<RouteCandidate>& candidates,
         Accept accept) {
  int best = -1;
  int paired = -1;
  const auto better = [&](int i, int than) {
    return than < 0 ||
           candidates[static_cast<size_t>(i)].score > candidates[static_cast<size_t>(than)].score;
  };
  for (int i = 0; i < static_cast<int>(candidates.size()); ++i) {
    if (!accept(i, candidates[static_cast<size_t>(i)])) continue;
    if (better(i, best)) best = i;
    if (choices[static_cast<size_t>(i)].paired && better(i, paired)) paired = i;
  }
  const bool tie = paired >= 0 && candidates[static_cast<size_t>(best)].score -
                                          candidates[static_cast<size_t>(paired)].score <
                                      kScoreTie;
  return tie ? paired : best;
}

// The wait for those before it included.
bool TakesTooLong(const Hints& hints, const ExecutorChoice& choice, double run_us) {
  return run_us + static_cast<double>(choice.wait_us) > static_cast<double>(*hints.latency_sla_us);
}
bool MissesSla(const Hints& hints, const ExecutorChoice& choice) {
  return choice.sure && hints.latency_sla_us &&
         TakesTooLong(hints, choice, choice.predicted->run_us);
}
// In one of 20 cases.
bool MayMissSla(const Hints& hints, const ExecutorChoice& choice) {
  return choice.sure && hints.latency_sla_us &&
         TakesTooLong(hints, choice, choice.predicted->run_us_high);
}

struct Selection {
  int chosen = -1;
  bool learned = false;  // by predicted performance, over the preferred platform
};

// Among the candidates that `may` lets through.
template <class May>
Selection Select(const std::vector<ExecutorChoice>& choices,
                 const std::vector<RouteCandidate>& candidates, Platform preferred, bool pinned,
                 Fallback allowed, May may) {
  const auto best = [&](auto accept) {
    return Best(choices, candidates,
                [&](int i, const RouteCandidate& c) { return c.eligible && may(i) && accept(c); });
  };
  const auto on = [](Platform platform) {
    return [platform](const RouteCandidate& c) { return c.platform == platform; };
  };
  const bool prior_known = std::any_of(
      candidates.begin(), candidates.end(),
      [&](const RouteCandidate& c) { return c.eligible && c.sure && c.platform == preferred; });
  const int prior = best(on(preferred));
  const bool prior_unsure = prior >= 0 && !candidates[static_cast<size_t>(prior)].sure;
  if (prior_known && !prior_unsure && !pinned) {
    const int known = best([](const RouteCandidate& c) { return c.sure; });
    if (known >= 0) {
      return {.chosen = known,
              .learned = candidates[static_cast<size_t>(known)].platform != preferred};
    }
  }
  if (prior >= 0 || allowed == Fallback::kNone) return {.chosen = prior};
  if (allowed == Fallback::kCpu) return {.chosen = best(on(Platform::kCpu))};
  return {.chosen = best([](const RouteCandidate&) { return true; })};
}

// One that should show how it does now, at the cost of one piece of work; -1: none.
int ProbeOf(const Hints& hints, const std::vector<ExecutorChoice>& choices,
            const std::vector<RouteCandidate>& candidates, int chosen) {
  constexpr double kSlowerMax = 20;  // a probe may not cost a request more than that
  const double chosen_us = candidates[static_cast<size_t>(chosen)].predicted_us;
  for (size_t i = 0; i < choices.size(); ++i) {
    if (choices[i].probe && candidates[i].eligible && choices[i].avoid.empty() &&
        !MayMissSla(hints, choices[i]) && candidates[i].predicted_us <= chosen_us * kSlowerMax) {
      return static_cast<int>(i);
    }
  }
  return -1;
}

bool IsUnpairedTie(const std::vector<ExecutorChoice>& choices, const RouteChoice& choice,
                   size_t other) {
  const auto chosen = static_cast<size_t>(choice.chosen);
  return choices[chosen].paired && !choices[other].paired &&
         choices[chosen].platform == choices[other].platform &&
         std::abs(choice.candidates[chosen].score - choice.candidates[other].score) < kScoreTie;
}

void PassOver(const std::vector<ExecutorChoice>& choices, const RouteChoice& choice, Route& route) {
  for (size_t i = 0; i < choices.size(); ++i) {
    if (static_cast<int>(i) == choice.chosen) continue;
    const RouteCandidate& candidate = choice.candidates[i];
    std::string reason = "scored lower or not preferred";
    if (!candidate.eligible) {
      reason = candidate.reason;
    } else if (!choices[i].avoid.empty()) {
      reason = choices[i].avoid;
    } else if (choice.chosen >= 0 && IsUnpairedTie(choices, choice, i)) {
      reason = "scores tie, but it is on another package than the other stage's device";
    }
    route.passed_over.push_back(
        {.platform = candidate.platform, .device = candidate.device, .reason = std::move(reason)});
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
  const Policy policy = PolicyOf(options, hints);
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

  std::vector<RouteCandidate>& candidates = result.candidates;
  const Scorer scorer(options.WeightsOf(policy), policy, route.preferred, choices);
  const PlatformSet exclude = hints.exclude.value_or(PlatformSet());
  for (const ExecutorChoice& choice : choices) {
    std::string ineligible = choice.ineligible;
    if (ineligible.empty()) {
      ineligible = Forbidden(placement, work.work_class, exclude, choice.platform);
    }
    candidates.push_back(scorer.Describe(choice, std::move(ineligible)));
  }
  scorer.Score(choices, candidates);

  // Without those that are to be avoided, if that can be.
  const auto choice_at = [&choices](int i) -> const ExecutorChoice& {
    return choices[static_cast<size_t>(i)];
  };
  Selection selection = Select(choices, candidates, route.preferred, pinned, allowed, [&](int i) {
    return choice_at(i).avoid.empty() && !MayMissSla(hints, choice_at(i));
  });
  if (selection.chosen < 0 && hints.latency_sla_us) {
    selection = Select(choices, candidates, route.preferred, pinned, allowed, [&](int i) {
      return choice_at(i).avoid.empty() && !MissesSla(hints, choice_at(i));
    });
  }
  if (selection.chosen < 0) {
    selection = Select(choices, candidates, route.preferred, pinned, allowed,
                       [&](int i) { return choice_at(i).avoid.empty(); });
  }
  if (selection.chosen < 0) {
    selection =
        Select(choices, candidates, route.preferred, pinned, allowed, [](int) { return true; });
  }
  result.chosen = selection.chosen;
  if (result.chosen >= 0 && !pinned) {
    const int probe = ProbeOf(hints, choices, candidates, result.chosen);
    if (probe >= 0 && probe != result.chosen) {
      result.chosen = probe;
      result.probe = true;
    }
  }

  const auto preferred_at = [&](const RouteCandidate& c) { return c.platform == route.preferred; };
  if (result.chosen < 0) {
    PassOver(choices, result, route);
    std::string reason = "no such executor";  // why the preferred platform cannot take it
    for (const RouteCandidate& candidate : candidates) {
      if (preferred_at(candidate)) reason = candidate.reason;
    }
    result.status =
        absl::UnavailableError(StrCat(Name(work.work_class), " asks for ", Name(route.preferred),
                                      " (rule ", route.rule, "), which cannot take it: ", reason,
                                      "; fallback ", Name(allowed), " leaves no other executor"));
    route.reason = std::string(result.status.message());
    return result;
  }
  const ExecutorChoice& chosen = choice_at(result.chosen);
  if (hints.sla_required.value_or(false) && MissesSla(hints, chosen)) {
    result.status = absl::FailedPreconditionError(
        StrCat("hints.latency_sla_us is ", *hints.latency_sla_us, ", but ", chosen.device,
               ", the best for ", Name(work.work_class), ", is predicted to take ",
               std::llround(chosen.predicted->run_us) + chosen.wait_us, " us, ", chosen.wait_us,
               " of them waiting; hints.sla_required is true"));
    result.chosen = -1;
    PassOver(choices, result, route);
    route.reason = std::string(result.status.message());
    return result;
  }
  PassOver(choices, result, route);
  route.platform = chosen.platform;
  route.device = chosen.device;
  route.emulated = chosen.emulated;
  if (result.probe) {
    route.reason = "probe: to see whether its predicted time still holds";
  } else if (selection.learned) {
    route.reason = StrCat("predicted ", std::llround(chosen.predicted->run_us),
                          " us, scored above ", Name(route.preferred));
  } else if (chosen.platform != route.preferred) {
    route.fallback = true;
    route.reason = StrCat("fallback ", Name(allowed), ": ", Name(route.preferred),
                          " cannot take it");  // passed_over says why
  } else {
    route.reason = StrCat("preferred by rule ", route.rule);
  }
  return result;
}

}  // namespace baton
