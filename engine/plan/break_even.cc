#include "engine/plan/break_even.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>
#include <vector>

namespace baton::plan {
namespace {

constexpr int64_t kDevicesMax = 4096;
constexpr int kScanSteps = 120;

// Costs of an hour with a fleet of the size that the load needs; nullopt: none is enough.
std::optional<double> SizedCost(const Workload& workload, const Fleet& fleet,
                                const Placement& placement, double load) {
  const std::optional<Fleet> sized = SizeFleet(workload, fleet, placement, load);
  if (!sized) return std::nullopt;
  return Evaluate(workload, *sized, placement, load).cost_per_hour;
}

double OthersCost(const Fleet& fleet, const Plan& plan) {
  double cost = 0;
  for (size_t i = 0; i < fleet.devices.size(); ++i) {
    const Device& device = fleet.devices[i];
    if (!plan.devices[i].used || device.platform == Platform::kGpu) continue;
    cost += static_cast<double>(device.count) * device.cost_per_hour;
  }
  return cost;
}

}  // namespace

std::optional<Fleet> SizeFleet(const Workload& workload, const Fleet& fleet,
                               const Placement& placement, double load) {
  Fleet sized = fleet;
  for (Device& device : sized.devices) device.count = 1;
  Plan plan = Evaluate(workload, sized, placement, load);
  // Enough for the work there is.
  for (size_t i = 0; i < sized.devices.size(); ++i) {
    const double needed = std::floor(plan.devices[i].utilisation) + 1;
    if (needed > static_cast<double>(kDevicesMax)) return std::nullopt;
    sized.devices[i].count = static_cast<int64_t>(needed);
  }
  plan = Evaluate(workload, sized, placement, load);
  // In time, too: some more of the kind that helps most.
  while (!plan.met) {
    double best = WorstSlaRatio(workload, plan);
    if (!std::isfinite(best)) best = std::numeric_limits<double>::max();
    const double enough = best * (1 - 1e-4);
    std::optional<std::pair<size_t, int64_t>> more;
    for (size_t i = 0; i < sized.devices.size(); ++i) {
      int64_t& count = sized.devices[i].count;
      const int64_t before = count;
      if (!plan.devices[i].used || before == kDevicesMax) continue;
      count = std::min(kDevicesMax, before + 1 + before / 16);
      const Plan next = Evaluate(workload, sized, placement, load);
      const double ratio = WorstSlaRatio(workload, next);
      if (ratio < best) {
        best = ratio;
        more = {i, count};
      }
      count = before;
    }
    if (!more || best > enough) return std::nullopt;
    sized.devices[more->first].count = more->second;
    plan = Evaluate(workload, sized, placement, load);
  }
  for (Device& device : sized.devices) {
    while (device.count > 1) {
      --device.count;
      if (Evaluate(workload, sized, placement, load).met) continue;
      ++device.count;
      break;
    }
  }
  return sized;
}

absl::StatusOr<BreakEven> CompareWithGpuOnly(const Workload& workload, const Fleet& fleet) {
  BreakEven result;
  std::vector<bool> gpus;
  std::vector<bool> others;
  for (const Device& device : fleet.devices) {
    gpus.push_back(device.platform == Platform::kGpu);
    others.push_back(device.platform != Platform::kGpu);
  }
  absl::StatusOr<Plan> gpu_only = BestPlan(workload, fleet, gpus);
  if (!gpu_only.ok()) {
    result.not_compared =
        "GPUs alone cannot do all of it: " + std::string(gpu_only.status().message());
    return result;
  }
  absl::StatusOr<Plan> mixed =
      BestPlan(workload, fleet, std::vector<bool>(fleet.devices.size(), true), others);
  if (!mixed.ok()) {
    result.not_compared = "all of it runs on GPUs: " + std::string(mixed.status().message());
    return result;
  }
  result.gpu_only = *std::move(gpu_only);
  result.mixed = *std::move(mixed);
  result.others_cost_per_hour = OthersCost(fleet, *result.mixed);
  if (result.gpu_only->met && result.mixed->met) {
    result.others_cost_per_hour_max =
        result.gpu_only->cost_per_hour - result.mixed->cost_per_hour + result.others_cost_per_hour;
  }

  result.gpu_only_ever_meets =
      SizedCost(workload, fleet, result.gpu_only->placement, 1).has_value();
  result.mixed_ever_meets = SizedCost(workload, fleet, result.mixed->placement, 1).has_value();
  const auto cheaper = [&](double load) {
    const auto mixed_cost = SizedCost(workload, fleet, result.mixed->placement, load);
    const auto gpu_cost = SizedCost(workload, fleet, result.gpu_only->placement, load);
    return mixed_cost && (!gpu_cost || *mixed_cost < *gpu_cost);
  };
  // From the top: devices come whole, so below it the cheaper one may change more than once.
  const double step = std::pow(BreakEven::kLoadMax / BreakEven::kLoadMin, 1.0 / kScanSteps);
  double load = BreakEven::kLoadMax;
  for (int i = 0; i <= kScanSteps && cheaper(load); ++i) {
    result.mixed_from_load = load;
    load /= step;
  }
  if (!result.mixed_from_load) return result;
  if (load < BreakEven::kLoadMin * 0.999) {  // at the bottom, too
    result.mixed_from_load = BreakEven::kLoadMin;
    return result;
  }
  double high = *result.mixed_from_load;
  double low = load;
  for (int i = 0; i < 20; ++i) {
    const double middle = (low + high) / 2;
    (cheaper(middle) ? high : low) = middle;
  }
  result.mixed_from_load = high;
  return result;
}

}  // namespace baton::plan
