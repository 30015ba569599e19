#include "loadtest/compare.h"

#include <algorithm>
#include <functional>
#include <nlohmann/json.hpp>
#include <random>

#include "absl/strings/str_format.h"
#include "engine/base/strings.h"
#include "loadtest/samples.h"

namespace baton::load {
namespace {

using nlohmann::json;
using Statistic = std::function<double(std::vector<double>&)>;

double Mean(std::vector<double>& values) {
  double sum = 0;
  for (const double value : values) sum += value;
  return values.empty() ? 0 : sum / static_cast<double>(values.size());
}

// By nearest rank; reorders.
Statistic QuantileAt(double share) {
  return [share](std::vector<double>& values) {
    const auto count = static_cast<double>(values.size());
    const double rank = std::clamp(std::ceil(share * count - 1e-9), 1.0, count);
    const auto at = values.begin() + static_cast<std::ptrdiff_t>(rank) - 1;
    std::nth_element(values.begin(), at, values.end());
    return *at;
  };
}

void Resample(const std::vector<double>& values, std::mt19937_64& random,
              std::vector<double>& drawn) {
  drawn.resize(values.size());
  for (double& value : drawn) value = values[random() % values.size()];
}

// Seconds that are whole: the last one is not.
std::vector<double> PerSecond(const json& document, const char* key) {
  std::vector<double> values;
  const json& timeline = document["timeline"];
  for (size_t i = 0; i + 1 < timeline.size(); ++i) {
    const auto found = timeline[i].find(key);
    if (found != timeline[i].end() && found->is_number()) values.push_back(found->get<double>());
  }
  return values;
}

class Comparison {
 public:
  explicit Comparison(const CompareOptions& options) : options_(options) {}

  void Add(const std::string& figure, const std::vector<double>& a, const std::vector<double>& b,
           const Statistic& statistic, bool lower_is_better) {
    if (a.size() < 2 || b.size() < 2) return;
    // Each figure's own sequence: adding one does not change the others.
    std::mt19937_64 random(options_.seed);
    std::vector<double> drawn = a;
    Ratio ratio{.figure = figure, .a = statistic(drawn), .lower_is_better = lower_is_better};
    drawn = b;
    ratio.b = statistic(drawn);
    if (!(ratio.a > 0)) return;
    ratio.ratio = ratio.b / ratio.a;
    std::vector<double> ratios;
    for (int32_t i = 0; i < options_.resamples; ++i) {
      Resample(a, random, drawn);
      const double of_a = statistic(drawn);
      Resample(b, random, drawn);
      if (of_a > 0) ratios.push_back(statistic(drawn) / of_a);
    }
    if (ratios.empty()) return;
    std::sort(ratios.begin(), ratios.end());
    ratio.low = Quantile(ratios, 0.025);
    ratio.high = Quantile(ratios, 0.975);
    const bool above = ratio.low > 1 + options_.tolerance;
    const bool below = ratio.high < 1 / (1 + options_.tolerance);
    ratio.worse = lower_is_better ? above : below;
    ratio.better = lower_is_better ? below : above;
    ratios_.push_back(ratio);
  }

  std::vector<Ratio> Take() { return std::move(ratios_); }

 private:
  const CompareOptions options_;
  std::vector<Ratio> ratios_;
};

}  // namespace

std::vector<Ratio> Compare(const json& a, const json& b, const CompareOptions& options) {
  Comparison comparison(options);
  for (const char* metric : {"ttft_ms", "tpot_ms", "itl_ms", "e2e_ms", "retrieved_ms"}) {
    if (!a["samples"].contains(metric) || !b["samples"].contains(metric)) continue;
    const auto of_a = a["samples"][metric].get<std::vector<double>>();
    const auto of_b = b["samples"][metric].get<std::vector<double>>();
    comparison.Add(StrCat(metric, ".mean"), of_a, of_b, Mean, true);
    comparison.Add(StrCat(metric, ".p50"), of_a, of_b, QuantileAt(0.5), true);
    comparison.Add(StrCat(metric, ".p90"), of_a, of_b, QuantileAt(0.9), true);
    comparison.Add(StrCat(metric, ".p99"), of_a, of_b, QuantileAt(0.99), true);
  }
  comparison.Add("throughput.requests_per_s", PerSecond(a, "ok"), PerSecond(b, "ok"), Mean, false);
  comparison.Add("throughput.tokens_per_s", PerSecond(a, "tokens"), PerSecond(b, "tokens"), Mean,
                 false);
  if (a["figures"].contains("goodput.share") && b["figures"].contains("goodput.share")) {
    comparison.Add("goodput.requests_per_s", PerSecond(a, "good"), PerSecond(b, "good"), Mean,
                   false);
  }
  return comparison.Take();
}

void PrintRatios(const std::vector<Ratio>& ratios, const CompareOptions& options,
                 std::ostream& out) {
  out << absl::StreamFormat("%-28s %12s %12s %8s %19s\n", "", "A", "B", "B / A", "95 % interval");
  for (const Ratio& ratio : ratios) {
    out << absl::StreamFormat("%-28s %12.3f %12.3f %8.3f   [%7.3f, %7.3f] %s\n", ratio.figure,
                              ratio.a, ratio.b, ratio.ratio, ratio.low, ratio.high,
                              ratio.worse    ? "WORSE"
                              : ratio.better ? "better"
                                             : "");
  }
  out << absl::StreamFormat(
      "\nWorse, better: all of the interval is beyond a tolerance of %g. Intervals: bootstrap of "
      "%d\n"
      "resamples, seed %d; they hold as far as requests are independent of one another.\n",
      options.tolerance, options.resamples, options.seed);
}

}  // namespace baton::load
