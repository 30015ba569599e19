#include "engine/plan/queueing.h"

#include <catch2/catch.hpp>
#include <cmath>

namespace baton::plan {
namespace {

TEST_CASE("a queue with one lane waits as Pollaczek and Khinchine say") {
  // rho = 0.5, service 4 ms: W = rho / (1 - rho) * s * (1 + scv) / 2.
  CHECK(QueueWaitMs({.per_ms = 0.125, .run_ms = 4, .run_scv = 0}) == Approx(2));
  CHECK(QueueWaitMs({.per_ms = 0.125, .run_ms = 4, .run_scv = 1}) == Approx(4));
  CHECK(QueueWaitMs({.per_ms = 0.125, .run_ms = 4, .run_scv = 3}) == Approx(8));
  CHECK(QueueWaitMs({.per_ms = 0, .run_ms = 4}) == 0);
  CHECK(std::isinf(QueueWaitMs({.per_ms = 0.25, .run_ms = 4})));
}

TEST_CASE("a queue with several lanes waits as Erlang says") {
  // Two lanes, one Erlang offered: C = 1/3; W = C * s / (c - a) = 4/3.
  const QueueLoad load{.per_ms = 0.25, .run_ms = 4, .run_scv = 1, .lanes = 2};
  CHECK(load.utilisation() == Approx(0.5));
  CHECK(WaitChance(load) == Approx(1.0 / 3));
  CHECK(QueueWaitMs(load) == Approx(4.0 / 3));
  CHECK(WaitChance({.per_ms = 0.125, .run_ms = 4}) == Approx(0.5));  // one lane: rho
  CHECK(WaitChance({.per_ms = 1, .run_ms = 4}) == 1);
}

TEST_CASE("arrivals that come evenly wait less") {
  // D/D/1 waits for nothing; D/M/1 at rho 0.5 waits 1.02 ms of s = 4 (root of x = exp(-2 (1 - x))).
  CHECK(QueueWaitMs({.per_ms = 0.125, .run_ms = 4, .run_scv = 0, .interval_scv = 0}) == 0);
  double root = 0.2;
  for (int i = 0; i < 100; ++i) root = std::exp(-2 * (1 - root));
  const double exact_ms = 4 * root / (1 - root);
  CHECK(QueueWaitMs({.per_ms = 0.125, .run_ms = 4, .run_scv = 1, .interval_scv = 0}) ==
        Approx(exact_ms).epsilon(0.05));
}

TEST_CASE("batches fill as arrivals allow") {
  SECTION("a batch of one, or no time to wait, is none") {
    for (const BatchLimits limits : {BatchLimits{1, 5}, BatchLimits{8, 0}}) {
      const BatchForming forming = FormBatches(2, limits);
      CHECK(forming.mean_size == 1);
      CHECK(forming.mean_wait_ms == 0);
      CHECK(forming.interval_scv == 1);
    }
  }
  SECTION("of two: the second comes within the wait or does not") {
    // lambda T = 2: P(second comes) = 1 - e^-2; the first waits E[min(T, Exp)], the second not.
    const BatchForming forming = FormBatches(1, {.requests_max = 2, .wait_ms = 2});
    const double comes = 1 - std::exp(-2);
    CHECK(forming.size_share.at(1) == Approx(1 - comes));
    CHECK(forming.size_share.at(2) == Approx(comes));
    CHECK(forming.mean_size == Approx(1 + comes));
    CHECK(forming.mean_wait_ms == Approx(comes / (1 + comes)));
  }
  SECTION("never full: 1 + lambda T requests, who wait T / 2 but for the first") {
    const BatchForming forming = FormBatches(3, {.requests_max = 1000, .wait_ms = 4});
    CHECK(forming.mean_size == Approx(13));
    CHECK(forming.mean_wait_ms == Approx((4 + 12 * 2) / 13.0));
    // A fixed window and a random gap: variance of the gap over the square of their sum.
    CHECK(forming.interval_scv == Approx((1.0 / 9) / std::pow(1.0 / 3 + 4, 2)));
  }
  SECTION("always full: the mean over places") {
    const BatchForming forming = FormBatches(1000, {.requests_max = 5, .wait_ms = 1000});
    CHECK(forming.mean_size == Approx(5));
    CHECK(forming.mean_wait_ms == Approx(0.002));
    CHECK(forming.interval_scv == Approx(1.0 / 5));  // Erlang of five stages
  }
  SECTION("shares add up") {
    for (const double rate : {0.001, 0.7, 20.0, 900.0}) {
      const BatchForming forming = FormBatches(rate, {.requests_max = 700, .wait_ms = 3});
      double sum = 0;
      double mean = 0;
      for (size_t n = 0; n < forming.size_share.size(); ++n) {
        sum += forming.size_share[n];
        mean += forming.size_share[n] * static_cast<double>(n);
      }
      CHECK(sum == Approx(1));
      CHECK(mean == Approx(forming.mean_size));
    }
  }
}

TEST_CASE("streams merge to something between theirs and random") {
  CHECK(MergedScv({{1, 0.2}}, 0.5) == Approx(0.2));
  CHECK(MergedScv({{1, 1}, {3, 1}}, 0.5) == Approx(1));
  CHECK(MergedScv({{1, 0}, {1, 0}}, 0.5) == Approx(0.5));  // w = 1 / (1 + 4 * 0.25 * 1)
  CHECK(MergedScv({}, 0.5) == 1);
}

TEST_CASE("sequences that share steps") {
  SECTION("one at a time: as one lane with exponential times, and half a step to get in") {
    const StepQueue queue = ShareSteps(
        {.sequences_per_ms = 0.005, .steps = 100, .sequences_max = 1, .step_ms = [](double) {
           return 1.0;
         }});
    CHECK(queue.utilisation == Approx(0.5));
    CHECK(queue.busy == Approx(0.5));
    CHECK(queue.mean_sequences == Approx(1));
    CHECK(queue.sojourn_ms == Approx(200 + 0.25));
  }
  SECTION("steps that do not grow: nobody is in the way of another") {
    const StepQueue queue = ShareSteps(
        {.sequences_per_ms = 0.02, .steps = 100, .sequences_max = 1000, .step_ms = [](double) {
           return 1.0;
         }});
    CHECK(queue.mean_sequences == Approx(2));
    CHECK(queue.busy == Approx(1 - std::exp(-2)));
    CHECK(queue.sojourn_ms == Approx(100 + queue.busy / 2));
    CHECK(queue.step_scv == Approx(0).margin(1e-9));
  }
  SECTION("too many") {
    const StepQueue queue = ShareSteps(
        {.sequences_per_ms = 1, .steps = 100, .sequences_max = 10, .step_ms = [](double) {
           return 1.0;
         }});
    CHECK(queue.utilisation == Approx(10));
    CHECK(std::isinf(queue.sojourn_ms));
  }
}

TEST_CASE("quantiles of a lognormal variable") {
  CHECK(LognormalQuantile(5, 0, 0.95) == 5);
  // ln X normal with mean 0 and variance 1: mean e^0.5, variance (e - 1) e.
  const double mean = std::exp(0.5);
  const double variance = (std::exp(1.0) - 1) * std::exp(1.0);
  CHECK(LognormalQuantile(mean, variance, 0.5) == Approx(1));
  CHECK(LognormalQuantile(mean, variance, 0.8413447460685429) == Approx(std::exp(1.0)));
}

}  // namespace
}  // namespace baton::plan
