#pragma once

#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "engine/plan/planner.h"

namespace baton::plan {

// The best placement that uses another device beside or instead of the GPUs, against the best on
// GPUs alone.
struct BreakEven {
  std::string not_compared;  // why there is nothing to compare; empty: there is
  std::optional<Plan> gpu_only;
  std::optional<Plan> mixed;

  // At the workload's load, with the counts that the fleet states: what the other devices may cost
  // in an hour, without energy, for both to cost the same. Only where both meet every SLA.
  std::optional<double> others_cost_per_hour_max;
  double others_cost_per_hour = 0;  // what they do cost

  // With as many devices of each kind as the load needs, of one host: from this multiple of the
  // workload's load on, up to kLoadMax times it, the mixed placement costs less.
  std::optional<double> mixed_from_load;
  bool gpu_only_ever_meets = false;  // whether any number of GPUs keeps every SLA at the load
  bool mixed_ever_meets = false;
  static constexpr double kLoadMin = 0.01;
  static constexpr double kLoadMax = 100;
};

// INVALID_ARGUMENT as of BestPlan.
absl::StatusOr<BreakEven> CompareWithGpuOnly(const Workload& workload, const Fleet& fleet);

// The fleet with the fewest devices of each kind, up to 4096, that keep every SLA with this
// placement; nullopt: more of them would not help.
std::optional<Fleet> SizeFleet(const Workload& workload, const Fleet& fleet,
                               const Placement& placement, double load);

}  // namespace baton::plan
