#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/base/options.h"
#include "engine/request/work.h"

namespace baton {

// What each part of an executor's score counts under one policy. Each part is 0 to 1.
struct RouteWeights {
  double performance = 0;
  double queue = 0;
  double capability = 0;
  double residency = 0;

  double sum() const { return performance + queue + capability + residency; }

  template <class Visitor>
  void Describe(Visitor& v) {
    v("performance", performance, Range{0, 1},
      "what predicted performance counts; the four weights add up to 1");
    v("queue", queue, Range{0, 1}, "what a short queue counts");
    v("capability", capability, Range{0, 1}, "what being able, and whole, counts");
    v("residency", residency, Range{0, 1}, "what having the data in its memory counts");
  }
};

// Where work of each class may run at all, the preferred platform first. Empty: the classifier's
// rules decide, and every platform may be fallen back to.
struct PlacementOptions {
  std::vector<std::string> of[kWorkClassCount];  // by work class

  const std::vector<std::string>& Of(WorkClass work_class) const {
    return of[static_cast<size_t>(work_class)];
  }

  template <class Visitor>
  void Describe(Visitor& v) {
    for (int i = 0; i < kWorkClassCount; ++i) {
      v(Name(static_cast<WorkClass>(i)), of[i], OneOf{"cpu", "gpu", "fpga"},
        "the only platforms for this work, the preferred one first; []: the classifier's rules "
        "decide");
    }
  }
};

// How executors are chosen.
struct RouteOptions {
  std::string policy = "balanced";
  std::string fallback = "cpu";
  int32_t retries = 2;
  // A short queue is worth as much as a fast device.
  RouteWeights latency_optimized = {
      .performance = 0.4, .queue = 0.4, .capability = 0.1, .residency = 0.1};
  // Queues are how throughput is made.
  RouteWeights throughput_optimized = {
      .performance = 0.6, .queue = 0.1, .capability = 0.2, .residency = 0.1};
  // Moving data costs energy.
  RouteWeights power_optimized = {
      .performance = 0.3, .queue = 0.2, .capability = 0.2, .residency = 0.3};
  RouteWeights balanced = {.performance = 0.4, .queue = 0.3, .capability = 0.2, .residency = 0.1};
  PlacementOptions platforms;

  const RouteWeights& WeightsOf(Policy of) const {
    switch (of) {
      case Policy::kLatencyOptimized:
        return latency_optimized;
      case Policy::kThroughputOptimized:
        return throughput_optimized;
      case Policy::kPowerOptimized:
        return power_optimized;
      case Policy::kBalanced:
        break;
    }
    return balanced;
  }

  template <class Visitor>
  void Describe(Visitor& v) {
    v("policy", policy,
      OneOf{"latency_optimized", "throughput_optimized", "power_optimized", "balanced"},
      "row of weights that scores executors where the request does not say");
    v("fallback", fallback, OneOf{"none", "cpu", "alternate", "retry"},
      "what to do when the preferred platform cannot take work, or fails at it, and the request "
      "does not say; a request that pins a platform and does not say fails instead");
    v("retries", retries, Range{1, 10},
      "for fallback: retry, how often work that failed is done again, each time by the best "
      "executor that has not failed at it, if there is one");
  }
};

}  // namespace baton
