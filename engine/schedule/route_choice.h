#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/request/classification.h"
#include "engine/request/explain_request.h"
#include "engine/request/hints.h"
#include "engine/request/route.h"
#include "engine/schedule/route_options.h"

namespace baton {

// An executor as the choice sees it.
struct ExecutorChoice {
  Platform platform = Platform::kCpu;
  std::string device;
  bool emulated = false;
  std::string ineligible;   // why it cannot take this work; empty where it can
  int32_t queue_depth = 0;  // batches waiting and running
  bool holds_data = true;   // whether the data the work needs is in its memory
};

struct RouteChoice {
  int chosen = -1;  // index into the choices; -1: none may take the work, and `status` says why
  absl::Status status;
  Route route;
  std::vector<RouteCandidate> candidates;  // one per choice, in their order
};

// Orders the executors for classified work and takes the best. Pure.
//
// Where the options place the work's class, only those platforms may take it; where the rule's
// platform is none of them, the first of them is preferred, by rule "placement". The preferred
// platform wins where it is eligible; else the fallback decides: none -> UNAVAILABLE, cpu -> the
// CPU executor, alternate and retry -> the highest score. The hints' fallback and policy go before
// the options'; pinned work whose hints name no fallback has none.
//
// Score = the four parts, each 0 to 1, times their weights under the policy:
//   performance  1 on the preferred platform, 0.5 elsewhere
//   queue        1 / (1 + queue depth)
//   capability   1 where it can take the work, else 0
//   residency    1 where the data is in its memory, else 0
RouteChoice ChooseRoute(const RouteOptions& options, const Classification& work, const Hints& hints,
                        const std::vector<ExecutorChoice>& choices);

// How often work may be done again that an executor has failed at: none, 1 where it may go
// elsewhere, or as many as retry says.
int32_t RetriesOf(const RouteOptions& options, const Hints& hints);

}  // namespace baton
