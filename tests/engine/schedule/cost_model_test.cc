#include "engine/schedule/cost_model.h"

#include <catch2/catch.hpp>

#include "tests/engine/schedule/device_curves.h"
#include "tests/support/status_matchers.h"

namespace baton {
namespace {

constexpr WorkClass kSingle = WorkClass::kSearchSingle;

CostModel Model(const CostModelOptions& options = {}) {
  return CostModel(options, {"cpu cpu0", "gpu g"});
}

TEST_CASE("what is known is known per class and executor") {
  CostModel model = Model();
  CHECK_FALSE(model.Predict(0, kSingle, {}));
  CHECK(model.SilentUs(0, kSingle, 5) > 1'000'000'000);
  for (int i = 0; i < 40; ++i) model.Observe(0, kSingle, {}, 200, 1000 + i);
  CHECK(model.SilentUs(0, kSingle, 2039) == 1000);
  CHECK(model.Predict(0, kSingle, {})->run_us == Approx(200).epsilon(0.05));
  CHECK_FALSE(model.Predict(1, kSingle, {}));
  CHECK_FALSE(model.Predict(0, WorkClass::kEmbed, {}));
  const std::vector<CostReport> reports = model.Report();
  REQUIRE(reports.size() == 1);
  CHECK(reports[0].work_class == kSingle);
  CHECK(reports[0].executor == 0);
  CHECK(reports[0].samples == 40);
  CHECK(reports[0].median_error < 0.05);
}

TEST_CASE("31 samples are unsure, 32 are sure, and a wide interval never is") {
  CostModel model = Model();
  for (int i = 0; i < 31; ++i) model.Observe(0, kSingle, {}, 200, i);
  CHECK_FALSE(model.Sure(*model.Predict(0, kSingle, {})));
  model.Observe(0, kSingle, {}, 200, 32);
  CHECK(model.Sure(*model.Predict(0, kSingle, {})));
  CHECK_FALSE(model.Sure(*model.Predict(0, kSingle, {.scale = 1e9})));
  const CostPrediction at_limit = {.run_us = 100, .run_us_high = 200, .samples = 32};
  CHECK(model.Sure(at_limit));
  CHECK_FALSE(model.Sure({.run_us = 100, .run_us_high = 201, .samples = 32}));
}

TEST_CASE("a time below zero teaches nothing, none that it was short") {
  CostModel model = Model();
  model.Observe(0, kSingle, {}, -4, 1);
  CHECK_FALSE(model.Predict(0, kSingle, {}));
  for (int i = 0; i < 40; ++i) model.Observe(0, kSingle, {}, 0, 1 + i);
  const auto known = model.Predict(0, kSingle, {});
  REQUIRE(known);
  CHECK(known->run_us == Approx(0.5).epsilon(0.01));
  CHECK(model.Sure(*known));
}

TEST_CASE("routing leaves a device that slows three times within 2 s, on a virtual clock") {
  CostModel model = Model();
  DeviceNoise noise(11);
  TimeUs now_us = 0;
  const auto run = [&](int executor, double us) {
    model.Observe(executor, kSingle, {}, static_cast<TimeUs>(us * noise.Next()), now_us);
  };
  for (int i = 0; i < 600; ++i, now_us += 100'000) {
    run(0, 1000);
    run(1, 500);
  }
  CHECK(model.Predict(1, kSingle, {})->run_us < model.Predict(0, kSingle, {})->run_us);
  const TimeUs slowed_us = now_us;
  // Only the device that is chosen tells: five batches a second.
  while (model.Predict(1, kSingle, {})->run_us < model.Predict(0, kSingle, {})->run_us) {
    now_us += 200'000;
    run(1, 1500);
    REQUIRE(now_us - slowed_us <= 2'000'000);
  }
}

TEST_CASE("what is saved comes back for the executors there are") {
  CostModel model = Model();
  const DeviceCurve device = DeviceCurves().at(0);
  std::mt19937 random(1);
  DeviceNoise noise(2);
  for (int i = 0; i < 500; ++i) {
    const WorkShape shape = device.traffic(random);
    const auto us = static_cast<TimeUs>(device.run_us(shape) * noise.Next());
    model.Observe(0, WorkClass::kSearchBulk, shape, us, i);
    model.Observe(1, WorkClass::kKmeans, shape, us, i);
  }
  const std::string saved = model.Save();
  CostModel other(CostModelOptions(), {"gpu h", "cpu cpu0"});
  REQUIRE_OK(other.Restore(saved));
  CHECK(other.Predict(1, WorkClass::kSearchBulk, {.items = 100})->run_us ==
        Approx(model.Predict(0, WorkClass::kSearchBulk, {.items = 100})->run_us).epsilon(0.2));
  CHECK(other.Sure(*other.Predict(1, WorkClass::kSearchBulk, {.items = 100})));
  CHECK(other.Report().size() == 1);  // the GPU is gone
}

TEST_CASE("a damaged file is refused whole") {
  CostModel model = Model();
  for (int i = 0; i < 50; ++i) model.Observe(0, kSingle, {.items = 1.0 + i}, 100 + i, i);
  const std::string saved = model.Save();
  CostModel other = Model();
  for (size_t i = 0; i < saved.size(); i += 7) {
    std::string flipped = saved;
    flipped[i] ^= 1;
    REQUIRE_STATUS(other.Restore(flipped), absl::StatusCode::kDataLoss, "");
    REQUIRE_STATUS(other.Restore(saved.substr(0, i)), absl::StatusCode::kDataLoss, "");
  }
  CHECK(other.Report().empty());
  REQUIRE_OK(other.Restore(saved));
}

}  // namespace
}  // namespace baton
