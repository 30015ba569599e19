#include "loadtest/samples.h"  // header under test

#include <algorithm>
#include <catch2/catch.hpp>
#include <random>
#include <vector>

namespace baton::load {
namespace {

constexpr int64_t kMs = 1'000'000;

TEST_CASE("No samples give zeroes, one sample is every percentile") {
  Samples samples;
  CHECK(samples.Summarize().count == 0);
  CHECK(samples.Summarize().p999_ms == 0);
  samples.Add(7 * kMs);
  const Summary one = samples.Summarize();
  CHECK(one.count == 1);
  CHECK(one.mean_ms == 7);
  CHECK(one.p50_ms == 7);
  CHECK(one.p999_ms == 7);
  CHECK(one.max_ms == 7);
}

TEST_CASE("Percentiles are nearest ranks of 1 to 1000 ms") {
  Samples samples;
  for (int64_t i = 1000; i >= 1; --i) {
    samples.Add(i * kMs);
  }
  const Summary summary = samples.Summarize();
  CHECK(summary.count == 1000);
  CHECK(summary.mean_ms == Approx(500.5));
  CHECK(summary.p50_ms == 500);
  CHECK(summary.p90_ms == 900);
  CHECK(summary.p99_ms == 990);
  CHECK(summary.p999_ms == 999);
  CHECK(summary.max_ms == 1000);
}

TEST_CASE("Two samples: the median is the lower, the tail the higher") {
  Samples samples;
  samples.Add(10 * kMs);
  samples.Add(20 * kMs);
  CHECK(samples.Summarize().p50_ms == 10);
  CHECK(samples.Summarize().p90_ms == 20);
}

TEST_CASE("A percentile is the smallest sample that enough samples do not exceed") {
  const auto seed = std::random_device{}();
  CAPTURE(seed);
  std::mt19937 random(seed);
  for (int round = 0; round < 200; ++round) {
    const int count = 1 + static_cast<int>(random() % 300);
    std::vector<int64_t> values;
    Samples samples;
    for (int i = 0; i < count; ++i) {
      values.push_back(static_cast<int64_t>(random() % 50) * kMs);
      samples.Add(values.back());
    }
    const Summary summary = samples.Summarize();
    const auto check = [&](double percentile_ms, int permille) {
      const auto at_most = [&](double ms) {
        return std::count_if(values.begin(), values.end(),
                             [&](int64_t v) { return static_cast<double>(v) / kMs <= ms; });
      };
      CHECK(at_most(percentile_ms) * 1000 >= permille * count);
      CHECK(at_most(percentile_ms - 1) * 1000 < permille * count);
    };
    check(summary.p50_ms, 500);
    check(summary.p90_ms, 900);
    check(summary.p99_ms, 990);
    check(summary.p999_ms, 999);
  }
}

TEST_CASE("A full store keeps the first samples and counts the rest") {
  Samples samples(/*count_max=*/3);
  for (int64_t i = 1; i <= 5; ++i) {
    samples.Add(i * kMs);
  }
  CHECK(samples.Summarize().count == 3);
  CHECK(samples.Summarize().max_ms == 3);
  CHECK(samples.not_stored() == 2);
}

TEST_CASE("A distribution rises in both, ends at the maximum and is on the samples") {
  Samples samples;
  for (int64_t i = 1; i <= 5000; ++i) samples.Add(i * kMs);
  const auto curve = samples.Distribution(200);
  REQUIRE(curve.size() > 150);
  CHECK(curve.size() <= 200);
  CHECK(curve.back() == std::pair<double, double>(5000, 1));
  for (size_t i = 1; i < curve.size(); ++i) {
    CHECK(curve[i].first >= curve[i - 1].first);
    CHECK(curve[i].second > curve[i - 1].second);
    CHECK(curve[i].first == Approx(5000 * curve[i].second));
  }
  Samples one;
  one.Add(3 * kMs);
  CHECK(one.Distribution(200) == std::vector<std::pair<double, double>>{{3, 1}});
  CHECK(Samples().Distribution(200).empty());
}

TEST_CASE("Thinned samples keep the distribution") {
  Samples samples;
  for (int64_t i = 1; i <= 10'000; ++i) samples.Add(i * kMs);
  const auto thinned = samples.Thinned(1'000);
  REQUIRE(thinned.size() == 1'000);
  CHECK(Quantile(thinned, 0.5) == Approx(5000).epsilon(0.002));
  CHECK(Quantile(thinned, 0.99) == Approx(9900).epsilon(0.002));
  CHECK(samples.Thinned(20'000).size() == 10'000);
  CHECK(Samples().Thinned(5).empty());
}

}  // namespace
}  // namespace baton::load
