#include "cuda_kernels/sample.h"

#include <catch2/catch.hpp>
#include <cmath>

#include "engine/model/sampler.h"
#include "tests/cuda_kernels/kernel_suite.h"

namespace baton::cuda {
namespace {

constexpr uint64_t kSeed = 77;

// Logits of a row: spread so that a handful have most of the probability; some excluded, many tied.
std::vector<float> Row(int64_t vocabulary, uint64_t seed) {
  std::vector<float> logits = RandomFloats(static_cast<size_t>(vocabulary), seed);
  for (size_t i = 0; i < logits.size(); ++i) {
    logits[i] = std::nearbyint(logits[i] * 40) / 8;
    if (i % 5 == 3) logits[i] = -INFINITY;
  }
  return logits;
}

// The engine's sampler is the twin: the same tokens from the same seeds, step after step.
std::string RunSample(const SampleParams& params, int64_t vocabulary, int64_t rows) {
  constexpr int kSteps = 2;
  const int64_t stride = vocabulary + 1;
  const auto slot_count = static_cast<size_t>(rows + 1);
  std::vector<int32_t> slots;
  std::vector<uint64_t> states(slot_count);
  std::vector<Sampler> samplers;
  for (int64_t row = 0; row < rows; ++row) {
    slots.push_back(row == 2 ? -1 : static_cast<int32_t>(rows - row));
    SamplerSetup setup;
    setup.params.temperature = params.temperature;
    setup.params.top_k = params.top_k;
    setup.params.top_p = params.top_p;
    setup.params.min_p = params.min_p;
    setup.params.seed = kSeed + static_cast<uint64_t>(row);
    samplers.emplace_back(setup);
    if (slots.back() >= 0) states[slots.back()] = *setup.params.seed;
  }
  const DeviceArray<SampleParams> device_params(std::vector<SampleParams>(slot_count, params));
  const DeviceArray<uint64_t> device_states(states);
  const DeviceArray<int32_t> device_slots(slots);
  std::vector<int32_t> want(slot_count, -7);
  const DeviceArray<int32_t> tokens(want);
  std::vector<float> want_chosen(slot_count, -9);
  const DeviceArray<float> chosen(want_chosen);
  for (int step = 0; step < kSteps; ++step) {
    std::vector<float> logits;
    for (int64_t row = 0; row < rows; ++row) {
      const std::vector<float> its = Row(vocabulary, static_cast<uint64_t>(30 + step * rows + row));
      logits.insert(logits.end(), its.begin(), its.end());
      logits.push_back(1e9f);  // behind the row
      if (slots[row] < 0) continue;
      want[slots[row]] = samplers[row].Sample(its);
      want_chosen[slots[row]] = its[static_cast<size_t>(want[slots[row]])];
    }
    const DeviceArray<float> device_logits(logits);
    const std::string failure = Failure(Sample({.logits = device_logits.data(),
                                                .params = device_params.data(),
                                                .states = device_states.data(),
                                                .slots = device_slots.data(),
                                                .tokens = tokens.data(),
                                                .chosen = chosen.data(),
                                                .rows = rows,
                                                .vocabulary = vocabulary,
                                                .stride = stride},
                                               nullptr));
    if (!failure.empty()) return failure;
    std::string difference = DifferenceExact("tokens", tokens.Read(), want);
    if (difference.empty()) {
      difference = DifferenceExact("chosen", chosen.Read(), want_chosen);
    }
    if (!difference.empty()) return "step " + std::to_string(step) + ": " + difference;
  }
  return "";
}

TEST_CASE("tokens are the ones that the engine's sampler draws") {
  std::vector<KernelCase> cases;
  // Three rows, one of which pads; more tokens than threads, and fewer.
  const auto with = [&](const std::string& name, const SampleParams& params) {
    for (const int64_t vocabulary : {1100, 37}) {
      cases.push_back({name + ", vocabulary " + std::to_string(vocabulary),
                       [=] { return RunSample(params, vocabulary, 3); }});
    }
  };
  // First what passes all barriers, which are left out one after the other until a case notices.
  const SampleParams of_all = {.temperature = 0.8f, .top_k = 40, .top_p = 0.9f, .min_p = 0.01f};
  with("all of them", of_all);
  with("top_k", {.temperature = 2, .top_k = 9, .top_p = 1, .min_p = 0});
  with("top_p", {.temperature = 1.5f, .top_k = 0, .top_p = 0.8f, .min_p = 0});
  with("hot", {.temperature = 3, .top_k = 0, .top_p = 1, .min_p = 0});
  with("min_p", {.temperature = 2, .top_k = 0, .top_p = 1, .min_p = 0.05f});
  with("all", {.temperature = 1, .top_k = 0, .top_p = 1, .min_p = 0});
  with("top_k of more than there are", {.temperature = 1, .top_k = 9999, .top_p = 1, .min_p = 0});
  with("greedy", {.temperature = 0, .top_k = 5, .top_p = 0.5f, .min_p = 0});
  cases.push_back({"one token", [=] { return RunSample(of_all, 1, 3); }});
  cases.push_back({"no rows", [] { return RunSample({.temperature = 1, .top_p = 1}, 9, 0); }});
  CheckKernel(cases, Barriers::kAll);
}

TEST_CASE("logits that are not numbers have no token or one that is none") {
  for (const float temperature : {0.0f, 1.0f}) {
    CAPTURE(temperature);
    const DeviceArray<float> logits(std::vector<float>(70, NAN));
    const DeviceArray<SampleParams> params(std::vector<SampleParams>{{temperature, 0, 1, 0}});
    const DeviceArray<uint64_t> states(std::vector<uint64_t>{5});
    const DeviceArray<int32_t> slots(std::vector<int32_t>{0});
    const DeviceArray<int32_t> tokens(std::vector<int32_t>{9});
    const DeviceArray<float> chosen(std::vector<float>{1});
    REQUIRE(Sample({.logits = logits.data(),
                    .params = params.data(),
                    .states = states.data(),
                    .slots = slots.data(),
                    .tokens = tokens.data(),
                    .chosen = chosen.data(),
                    .rows = 1,
                    .vocabulary = 70,
                    .stride = 70},
                   nullptr) == cudaSuccess);
    CHECK(std::isnan(chosen.Read()[0]));
  }
}

TEST_CASE("a row without any candidate is its first token") {
  const std::vector<float> logits(70, -INFINITY);
  const DeviceArray<float> device_logits(logits);
  const DeviceArray<SampleParams> params(std::vector<SampleParams>{{1, 0, 1, 0}});
  const DeviceArray<uint64_t> states(std::vector<uint64_t>{5});
  const DeviceArray<int32_t> slots(std::vector<int32_t>{0});
  const DeviceArray<int32_t> tokens(std::vector<int32_t>{9});
  SampleArgs args = {.logits = device_logits.data(),
                     .params = params.data(),
                     .states = states.data(),
                     .slots = slots.data(),
                     .tokens = tokens.data(),
                     .rows = 1,
                     .vocabulary = 70,
                     .stride = 70};
  REQUIRE(Sample(args, nullptr) == cudaSuccess);
  CHECK(tokens.Read()[0] == 0);
  args.vocabulary = 1 << 24;
  CHECK(Sample(args, nullptr) == cudaErrorInvalidValue);
}

}  // namespace
}  // namespace baton::cuda
