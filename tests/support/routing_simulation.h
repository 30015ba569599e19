#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/base/clock.h"
#include "engine/classify/classifier.h"
#include "engine/engine_options.h"
#include "engine/exec/simulated/simulation_options.h"

namespace baton {

// Requests to be routed, as tests/bench/traces/ has them; the files explain themselves.
struct RoutingTrace {
  struct Class {
    std::string name;
    WorkKind kind = WorkKind::kSearch;
    double share = 1;  // of the requests; all add up to 1
    int64_t items_min = 1;
    int64_t items_max = 1;
    TimeUs sla_us = 0;
  };
  struct Drift {
    double at = 0;  // of the trace
    std::string device;
    double factor = 1;  // batches take so many times as long from then on
  };
  std::vector<Class> classes;
  std::vector<Drift> drifts;
  TimeUs burst_every_us = 0;  // 0: none
  TimeUs burst_us = 0;
  double burst_factor = 1;
  uint64_t seed = 1;
};

// INVALID_ARGUMENT names the line.
absl::StatusOr<RoutingTrace> ParseRoutingTrace(std::string_view text);

// How a trace is played.
struct RoutingRun {
  EngineOptions options;
  double per_second = 100;  // requests, on average
  double seconds = 10;
  double warmup_seconds = 2;        // before them, not counted
  bool drift = false;               // whether the trace's drifts happen
  std::vector<Platform> only = {};  // the platforms there are; empty: all of the node's
  bool calibrate = true;            // as `batonctl calibrate` does, before
  bool sla_hints = true;            // requests tell their SLA
  // Of each request as it is routed, and as it is answered; times count from the beginning.
  std::function<void(TimeUs at_us, std::string_view device)> on_route = {};
  std::function<void(TimeUs at_us, size_t of, std::string_view device, TimeUs took_us)> on_end = {};
};

struct RoutingOutcome {
  struct Class {
    std::vector<TimeUs> latencies_us;  // ascending
    int64_t requests = 0;
    int64_t missed = 0;  // too late, refused or failed
    int64_t launches = 0;
    std::map<std::string, int64_t> by_device;  // requests

    double met() const {
      return requests == 0 ? 1 : 1 - static_cast<double>(missed) / static_cast<double>(requests);
    }
  };
  std::vector<Class> classes;  // in the trace's order

  // The least share of a class's requests that ended in time.
  double met() const;
};

// Plays a trace against simulated devices, event by event on a virtual clock, with the engine's
// own ExecutorBoard and LaunchCollector; what the loop costs is left out. The same arguments give
// the same outcome. Requests still under way at the end count when they end.
RoutingOutcome SimulateRouting(const SimulationOptions& node, const RoutingTrace& trace,
                               const RoutingRun& run);

// The highest rate, within 3 %, at which `met` of the requests of each class end in time; 0: not
// even `least` does.
double HighestRate(const SimulationOptions& node, const RoutingTrace& trace, RoutingRun run,
                   double least = 50, double met = 0.99);

}  // namespace baton
