#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/plan/plan_input.h"

namespace baton::plan {

// Where each class of a workload runs: an index into the fleet's devices, -1 for classes it lacks.
using Placement = std::array<int, kWorkClassCount>;

// A class of work on its device. Times are means of a request's visit.
struct ClassPlan {
  WorkClass work_class = WorkClass::kPrefill;
  int device = 0;
  double per_second = 0;  // visits
  double batch = 1;       // requests in a launch, sequences in a step
  double form_ms = 0;     // until its batch goes
  double queue_ms = 0;    // for the device
  double run_ms = 0;
  double latency_ms() const { return form_ms + queue_ms + run_ms; }
  double capacity_per_second = 0;  // visits, were the device this class's alone, in full batches
  double utilisation = 0;          // of all lanes of all devices of the kind
  double watts = 0;
  double cost_per_million = 0;  // visits
};

// All devices of one kind.
struct DevicePlan {
  bool used = false;       // others draw nothing and cost nothing: they need not be there
  double utilisation = 0;  // of what they could do; at 1 and more no queue ends
  double busy = 0;         // share of time: what their power follows
  double watts = 0;
  double cost_per_hour = 0;  // with energy
};

struct RequestPlan {
  double latency_ms = 0;   // mean
  double quantile_ms = 0;  // that sla_quantile of the requests stay below
  bool met = true;
};

struct Plan {
  Placement placement;
  std::vector<ClassPlan> classes;     // by class
  std::vector<DevicePlan> devices;    // as the fleet's
  std::vector<RequestPlan> requests;  // as the workload's
  bool stable = true;                 // no device has more work than it can do
  bool met = true;                    // stable, and each request within its SLA
  double watts = 0;
  double cost_per_hour = 0;     // with the host's, and energy
  double cost_per_million = 0;  // requests of any kind
};

// What one placement gives, for `load` times the workload's requests. Power is idle power and the
// busy share of the rest; a class pays for its share of a device's use. Prompts, searches and the
// like wait in order of arrival, and go before the next step of decodes.
Plan Evaluate(const Workload& workload, const Fleet& fleet, const Placement& placement,
              double load = 1);

// How far the worst request is beyond its SLA: the ratio; 0: none has one.
double WorstSlaRatio(const Workload& workload, const Plan& plan);

// What keeps a placement from more load.
struct Binding {
  double load = 0;   // times the workload that it can take
  std::string what;  // "device gpu0 is full", "the SLA of ask"; empty: nothing up to kLoadMax
  static constexpr double kLoadMax = 1e4;
};
Binding FindBinding(const Workload& workload, const Fleet& fleet, const Placement& placement);

// The best placement: one that meets every SLA before one that does not, then the cheapest, then
// the least latency. `allowed`: by device, whether it may be used; `wanted`: of those, at least one
// must be; empty: any. INVALID_ARGUMENT: a class has no device that could take it, a placement
// names one that cannot, or there are more than kPlacementsMax to compare.
absl::StatusOr<Plan> BestPlan(const Workload& workload, const Fleet& fleet,
                              const std::vector<bool>& allowed,
                              const std::vector<bool>& wanted = {});
inline constexpr int64_t kPlacementsMax = 20000;

}  // namespace baton::plan
