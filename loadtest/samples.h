#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace baton::load {

inline constexpr int64_t kNsPerMs = 1'000'000;

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

// The smallest of `sorted` that at least `share` of them do not exceed (nearest rank). `sorted` is
// not empty, `share` 0 to 1.
double Quantile(const std::vector<double>& sorted, double share);

// Durations kept one by one, so that percentiles are exact. Not thread safe.
class Samples {
 public:
  // 128 MiB. A run that long has its percentiles from the first ones, and the report says so.
  static constexpr size_t kCountMax = 16'000'000;

  explicit Samples(size_t count_max = kCountMax) : count_max_(count_max) {}

  void Add(int64_t duration_ns);

  // Percentiles by nearest rank: always a value that was measured. Reorders the samples.
  Summary Summarize();
  // At most `points` of (milliseconds, share of samples that are at most so long), rising in both,
  // denser towards the end, whose last is (max, 1). Reorders the samples.
  std::vector<std::pair<double, double>> Distribution(size_t points);
  // At most `count` of them, evenly by rank, in milliseconds, rising. Reorders the samples.
  std::vector<double> Thinned(size_t count);

  // Samples that came after the store was full; in no figure.
  int64_t not_stored() const { return not_stored_; }

 private:
  void Sort();

  size_t count_max_;
  int64_t not_stored_ = 0;
  bool sorted_ = true;
  std::vector<int64_t> durations_ns_;
};

}  // namespace baton::load
