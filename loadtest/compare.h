#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <ostream>
#include <string>
#include <vector>

namespace baton::load {

// A ratio of two runs, with what 95 % of it lie between.
struct Ratio {
  std::string figure;  // e.g. "ttft_ms.p99"
  double a = 0;
  double b = 0;
  double ratio = 0;  // b / a
  double low = 0;
  double high = 0;
  bool lower_is_better = true;
  // All of the interval is worse (better) by more than the tolerance.
  bool worse = false;
  bool better = false;
};

struct CompareOptions {
  double tolerance = 0.05;  // of a ratio, in either direction
  uint64_t seed = 1;
  int32_t resamples = 1'000;
};

// Ratios of mean, median, p90 and p99 of every latency, and of throughput by second, that both
// documents have. Intervals are by the percentile bootstrap (Efron 1979) over the samples and the
// whole seconds that the documents keep; they take these for independent of one another.
std::vector<Ratio> Compare(const nlohmann::json& a, const nlohmann::json& b,
                           const CompareOptions& options);

void PrintRatios(const std::vector<Ratio>& ratios, const CompareOptions& options,
                 std::ostream& out);

}  // namespace baton::load
