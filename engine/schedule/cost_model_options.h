#pragma once

#include <cstdint>

#include "engine/base/options.h"

namespace baton {

// What is learned from completed batches, and what that decides.
struct CostModelOptions {
  bool route = true;
  int64_t samples_min = 32;
  double interval_max = 2;
  int64_t probe_ms = 5000;
  bool tune_thresholds = false;
  int64_t save_seconds = 60;

  template <class Visitor>
  void Describe(Visitor& v) {
    v("route", route, AnyValue{},
      "let learned times order the executors once they are sure; false: the classifier's rules "
      "always decide");
    v("samples_min", samples_min, Range{1, 1e6},
      "batches of a class that an executor must have completed before its times count");
    v("interval_max", interval_max, Range{1.01, 100},
      "a predicted time is sure where 19 of 20 batches are expected to take at most so many times "
      "it");
    v("probe_ms", probe_ms, Range{0, 3600000},
      "an executor passed over for its predicted time gets one piece of work after so long, to see "
      "whether that still holds; 0: never");
    v("tune_thresholds", tune_thresholds, AnyValue{},
      "move classify.search_bulk_queries, search_sla_us and batch_items to where the learned times "
      "cross");
    v("save_seconds", save_seconds, Range{0, 86400},
      "what was learned is kept in vector.data_dir/cost_model at this interval and at the end; 0: "
      "it is forgotten");
  }
};

}  // namespace baton
