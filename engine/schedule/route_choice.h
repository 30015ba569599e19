#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/base/clock.h"
#include "engine/request/classification.h"
#include "engine/request/explain_request.h"
#include "engine/request/hints.h"
#include "engine/request/route.h"
#include "engine/schedule/cost_curve.h"
#include "engine/schedule/route_options.h"

namespace baton {

// An executor as the choice sees it.
struct ExecutorChoice {
  Platform platform = Platform::kCpu;
  std::string device;
  bool emulated = false;
  std::string ineligible;   // why it cannot take this work; empty where it can
  int32_t queue_depth = 0;  // batches waiting and running
  TimeUs wait_us = 0;       // until this work would run, as far as that is known
  bool holds_data = true;   // whether the data the work needs is in its memory
  std::string avoid = {};   // why another one should rather take it; empty: no reason
  double capacity = 1;      // the part of its usual work that it should get, 0 to 1
  double share = 0;         // of the CPU: what it should take of others' work, 0 to 1
  std::optional<CostPrediction> predicted = {};  // of this work's run
  bool sure = false;                             // whether that may decide
  bool probe = false;  // passed over for so long that it should show whether that still holds
  double watts = 0;    // with work on it; 0: not known
  // On one package with the executor whose output the work reads, or, of a prefill, with one that
  // may read its own.
  bool paired = false;
};

struct RouteChoice {
  int chosen = -1;  // index into the choices; -1: none may take the work, and `status` says why
  absl::Status status;
  Route route;
  std::vector<RouteCandidate> candidates;  // one per choice, in their order
  bool probe = false;                      // chosen to show how it does now
};

// A tie: under balanced weights predicted times within 2.5 % of the least one, which is less than
// they are known by.
inline constexpr double kScoreTie = 0.01;

// Orders the executors for classified work and takes the best. Pure.
//
// Where the options place the work's class, only those platforms may take it; where the rule's
// platform is none of them, the first of them is preferred, by rule "placement".
//
// The preferred platform is the prior: it wins where it is eligible and its time is not known for
// sure. Where it is, unpinned work goes to the highest score of all whose times are known, too.
// Where the preferred platform cannot take the work the fallback decides: none -> UNAVAILABLE, cpu
// -> the CPU executor, alternate and retry -> the highest score. The hints' fallback and policy go
// before the options'; pinned work whose hints name no fallback has none. Executors to be avoided,
// and those known to miss the SLA, take part only where there is no other way; those that miss it
// in one of 20 cases only where the others do, too. Where sla_required and the SLA is known to be
// missed, `status` is FAILED_PRECONDITION.
//
// Among scores that differ by less than kScoreTie the highest of those that are paired wins.
//
// Score = the four parts, each 0 to 1, times their weights under the policy, and the CPU's share:
//   performance  least predicted time / predicted time, the wait before the run included; under
//                power_optimized, energy where known; without a sure prediction 1 on the preferred
//                platform, 0.5 elsewhere
//   queue        1 / (1 + queue depth)
//   capability   the capacity where it can take the work, else 0
//   residency    1 where the data is in its memory, else 0
RouteChoice ChooseRoute(const RouteOptions& options, const Classification& work, const Hints& hints,
                        const std::vector<ExecutorChoice>& choices);

// How often work may be done again that an executor has failed at: none, 1 where it may go
// elsewhere, or as many as retry says.
int32_t RetriesOf(const RouteOptions& options, const Hints& hints);

}  // namespace baton
