#include "engine/schedule/cost_curve.h"

#include <catch2/catch.hpp>

#include "tests/engine/schedule/device_curves.h"
#include "tests/support/status_matchers.h"

namespace baton {
namespace {

double Median(std::vector<double> values) {
  REQUIRE_FALSE(values.empty());
  std::nth_element(values.begin(), values.begin() + values.size() / 2, values.end());
  return values[values.size() / 2];
}

// Relative errors of predicting each batch before it is observed.
std::vector<double> Run(CostCurve& curve, const DeviceCurve& device, int batches, uint32_t seed,
                        double slower = 1) {
  std::mt19937 random(seed);
  DeviceNoise noise(seed + 1);
  std::vector<double> errors;
  for (int i = 0; i < batches; ++i) {
    const WorkShape shape = device.traffic(random);
    const double run_us = device.run_us(shape) * noise.Next() * slower;
    errors.push_back(std::abs(curve.Predict(shape).run_us / run_us - 1));
    curve.Observe(shape, run_us);
  }
  return errors;
}

TEST_CASE("after 20 minutes of traffic half of the predictions are within 10 %") {
  for (const DeviceCurve& device : DeviceCurves()) {
    DYNAMIC_SECTION(device.name) {
      constexpr int kPerSecond = 10;
      CostCurve curve;
      Run(curve, device, 20 * 60 * kPerSecond, 1);
      const double after = Median(Run(curve, device, 60 * kPerSecond, 2));
      INFO("median error " << after);
      CHECK(after <= 0.10);
      CHECK(curve.Predict(device.traffic(*std::make_unique<std::mt19937>(3))).samples == 12'600);
    }
  }
}

TEST_CASE("a device that slows three times is believed within 2 s, and so when it recovers") {
  for (const DeviceCurve& device : DeviceCurves()) {
    DYNAMIC_SECTION(device.name) {
      constexpr int kPerSecond = 10;
      CostCurve curve;
      Run(curve, device, 120 * kPerSecond, 1);
      const int64_t before = curve.drifts();
      Run(curve, device, 2 * kPerSecond, 2, 3);
      CHECK(curve.drifts() > before);
      CHECK(Median(Run(curve, device, 2 * kPerSecond, 3, 3)) < 0.25);
      Run(curve, device, 60 * kPerSecond, 4, 3);
      Run(curve, device, 2 * kPerSecond, 5);
      CHECK(Median(Run(curve, device, 2 * kPerSecond, 6)) < 0.25);
    }
  }
}

TEST_CASE("19 of 20 batches stay below the upper bound, outliers apart") {
  const DeviceCurve device = DeviceCurves().at(1);
  CostCurve curve;
  Run(curve, device, 4000, 1);
  std::mt19937 random(7);
  std::normal_distribution<> noise(0, 0.1);
  int below = 0;
  for (int i = 0; i < 2000; ++i) {
    const WorkShape shape = device.traffic(random);
    below += device.run_us(shape) * std::exp(noise(random)) < curve.Predict(shape).run_us_high;
  }
  CHECK(below > 1800);
  CHECK(below < 1999);
}

TEST_CASE("what was never seen is predicted with a wide bound") {
  CostCurve curve;
  for (int i = 0; i < 200; ++i) curve.Observe({.items = 1.0 + i % 4}, 1000 * (1 + i % 4));
  const CostPrediction near = curve.Predict({.items = 3});
  CHECK(near.run_us == Approx(3000).epsilon(0.1));
  CHECK(near.run_us_high < near.run_us * 1.3);
  const CostPrediction far = curve.Predict({.items = 3, .scale = 1e9});
  CHECK(far.run_us_high > far.run_us * 3);
}

TEST_CASE("batches that are all alike, for long, teach nothing about others") {
  // One text after another on one model: of what a time depends on only the context changes.
  CostCurve curve;
  std::mt19937 random(11);
  std::normal_distribution<> noise(0, 0.1);
  double worst = 0;
  for (int i = 0; i < 100'000; ++i) {
    const WorkShape shape = {.context = 8.0 + random() % 400, .scale = 1.1e9, .load = 1};
    const double run_us = (300 + 0.5 * shape.context) * std::exp(noise(random));
    if (i > 1000) worst = std::max(worst, std::abs(curve.Predict(shape).run_us / run_us - 1));
    curve.Observe(shape, run_us);
  }
  CHECK(worst < 1);
  const WorkShape same = {.context = 100, .scale = 1.1e9, .load = 1};
  for (const WorkShape& other : {WorkShape{.context = 100, .scale = 4.4e9, .load = 1},
                                 WorkShape{.context = 100, .scale = 1.1e9, .load = 0}}) {
    const double ratio = curve.Predict(other).run_us / curve.Predict(same).run_us;
    CHECK(ratio > 0.5);
    CHECK(ratio < 8);
    CHECK(curve.Predict(other).run_us_high > curve.Predict(same).run_us_high);
  }
}

TEST_CASE("a batch behind other work is told to take what such batches take, and those behind it") {
  CostCurve curve;
  std::mt19937 random(22);
  std::normal_distribution<> noise(0, 0.05);
  std::vector<double> errors;
  double streak = 0;
  for (int i = 0; i < 3000; ++i) {
    streak = random() % 6 == 0 ? 0 : streak + 1;
    const WorkShape shape = {.context = 8.0 + random() % 400, .streak = streak};
    // The data is found in caches more and more, up to a half of it; the first is its own case.
    const double found = 0.5 * (1 - std::pow(0.8, streak));
    const double run_us = (100 + 0.1 * shape.context) * (1 - found) * (streak == 0 ? 0.9 : 1) *
                          std::exp(noise(random));
    if (i > 1000) errors.push_back(std::abs(curve.Predict(shape).run_us / run_us - 1));
    curve.Observe(shape, run_us);
  }
  CHECK(Median(errors) < 0.05);
}

TEST_CASE("what the last batches lacked tells of the next one where it has done so before") {
  // Noise of 30 % that lasts for some ten batches, or for none.
  for (const double lasting : {0.9, 0.0}) {
    CostCurve curve;
    std::mt19937 random(23);
    std::normal_distribution<> noise(0, 1);
    double level = 0;
    std::vector<double> errors;
    for (int i = 0; i < 20'000; ++i) {
      level = lasting * level + 0.3 * std::sqrt(1 - lasting * lasting) * noise(random);
      const double run_us = 100 * std::exp(level);
      if (i > 1000) errors.push_back(std::abs(curve.Predict({}).run_us / run_us - 1));
      curve.Observe({}, run_us);
    }
    // Of normal noise half lies within .67 deviations: .20 of all of it, .09 of what each batch
    // adds.
    INFO(lasting << ": " << Median(errors));
    CHECK(Median(errors) < (lasting > 0 ? 0.12 : 0.215));
  }
}

TEST_CASE("nonsense does not break it") {
  CostCurve curve;
  for (const double value : {0.0, -5.0, 1e300, std::nan("")}) {
    curve.Observe(
        {.items = value, .context = value, .scale = value, .load = value, .streak = value}, 100);
    curve.Observe({.items = 1}, value);
  }
  for (int i = 0; i < 100; ++i) curve.Observe({}, 100);
  CHECK(std::isfinite(curve.Predict({}).run_us));
}

TEST_CASE("a saved curve reads back, and damage is told") {
  CostCurve curve;
  const DeviceCurve device = DeviceCurves().at(4);
  Run(curve, device, 2000, 1);
  CostCurve read;
  REQUIRE_OK(read.Restore(curve.Save()));
  CHECK(read.samples() == 2000);
  std::mt19937 random(9);
  for (int i = 0; i < 50; ++i) {
    const WorkShape shape = device.traffic(random);
    CHECK(read.Predict(shape).run_us == Approx(curve.Predict(shape).run_us).epsilon(0.25));
  }
  for (const std::string& damaged :
       {std::string(), std::string("1 2"), curve.Save() + " 3", curve.Save() + "x",
        "nan" + curve.Save(), curve.Save().substr(0, 400)}) {
    CHECK(absl::IsInvalidArgument(read.Restore(damaged)));
  }
  CHECK(read.samples() == 2000);
}

}  // namespace
}  // namespace baton
