#include "loadtest/samples.h"

#include <algorithm>
#include <cmath>

namespace baton::load {
namespace {

// `sorted` is not empty. In whole thousandths: 0.999 * 1000 is not 999 in binary fractions.
double PercentileMs(const std::vector<int64_t>& sorted, size_t permille) {
  const size_t rank = (permille * sorted.size() + 999) / 1000;  // from 1
  return static_cast<double>(sorted[std::max<size_t>(rank, 1) - 1]) / kNsPerMs;
}

}  // namespace

double Quantile(const std::vector<double>& sorted, double share) {
  const auto count = static_cast<double>(sorted.size());
  // Less a hair: 0.999 * 1000 is above 999 in binary fractions.
  const double rank = std::ceil(share * count - 1e-9);
  return sorted[static_cast<size_t>(std::clamp(rank, 1.0, count)) - 1];
}

void Samples::Add(int64_t duration_ns) {
  if (durations_ns_.size() >= count_max_) {
    ++not_stored_;
    return;
  }
  durations_ns_.push_back(duration_ns);
  sorted_ = false;
}

void Samples::Sort() {
  if (!sorted_) std::sort(durations_ns_.begin(), durations_ns_.end());
  sorted_ = true;
}

Summary Samples::Summarize() {
  Summary summary;
  if (durations_ns_.empty()) return summary;
  Sort();
  double sum_ns = 0;
  for (int64_t ns : durations_ns_) sum_ns += static_cast<double>(ns);
  summary.count = static_cast<int64_t>(durations_ns_.size());
  summary.mean_ms = sum_ns / static_cast<double>(summary.count) / kNsPerMs;
  summary.p50_ms = PercentileMs(durations_ns_, 500);
  summary.p90_ms = PercentileMs(durations_ns_, 900);
  summary.p99_ms = PercentileMs(durations_ns_, 990);
  summary.p999_ms = PercentileMs(durations_ns_, 999);
  summary.max_ms = static_cast<double>(durations_ns_.back()) / kNsPerMs;
  return summary;
}

std::vector<std::pair<double, double>> Samples::Distribution(size_t points) {
  std::vector<std::pair<double, double>> curve;
  if (durations_ns_.empty() || points < 2) return curve;
  Sort();
  const auto count = static_cast<double>(durations_ns_.size());
  for (size_t i = 0; i < points; ++i) {
    // Half of the points evenly, half in ever smaller steps towards 1, where the tail is.
    const double x = static_cast<double>(i) / static_cast<double>(points - 1);
    const double share = x < 0.5 ? 1.8 * x : 1 - 0.1 * std::pow(0.001, 2 * x - 1);
    const double rank =
        i + 1 == points ? count : std::max(1.0, std::min(count, std::ceil(share * count)));
    const double ms = static_cast<double>(durations_ns_[static_cast<size_t>(rank) - 1]) / kNsPerMs;
    if (!curve.empty() && curve.back().second == rank / count) continue;
    curve.emplace_back(ms, rank / count);
  }
  return curve;
}

std::vector<double> Samples::Thinned(size_t count) {
  Sort();
  std::vector<double> thinned;
  const size_t kept = std::min(count, durations_ns_.size());
  for (size_t i = 0; i < kept; ++i) {
    // The middle of each of `kept` equal parts.
    const size_t index = (2 * i + 1) * durations_ns_.size() / (2 * kept);
    thinned.push_back(static_cast<double>(durations_ns_[index]) / kNsPerMs);
  }
  return thinned;
}

}  // namespace baton::load
