#pragma once

#include <cstdint>

#include "absl/functional/function_ref.h"

namespace baton::gpu_bench {

struct SustainedGoal {
  double seconds_min = 2;            // of measuring: clocks settle, and heat counts
  double sample_seconds_min = 0.02;  // so that waiting for the end of a sample does not
  int32_t samples_min = 5;
};

struct Sustained {
  double call_seconds = 0;  // the median of the samples
  double spread = 0;        // from the 10th to the 90th percentile, of the median
  int64_t calls = 0;        // measured
  int32_t samples = 0;
};

// run(calls) does the work so many times, waits for its end and returns the seconds it took. It is
// called to warm up and to find how many calls make a sample; what that took does not count.
Sustained MeasureSustained(const SustainedGoal& goal, absl::FunctionRef<double(int64_t)> run);

}  // namespace baton::gpu_bench
