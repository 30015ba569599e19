#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "engine/base/options.h"
#include "engine/request/work.h"

namespace baton {

// How work of one class that arrives together becomes launches.
struct ClassBatchingOptions {
  std::string strategy = "adaptive";
  int64_t coalesce_us = 100;
  int64_t wait_us_max = 5000;
  int64_t items_max = 64;

  template <class Visitor>
  void Describe(Visitor& v) {
    v("strategy", strategy, OneOf{"low_latency", "adaptive", "time_or_size", "high_throughput"},
      "low_latency: what came at once goes at once; adaptive: that, while the executor has room, "
      "else once it has, as far as its learned times say that company pays, and as time_or_size "
      "until they are known; time_or_size: a launch goes when it is full or coalesce_us old; "
      "high_throughput: when it is full or wait_us_max old");
    v("coalesce_us", coalesce_us, Range{0, 1000000},
      "how long work waits for company, under adaptive and time_or_size");
    v("wait_us_max", wait_us_max, Range{0, 10000000},
      "how long it waits at most, under high_throughput");
    v("items_max", items_max, Range{1, 100000},
      "queries or texts of a launch that collects; a request that has as many goes alone");
  }
};

struct BatchingOptions {
  bool cpu = false;
  ClassBatchingOptions search_single;
  ClassBatchingOptions search_bulk = {.items_max = 512};
  ClassBatchingOptions embed;

  // nullptr: work of this class is never collected.
  const ClassBatchingOptions* Of(WorkClass work_class) const {
    switch (work_class) {
      case WorkClass::kSearchSingle:
        return &search_single;
      case WorkClass::kSearchBulk:
        return &search_bulk;
      case WorkClass::kEmbed:
        return &embed;
      default:
        return nullptr;
    }
  }

  template <class Visitor>
  void Describe(Visitor& v) {
    v("cpu", cpu, AnyValue{},
      "collect for the CPU executor, too, whose threads otherwise take requests side by side");
  }
};

}  // namespace baton
