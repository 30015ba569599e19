#include "loadtest/samples.h"

#include <algorithm>

namespace baton::load {
namespace {

constexpr double kNsPerMs = 1e6;

// `sorted` is not empty. In whole thousandths: 0.999 * 1000 is not 999 in binary fractions.
double PercentileMs(const std::vector<int64_t>& sorted, size_t permille) {
  const size_t rank = (permille * sorted.size() + 999) / 1000;  // from 1
  return static_cast<double>(sorted[std::max<size_t>(rank, 1) - 1]) / kNsPerMs;
}

}  // namespace

void Samples::Add(int64_t duration_ns) {
  if (durations_ns_.size() >= count_max_) {
    ++not_stored_;
    return;
  }
  durations_ns_.push_back(duration_ns);
}

Summary Samples::Summarize() {
  Summary summary;
  if (durations_ns_.empty()) {
    return summary;
  }
  std::sort(durations_ns_.begin(), durations_ns_.end());
  double sum_ns = 0;
  for (int64_t ns : durations_ns_) {
    sum_ns += static_cast<double>(ns);
  }
  summary.count = static_cast<int64_t>(durations_ns_.size());
  summary.mean_ms = sum_ns / static_cast<double>(summary.count) / kNsPerMs;
  summary.p50_ms = PercentileMs(durations_ns_, 500);
  summary.p90_ms = PercentileMs(durations_ns_, 900);
  summary.p99_ms = PercentileMs(durations_ns_, 990);
  summary.p999_ms = PercentileMs(durations_ns_, 999);
  summary.max_ms = static_cast<double>(durations_ns_.back()) / kNsPerMs;
  return summary;
}

}  // namespace baton::load
