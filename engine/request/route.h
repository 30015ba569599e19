#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/base/clock.h"
#include "engine/request/work.h"

namespace baton {

// An executor that could have been considered for a stage and was not chosen.
struct PassedOver {
  Platform platform = Platform::kCpu;
  std::string device;
  std::string reason;
};

// Where a stage runs and why. Stands in every response.
struct Route {
  WorkClass work_class = WorkClass::kPrefill;
  Platform preferred = Platform::kCpu;  // what the classifier's rule asked for
  std::string rule;                     // the rule that decided, e.g. "search-bulk"
  Platform platform = Platform::kCpu;   // where it runs
  std::string device;
  bool emulated = false;
  std::string reason;
  bool fallback = false;  // platform differs from preferred
  std::vector<PassedOver> passed_over;
};

// One stage of a request: its route and its time. Sums over all steps of the stage.
struct Stage {
  std::string name;  // embed, search, prefill, handoff, decode, write
  Route route;
  TimeUs start_us = 0;  // from the request's arrival to the stage's first dispatch
  TimeUs queue_us = 0;
  TimeUs run_us = 0;
  int64_t items = 0;  // tokens, queries, texts, points; for a handoff the bytes copied
  double joules = 0;  // that its run drew, with its share of what ran beside it; 0: not known
  bool joules_measured = false;  // else estimated from the device's figures
};

// How a request went.
struct Timings {
  std::vector<Stage> stages;
  TimeUs total_us = 0;
};

}  // namespace baton
