#pragma once

#include <cstdint>

#include "engine/base/options.h"

namespace baton {

// Thresholds of the classifier's rules.
struct ClassifierOptions {
  int64_t search_bulk_queries = 10;
  int64_t search_sla_us = 1000;
  int64_t sla_us = 1000;
  int64_t batch_items = 16;
  double power_budget_w = 50;

  template <class Visitor>
  void Describe(Visitor& v) {
    v("search_bulk_queries", search_bulk_queries, Range{1, 10000},
      "a search of more queries than this is search_bulk and prefers the GPU");
    v("search_sla_us", search_sla_us, Range{1, 1e9},
      "a single search with an SLA below this prefers the FPGA");
    v("sla_us", sla_us, Range{1, 1e9}, "other work with an SLA below this prefers the FPGA");
    v("batch_items", batch_items, Range{1, 1e6}, "batches larger than this prefer the GPU");
    v("power_budget_w", power_budget_w, Range{0, 1e5},
      "work with a power budget below this prefers the FPGA");
  }
};

}  // namespace baton
