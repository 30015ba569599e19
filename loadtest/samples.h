#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace baton::load {

// What a report says of one quantity, in milliseconds. All zero where count is 0.
struct Summary {
  int64_t count = 0;
  double mean_ms = 0;
  double p50_ms = 0;
  double p90_ms = 0;
  double p99_ms = 0;
  double p999_ms = 0;
  double max_ms = 0;
};

// Durations kept one by one, so that percentiles are exact. Not thread safe.
class Samples {
 public:
  // 128 MiB. A run that long has its percentiles from the first ones, and the report says so.
  static constexpr size_t kCountMax = 16'000'000;

  explicit Samples(size_t count_max = kCountMax) : count_max_(count_max) {}

  void Add(int64_t duration_ns);

  // Percentiles by nearest rank: the smallest sample that at least that share of all samples does
  // not exceed. Always a value that was measured. Reorders the samples.
  Summary Summarize();

  // Samples that came after the store was full; in no figure.
  int64_t not_stored() const { return not_stored_; }

 private:
  size_t count_max_;
  int64_t not_stored_ = 0;
  std::vector<int64_t> durations_ns_;
};

}  // namespace baton::load
