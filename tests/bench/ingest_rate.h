#pragma once

#include <cstdint>

#include "tests/bench/vector_sets.h"

namespace baton {

struct IngestRun {
  double seconds = 0;
  double acknowledged_per_s = 0;
  double unindexed_max = 0;  // points without a graph, as seen from time to time
  int64_t segments = 0;      // at the end
};

struct IngestParams {
  int streams = 2;
  int64_t batch_points = 1000;
  int64_t build_threads = 0;  // 0: builder paused
  int64_t unindexed_points_max = 1'000'000'000;
  // Rows go in over and over under new ids until the time is over; 0: each once.
  double seconds = 0;
  double warm_seconds = 0;  // of these, not counted
};

// Rows of a set, with a keyword each, through UpsertStream into a daemon of its own in this
// process, with fsync: always. The clients take their share of the machine, too.
IngestRun MeasureIngest(const VectorSet& set, const IngestParams& params);

// Points a second that plain RocksDB takes: the same values and keywords, in batches of the same
// size, each synced.
double MeasureProbe(const VectorSet& set, int64_t batch_points);

}  // namespace baton
