#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/request/classification.h"
#include "engine/request/explain_request.h"
#include "engine/request/route.h"
#include "engine/schedule/schedule_options.h"

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

// Orders the executors for classified work and takes the best. The classifier's platform wins where
// it is eligible; else `fallback` decides: none -> UNAVAILABLE, cpu -> the CPU executor, alternate
// -> the highest score. `fallback` absent: the configured one, but none for pinned work. Pure.
//
// Score = w_performance * performance + w_queue / (1 + queue depth) + w_capability * eligible
//       + w_residency * holds_data, the weights by policy (balanced: 0.4, 0.3, 0.2, 0.1).
// Performance is 1 on the preferred platform and 0.5 elsewhere: the rule is the prior until
// measurements can replace it.
RouteChoice ChooseRoute(const RouteOptions& options, const Classification& work,
                        std::optional<Fallback> fallback,
                        const std::vector<ExecutorChoice>& choices);

}  // namespace baton
