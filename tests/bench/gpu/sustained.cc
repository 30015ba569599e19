#include "tests/bench/gpu/sustained.h"

#include <vector>

#include "tests/bench/bench_tools.h"

namespace baton::gpu_bench {

Sustained MeasureSustained(const SustainedGoal& goal, absl::FunctionRef<double(int64_t)> run) {
  constexpr int64_t kCallsMax = int64_t{1} << 20;
  run(1);
  int64_t calls = 1;
  while (calls < kCallsMax && run(calls) < goal.sample_seconds_min) calls *= 2;
  std::vector<double> samples;
  double total = 0;
  while (total < goal.seconds_min || static_cast<int32_t>(samples.size()) < goal.samples_min) {
    const double seconds = run(calls);
    total += seconds;
    samples.push_back(seconds / static_cast<double>(calls));
  }
  Sustained measured = {.call_seconds = Median(samples),
                        .spread = 0,
                        .calls = calls * static_cast<int64_t>(samples.size()),
                        .samples = static_cast<int32_t>(samples.size())};
  if (measured.call_seconds > 0) {
    measured.spread = (Quantile(samples, 0.9) - Quantile(samples, 0.1)) / measured.call_seconds;
  }
  return measured;
}

}  // namespace baton::gpu_bench
