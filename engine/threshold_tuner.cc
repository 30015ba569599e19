#include "engine/threshold_tuner.h"

#include <algorithm>
#include <cmath>
#include <optional>

namespace baton {
namespace {

// The least sure time of executors that `accept` lets through, for so many items of either class;
// nullopt: nobody's is known.
template <class Accept>
std::optional<double> LeastUs(const CostModel& costs, const std::vector<TunedExecutor>& executors,
                              std::initializer_list<WorkClass> classes, double items,
                              Accept accept) {
  std::optional<double> least;
  for (const TunedExecutor& executor : executors) {
    if (!accept(executor.platform)) continue;
    for (const WorkClass work_class : classes) {
      const auto predicted = costs.Predict(executor.index, work_class, {.items = items});
      if (!predicted || !costs.Sure(*predicted)) continue;
      if (!least || predicted->run_us < *least) least = predicted->run_us;
    }
  }
  return least;
}

// The most items for which the GPU is not yet the quickest; `configured` where no crossing is
// known.
int64_t Crossing(const CostModel& costs, const std::vector<TunedExecutor>& executors,
                 std::initializer_list<WorkClass> classes, int64_t configured, int64_t max) {
  const auto gpu = [](Platform platform) { return platform == Platform::kGpu; };
  const auto others = [](Platform platform) { return platform != Platform::kGpu; };
  std::optional<int64_t> before;  // the last count at which another one was quicker
  for (int64_t items = 1; items <= max; items = std::max(items + 1, items * 5 / 4)) {
    const auto n = static_cast<double>(items);
    const auto gpu_us = LeastUs(costs, executors, classes, n, gpu);
    const auto other_us = LeastUs(costs, executors, classes, n, others);
    if (!gpu_us || !other_us) continue;
    if (*other_us < *gpu_us) {
      before = items;
    } else if (before) {
      return *before;
    } else {
      return 1;  // the GPU is the quicker one from the start
    }
  }
  return before.value_or(configured);
}

}  // namespace

ClassifierOptions TuneThresholds(const ClassifierOptions& configured, const CostModel& costs,
                                 const std::vector<TunedExecutor>& executors) {
  ClassifierOptions tuned = configured;
  tuned.search_bulk_queries =
      Crossing(costs, executors, {WorkClass::kSearchSingle, WorkClass::kSearchBulk},
               configured.search_bulk_queries, 10'000);
  tuned.batch_items =
      Crossing(costs, executors, {WorkClass::kEmbed}, configured.batch_items, 10'000);
  const auto slow = LeastUs(costs, executors, {WorkClass::kSearchSingle}, 1,
                            [](Platform platform) { return platform != Platform::kFpga; });
  const auto fpga = LeastUs(costs, executors, {WorkClass::kSearchSingle}, 1,
                            [](Platform platform) { return platform == Platform::kFpga; });
  if (slow && fpga && *fpga < *slow) {
    tuned.search_sla_us = std::max<int64_t>(1, std::llround(*slow));
  }
  return tuned;
}

}  // namespace baton
