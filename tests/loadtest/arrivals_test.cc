#include "loadtest/arrivals.h"  // header under test

#include <catch2/catch.hpp>
#include <cmath>

namespace baton::load {
namespace {

TEST_CASE("Constant arrivals are equally spaced and do not drift") {
  Arrivals arrivals({.process = Process::kConstant, .rate_per_s = 3}, 10, /*seed=*/1);
  CHECK(arrivals.NextNs() == 0);
  CHECK(arrivals.NextNs() == 333'333'333);
  CHECK(arrivals.NextNs() == 666'666'666);
  for (int i = 3; i < 3'000'000; ++i) arrivals.NextNs();
  CHECK(arrivals.NextNs() == 1'000'000'000'000'000);
}

// Mean and variance of the gaps, in milliseconds, and the share of gaps above the mean.
struct Gaps {
  double mean = 0;
  double variance = 0;
  double above_mean = 0;
};

Gaps GapsOf(const ArrivalOptions& options, int count) {
  Arrivals arrivals(options, 1e6, /*seed=*/42);
  Gaps gaps;
  double square_sum = 0;
  int64_t last_ns = 0;
  const double mean_ms = 1e3 / options.rate_per_s;
  for (int i = 0; i < count; ++i) {
    const int64_t now_ns = arrivals.NextNs();
    REQUIRE(now_ns >= last_ns);
    const double gap_ms = static_cast<double>(now_ns - last_ns) / 1e6;
    gaps.mean += gap_ms / count;
    square_sum += gap_ms * gap_ms;
    gaps.above_mean += (gap_ms > mean_ms ? 1.0 : 0.0) / count;
    last_ns = now_ns;
  }
  gaps.variance = square_sum / count - gaps.mean * gaps.mean;
  return gaps;
}

TEST_CASE("Poisson arrivals have exponential gaps of the right mean") {
  const Gaps gaps = GapsOf({.process = Process::kPoisson, .rate_per_s = 1000}, 200'000);
  // Mean 1 ms, variance 1, a share of 1/e above the mean; the bounds are about 5 sigma.
  CHECK(gaps.mean == Approx(1).margin(0.012));
  CHECK(gaps.variance == Approx(1).margin(0.04));
  CHECK(gaps.above_mean == Approx(std::exp(-1)).margin(0.006));
}

TEST_CASE("Gamma arrivals keep the rate, and burstiness is one over the variance") {
  for (const double burstiness : {0.25, 0.7, 1.0, 4.0}) {
    CAPTURE(burstiness);
    const Gaps gaps =
        GapsOf({.process = Process::kGamma, .rate_per_s = 1000, .burstiness = burstiness}, 400'000);
    CHECK(gaps.mean == Approx(1).margin(0.02));
    CHECK(gaps.variance * burstiness == Approx(1).margin(0.06));
  }
}

TEST_CASE("A ramp's rate rises evenly over the run") {
  for (const auto& [from, to] : {std::pair(100.0, 900.0), std::pair(900.0, 100.0)}) {
    CAPTURE(from, to);
    Arrivals arrivals({.process = Process::kRamp, .rate_per_s = from, .rate_end_per_s = to}, 100,
                      7);
    int64_t first_half = 0;
    int64_t all = 0;
    for (int64_t at = arrivals.NextNs(); at < 100'000'000'000; at = arrivals.NextNs()) {
      ++all;
      first_half += at < 50'000'000'000;
    }
    CHECK(static_cast<double>(all) == Approx(50'000).margin(1'200));  // 5 sigma
    CHECK(static_cast<double>(first_half) == Approx(50 * (0.75 * from + 0.25 * to)).margin(1'000));
  }
}

TEST_CASE("A ramp to next to nothing ends") {
  Arrivals arrivals({.process = Process::kRamp, .rate_per_s = 10, .rate_end_per_s = 0.001}, 1, 7);
  int count = 0;
  while (arrivals.NextNs() != Arrivals::kNever) REQUIRE(++count < 1000);
}

TEST_CASE("The seed decides arrivals") {
  for (const Process process : {Process::kPoisson, Process::kGamma}) {
    Arrivals a({.process = process, .rate_per_s = 100}, 1, 7);
    Arrivals b({.process = process, .rate_per_s = 100}, 1, 7);
    Arrivals c({.process = process, .rate_per_s = 100}, 1, 8);
    const int64_t first = a.NextNs();
    CHECK(first == b.NextNs());
    CHECK(first != c.NextNs());
  }
}

}  // namespace
}  // namespace baton::load
