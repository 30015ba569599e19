#include "tests/support/routing_cases.h"

#include <algorithm>
#include <fstream>
#include <iterator>
#include <utility>
#include <vector>

#include "config/simulation_file.h"
#include "engine/base/status_macros.h"
#include "engine/base/strings.h"

namespace baton {

absl::StatusOr<RoutingCase> ReadRoutingCase(const std::string& trace, const std::string& node) {
  const std::string folder = BATON_SOURCE_DIR "/tests/bench/traces/";
  std::ifstream file(folder + trace);
  if (!file) return absl::NotFoundError(StrCat("there is no ", folder, trace));
  const std::string text(std::istreambuf_iterator<char>(file), {});
  RoutingCase of;
  ASSIGN_OR_RETURN(of.trace, ParseRoutingTrace(text));
  ASSIGN_OR_RETURN(of.node, ReadSimulation(folder + node));
  return of;
}

RoutingRun HybridRun(double seconds) {
  RoutingRun run{.options = {}, .seconds = seconds};
  run.warmup_seconds = std::min(run.warmup_seconds, seconds);
  run.options.route.fallback = "alternate";
  return run;
}

RoutingRun StaticRun(double seconds) {
  RoutingRun run = HybridRun(seconds);
  run.options.cost_model.route = false;
  auto& platforms = run.options.route.platforms.of;
  platforms[static_cast<size_t>(WorkClass::kSearchSingle)] = {"fpga"};
  platforms[static_cast<size_t>(WorkClass::kSearchBulk)] = {"gpu"};
  platforms[static_cast<size_t>(WorkClass::kEmbed)] = {"gpu"};
  return run;
}

double HighestRateAlone(const RoutingCase& of, Platform platform, double seconds) {
  double best = 0;
  for (const char* strategy : {"low_latency", "adaptive", "time_or_size", "high_throughput"}) {
    for (const int64_t items_max : {64, 512}) {
      RoutingRun run = HybridRun(seconds);
      run.only = {platform};
      BatchingOptions& batching = run.options.batching;
      for (ClassBatchingOptions* options :
           {&batching.search_single, &batching.search_bulk, &batching.embed}) {
        options->strategy = strategy;
        options->items_max = items_max;
      }
      best = std::max(best, HighestRate(of.node, of.trace, run));
    }
  }
  return best;
}

double SecondsToAdapt(const RoutingCase& of, double per_second, uint64_t seed) {
  RoutingCase played = of;
  played.trace.seed = seed;
  RoutingRun run = HybridRun(/*seconds=*/20);
  run.per_second = per_second;
  run.drift = true;
  const RoutingTrace::Drift& drift = of.trace.drifts.front();
  const auto us = [](double seconds) { return static_cast<TimeUs>(seconds * 1e6); };
  const TimeUs begin_us = us(run.warmup_seconds);
  const TimeUs drift_us = us(run.warmup_seconds + run.seconds * drift.at);
  const TimeUs end_us = us(run.warmup_seconds + run.seconds);
  std::vector<std::pair<TimeUs, bool>> routes;  // when, and whether to the device that slows
  run.on_route = [&](TimeUs at_us, std::string_view device) {
    routes.emplace_back(at_us, device == drift.device);
  };
  SimulateRouting(played.node, played.trace, run);
  const auto share = [&](TimeUs from_us, TimeUs until_us) {
    int64_t all = 0;
    int64_t slow = 0;
    for (const auto& [at_us, to_slow] : routes) {
      if (at_us < from_us || at_us >= until_us) continue;
      ++all;
      slow += to_slow ? 1 : 0;
    }
    return all == 0 ? 0 : static_cast<double>(slow) / static_cast<double>(all);
  };
  const double in_the_end = share(end_us - (end_us - drift_us) / 2, end_us);
  if (in_the_end <= share(begin_us, drift_us) / 2) {
    for (const auto& [at_us, to_slow] : routes) {
      if (at_us < drift_us || share(at_us, at_us + us(1)) > in_the_end + 0.1) continue;
      return static_cast<double>(at_us - drift_us) * 1e-6;
    }
  }
  return static_cast<double>(end_us - drift_us) * 1e-6;
}

}  // namespace baton
