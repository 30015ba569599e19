#pragma once

#include <string>
#include <vector>

#include "engine/exec/executor.h"
#include "engine/request/work.h"

namespace baton {

// An executor's description and its state now.
struct DeviceReport {
  ExecutorInfo info;
  ExecutorSample sample;
  std::string cpus;                 // processors that its threads are bound to; empty: to none
  std::vector<int> numa_nodes;      // that it is near; empty: not known
  std::vector<std::string> skills;  // "llm", "search", "embed", "cluster"
  std::string state;                // of its breaker: closed, open, probing; or stalled
  std::string refusal;              // why it gets no new work now; empty where it does
  double capacity = 1;              // the part of its usual work that it gets
  double watts = 0;
  bool watts_measured = false;
  std::vector<std::string> events;  // what has changed lately, the last one last
};

// How well one class of work on one executor is known.
struct LearnedCost {
  WorkClass work_class = WorkClass::kPrefill;
  Platform platform = Platform::kCpu;
  std::string device;
  int64_t samples = 0;
  double median_error = 0;  // of the last predictions, relative
  int64_t drifts = 0;
};

}  // namespace baton
