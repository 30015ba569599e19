#include "loadtest/arrivals.h"  // header under test

#include <catch2/catch.hpp>
#include <cmath>

namespace baton::load {
namespace {

TEST_CASE("Constant arrivals are equally spaced and do not drift") {
  Arrivals arrivals(ArrivalKind::kConstant, /*rate_per_s=*/3, /*seed=*/1);
  CHECK(arrivals.NextNs() == 0);
  CHECK(arrivals.NextNs() == 333'333'333);
  CHECK(arrivals.NextNs() == 666'666'666);
  for (int i = 3; i < 3'000'000; ++i) {
    arrivals.NextNs();
  }
  CHECK(arrivals.NextNs() == 1'000'000'000'000'000);
}

TEST_CASE("Poisson arrivals have exponential gaps of the right mean") {
  constexpr int kCount = 200'000;
  Arrivals arrivals(ArrivalKind::kPoisson, /*rate_per_s=*/1000, /*seed=*/42);
  double square_sum = 0;
  int longer_than_mean = 0;
  int64_t last_ns = 0;
  for (int i = 0; i < kCount; ++i) {
    const int64_t now_ns = arrivals.NextNs();
    REQUIRE(now_ns >= last_ns);
    const double gap_ms = static_cast<double>(now_ns - last_ns) / 1e6;
    square_sum += gap_ms * gap_ms;
    longer_than_mean += gap_ms > 1;
    last_ns = now_ns;
  }
  // Mean 1 ms, second moment 2, a share of 1/e above the mean; the bounds are about 5 sigma.
  CHECK(static_cast<double>(last_ns) / 1e6 / kCount == Approx(1).margin(0.012));
  CHECK(square_sum / kCount == Approx(2).margin(0.06));
  CHECK(longer_than_mean / static_cast<double>(kCount) == Approx(std::exp(-1)).margin(0.006));
}

TEST_CASE("The seed decides Poisson arrivals") {
  Arrivals a(ArrivalKind::kPoisson, 100, 7);
  Arrivals b(ArrivalKind::kPoisson, 100, 7);
  Arrivals c(ArrivalKind::kPoisson, 100, 8);
  const int64_t first = a.NextNs();
  CHECK(first == b.NextNs());
  CHECK(first != c.NextNs());
}

}  // namespace
}  // namespace baton::load
