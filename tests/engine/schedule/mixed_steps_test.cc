#include "engine/schedule/mixed_steps.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <random>

#include "engine/schedule/cost_model.h"

namespace baton {
namespace {

CostPrediction Known(double run_us) { return {.run_us = run_us, .run_us_high = run_us}; }

TEST_CASE("where one part is known the other is the rest") {
  MixedSteps steps;
  const auto prefill = steps.Split(1000, Known(300), std::nullopt);
  CHECK_FALSE(prefill.decode_us);
  CHECK(prefill.prefill_us == Approx(700));
  const auto decode = steps.Split(1000, std::nullopt, Known(600));
  CHECK(decode.decode_us == Approx(400));
  CHECK_FALSE(decode.prefill_us);
  CHECK(steps.Split(1000, Known(2000), std::nullopt).prefill_us == Approx(100));  // not below that
}

TEST_CASE("what nobody knows teaches nothing") {
  MixedSteps steps;
  CHECK_FALSE(steps.Split(1000, std::nullopt, std::nullopt).decode_us);
  CHECK_FALSE(steps.Split(0, Known(1), Known(1)).decode_us);
}

TEST_CASE("where both are known they share the difference, once the ratio is known") {
  MixedSteps steps;
  for (int i = 0; i < 32; ++i) CHECK_FALSE(steps.Split(800, Known(400), Known(600)).decode_us);
  CHECK(steps.ratio() == Approx(0.8));
  const auto usual = steps.Split(800, Known(400), Known(600));
  CHECK(usual.decode_us == Approx(400));
  CHECK(usual.prefill_us == Approx(600));
  const auto slow = steps.Split(2400, Known(400), Known(600));
  CHECK(slow.decode_us == Approx(1200));
  CHECK(slow.prefill_us == Approx(1800));
  CHECK(steps.ratio() == Approx(0.8));  // that was the device
}

// A device whose steps read the weights once, whatever is in them: known times, with noise.
class WeightsOnce {
 public:
  double slower = 1;

  double RunUs(const WorkShape* decodes, const WorkShape* prompts) {
    double us = 5000;
    if (decodes != nullptr) us += 150 * decodes->items + 0.05 * decodes->items * decodes->context;
    if (prompts != nullptr) us += 60 * prompts->items;
    return us * slower * std::exp(std::normal_distribution<>(0, 0.05)(random_));
  }
  WorkShape Decodes() {
    const double items = 1 + static_cast<double>(random_() % 32);
    return {.items = items, .batch = items, .context = 100.0 + random_() % 900};
  }
  WorkShape Prompts() {
    return {.items = 16.0 + random_() % 240, .batch = 1, .context = 1.0 + random_() % 500};
  }

 private:
  std::mt19937 random_{7};
};

double MedianError(CostModel& model, WeightsOnce& device, WorkClass work_class) {
  std::vector<double> errors;
  for (int i = 0; i < 301; ++i) {
    const bool decode = work_class == WorkClass::kDecode;
    const WorkShape shape = decode ? device.Decodes() : device.Prompts();
    const double taken = device.RunUs(decode ? &shape : nullptr, decode ? nullptr : &shape);
    errors.push_back(std::abs(model.Predict(0, work_class, shape)->run_us / taken - 1));
  }
  std::nth_element(errors.begin(), errors.begin() + 150, errors.end());
  return errors[150];
}

TEST_CASE("mixed steps keep what is known, and follow a device that slows down") {
  CostModel model({}, {"gpu g"});
  WeightsOnce device;
  TimeUs now_us = 0;
  for (int i = 0; i < 200; ++i) {
    const WorkShape decodes = device.Decodes();
    model.Observe(0, WorkClass::kDecode, decodes, std::llround(device.RunUs(&decodes, nullptr)),
                  ++now_us);
    const WorkShape prompts = device.Prompts();
    model.Observe(0, WorkClass::kPrefill, prompts, std::llround(device.RunUs(nullptr, &prompts)),
                  ++now_us);
  }
  REQUIRE(MedianError(model, device, WorkClass::kDecode) < 0.1);
  REQUIRE(MedianError(model, device, WorkClass::kPrefill) < 0.1);
  const auto mixed = [&](int count) {
    for (int i = 0; i < count; ++i) {
      const WorkShape decodes = device.Decodes();
      const WorkShape prompts = device.Prompts();
      model.ObserveMixed(0, decodes, prompts, std::llround(device.RunUs(&decodes, &prompts)),
                         ++now_us);
    }
  };
  // From then on every step is mixed: nothing that is known gets worse than a little.
  mixed(3000);
  CHECK(MedianError(model, device, WorkClass::kDecode) < 0.15);
  CHECK(MedianError(model, device, WorkClass::kPrefill) < 0.15);
  // Three times as slow, and nothing but mixed steps tells.
  device.slower = 3;
  mixed(100);
  CHECK(MedianError(model, device, WorkClass::kDecode) < 0.2);
  CHECK(MedianError(model, device, WorkClass::kPrefill) < 0.2);
}

TEST_CASE("prompts that never come alone are learned from what they add") {
  CostModel model({}, {"gpu g"});
  WeightsOnce device;
  TimeUs now_us = 0;
  for (int i = 0; i < 200; ++i) {
    const WorkShape decodes = device.Decodes();
    model.Observe(0, WorkClass::kDecode, decodes, std::llround(device.RunUs(&decodes, nullptr)),
                  ++now_us);
  }
  CHECK_FALSE(model.Predict(0, WorkClass::kPrefill, device.Prompts()));
  for (int i = 0; i < 31; ++i) {
    const WorkShape decodes = device.Decodes();
    const WorkShape prompts = device.Prompts();
    model.ObserveMixed(0, decodes, prompts, std::llround(device.RunUs(&decodes, &prompts)),
                       ++now_us);
  }
  // 60 us a token, without the weights that the decodes beside them had read anyway.
  const WorkShape prompts{.items = 200, .batch = 1, .context = 100};
  CHECK(model.Predict(0, WorkClass::kPrefill, prompts)->run_us == Approx(12000).epsilon(0.25));
}

}  // namespace
}  // namespace baton
