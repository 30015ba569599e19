#include "engine/schedule/guess_cost.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <random>

namespace baton {
namespace {

constexpr uint32_t kSeed = 20261123;

TEST_CASE("what a token more costs is a share of a step of one") {
  GuessCost cost;
  for (int i = 0; i < 100; ++i) cost.Observe(1 + i % 8, 1'000 + 150 * (i % 8));
  CHECK(cost.Share() == Approx(0.15).epsilon(0.01));
}

TEST_CASE("it is not known before steps have differed") {
  GuessCost cost;
  CHECK(cost.Share() == GuessCost::kUnknown);
  for (int i = 0; i < 100; ++i) cost.Observe(3, 1'000 + i % 7);
  CHECK(cost.Share() == GuessCost::kUnknown);
  cost.Observe(0, 1'000);
  cost.Observe(5, 0);
  CHECK(cost.Share() == GuessCost::kUnknown);
}

TEST_CASE("no token is cheaper than nothing or dearer than a quarter of a step") {
  GuessCost falling;
  GuessCost rising;
  for (int i = 0; i < 100; ++i) {
    falling.Observe(1 + i % 4, 1'000 - 100 * (i % 4));
    rising.Observe(1 + i % 4, 100 + 1'000 * (i % 4));
  }
  CHECK(falling.Share() == 0);
  CHECK(rising.Share() == GuessCost::kMost);
}

TEST_CASE("steps that were interrupted hardly turn the line") {
  std::mt19937 random(kSeed);
  std::normal_distribution<double> noise(1, 0.05);
  GuessCost cost;
  double worst = 0;
  for (int i = 0; i < 5'000; ++i) {
    const auto tokens = static_cast<int64_t>(1 + random() % 5);
    double us = (1'000 + 130 * static_cast<double>(tokens - 1)) * noise(random);
    if (random() % 50 == 0) us *= 30;
    cost.Observe(tokens, static_cast<TimeUs>(us));
    if (i > 200) worst = std::max(worst, std::abs(cost.Share() - 0.13));
  }
  CHECK(worst < 0.13);
}

TEST_CASE("it follows a device that becomes slower or faster") {
  GuessCost cost;
  for (const int64_t us : {1'000, 8'000, 500}) {
    for (int i = 0; i < 600; ++i) cost.Observe(1 + i % 4, us + us / 5 * (i % 4));
    CHECK(cost.Share() == Approx(0.2).epsilon(0.05));
  }
}

}  // namespace
}  // namespace baton
