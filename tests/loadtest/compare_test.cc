#include "loadtest/compare.h"  // header under test

#include <algorithm>
#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>
#include <random>
#include <sstream>

namespace baton::load {
namespace {

// A report of `count` latencies, exponential around `mean_ms`, and of 30 seconds at `per_s`.
nlohmann::json ReportOf(double mean_ms, int per_s, uint64_t seed, int count = 2'000) {
  std::mt19937_64 random(seed);
  std::exponential_distribution<double> draw(1 / mean_ms);
  std::poisson_distribution<int> second(per_s);
  nlohmann::json report = {{"figures", nlohmann::json::object()},
                           {"samples", {{"e2e_ms", nlohmann::json::array()}}},
                           {"timeline", nlohmann::json::array()}};
  for (int i = 0; i < count; ++i) report["samples"]["e2e_ms"].push_back(draw(random));
  for (int i = 0; i < 31; ++i) report["timeline"].push_back({{"ok", second(random)}});
  return report;
}

const Ratio& At(const std::vector<Ratio>& ratios, const std::string& figure) {
  const auto found = std::find_if(ratios.begin(), ratios.end(),
                                  [&](const Ratio& ratio) { return ratio.figure == figure; });
  REQUIRE(found != ratios.end());
  return *found;
}

TEST_CASE("What is twice as slow is worse, what is half as slow better") {
  const auto slow = Compare(ReportOf(10, 100, 1), ReportOf(20, 100, 2), {});
  for (const char* figure : {"e2e_ms.mean", "e2e_ms.p50", "e2e_ms.p90", "e2e_ms.p99"}) {
    CAPTURE(figure);
    const Ratio& ratio = At(slow, figure);
    CHECK(ratio.worse);
    CHECK_FALSE(ratio.better);
    CHECK(ratio.low < ratio.ratio);
    CHECK(ratio.ratio < ratio.high);
  }
  CHECK(At(slow, "e2e_ms.mean").ratio == Approx(2).epsilon(0.1));
  CHECK_FALSE(At(slow, "throughput.requests_per_s").worse);
  CHECK(At(Compare(ReportOf(20, 100, 1), ReportOf(10, 100, 2), {}), "e2e_ms.mean").better);
}

TEST_CASE("Less throughput is worse, more is better") {
  CHECK(
      At(Compare(ReportOf(1, 100, 1), ReportOf(1, 50, 2), {}), "throughput.requests_per_s").worse);
  CHECK(
      At(Compare(ReportOf(1, 50, 1), ReportOf(1, 100, 2), {}), "throughput.requests_per_s").better);
}

TEST_CASE("Two runs of the same are hardly ever told apart") {
  int told_apart = 0;
  int covered = 0;
  constexpr int kRounds = 60;
  for (uint64_t round = 0; round < kRounds; ++round) {
    const auto ratios =
        Compare(ReportOf(10, 100, 1000 + round, 300), ReportOf(10, 100, 2000 + round, 300),
                {.tolerance = 0, .resamples = 300});
    const Ratio& mean = At(ratios, "e2e_ms.mean");
    told_apart += mean.worse || mean.better;
    covered += mean.low <= 1 && 1 <= mean.high;
  }
  // 95 % intervals: 57 of 60 expected, 50 at the least (4 sigma).
  CHECK(covered >= 50);
  CHECK(told_apart == kRounds - covered);
}

TEST_CASE("The seed decides the interval") {
  const auto a = ReportOf(10, 100, 1, 100);
  const auto b = ReportOf(11, 100, 2, 100);
  CHECK(At(Compare(a, b, {.seed = 5}), "e2e_ms.p90").high ==
        At(Compare(a, b, {.seed = 5}), "e2e_ms.p90").high);
  CHECK(At(Compare(a, b, {.seed = 5}), "e2e_ms.mean").high !=
        At(Compare(a, b, {.seed = 6}), "e2e_ms.mean").high);
}

TEST_CASE("What only one report has is not compared") {
  auto a = ReportOf(10, 100, 1);
  const auto b = ReportOf(10, 100, 2);
  a["samples"].erase("e2e_ms");
  const auto ratios = Compare(a, b, {});
  CHECK(ratios.size() == 1);
  std::ostringstream out;
  PrintRatios(ratios, {}, out);
  CHECK_THAT(out.str(), Catch::Contains("throughput.requests_per_s"));
}

}  // namespace
}  // namespace baton::load
