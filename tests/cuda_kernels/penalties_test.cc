#include "cuda_kernels/penalties.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <random>

#include "cuda_kernels/launch.h"
#include "engine/model/logits_processor.h"
#include "tests/cuda_kernels/kernel_suite.h"

namespace baton::cuda {
namespace {

struct Shape {
  SamplingParams params = {};
  int32_t vocabulary = 700;
  int32_t rows = 3;
  int32_t prompt = 40;   // tokens
  int32_t per_step = 1;  // tokens that are chosen before logits are asked for again
  bool masked = false;   // one of the rows
  bool in_place = false;
};

// The engine's processor is the twin, step after step, to the bit.
std::string RunPenalties(const Shape& s) {
  constexpr int kSteps = 4;
  const int64_t window_capacity = std::max(1, s.params.penalty_last_n);
  const auto slot_count = static_cast<size_t>(s.rows + 1);
  const auto vocabulary = static_cast<size_t>(s.vocabulary);
  const int64_t stride = s.vocabulary + 3;
  std::mt19937_64 random(91);
  const auto token = [&] {  // some come again and again
    return static_cast<int32_t>(random() % 3 == 0 ? random() % vocabulary : random() % 5) %
           s.vocabulary;
  };

  std::vector<int32_t> slots;
  std::vector<LogitsProcessor> processors;
  std::vector<PenaltyParams> params(slot_count);
  std::vector<TokenBias> biases = {{0, 99}};  // of nobody
  std::vector<int32_t> prompts;
  std::vector<int32_t> begins = {0};
  const size_t words = (vocabulary + 31) / 32;
  std::vector<uint32_t> masks(slot_count * words, 0);
  for (int32_t row = 0; row < s.rows; ++row) {
    slots.push_back(row == 1 ? -1 : s.rows - row);
    SamplerSetup setup;
    setup.params = s.params;
    for (int32_t i = 0; i < s.prompt + row; ++i) setup.prompt.push_back(TokenId(token()));
    for (const TokenId id : setup.prompt) prompts.push_back(static_cast<int32_t>(id));
    begins.push_back(static_cast<int32_t>(prompts.size()));
    const bool masked = s.masked && row == 0;
    if (slots[row] >= 0) {
      params[slots[row]] = {.repetition = s.params.repetition_penalty,
                            .last_n = s.params.penalty_last_n,
                            .frequency = s.params.frequency_penalty,
                            .presence = s.params.presence_penalty,
                            .bias_begin = static_cast<int32_t>(biases.size()),
                            .bias_count = static_cast<int32_t>(s.params.logit_bias.size()),
                            .masked = masked ? 1 : 0};
      for (const auto& [id, bias] : s.params.logit_bias) {
        biases.push_back({static_cast<int32_t>(id), bias});
      }
      for (size_t i = 0; masked && i < vocabulary; ++i) {
        if (i % 3 != 1) masks[slots[row] * words + i / 32] |= 1u << (i % 32);
      }
    }
    processors.emplace_back(setup);
  }
  const DeviceArray<PenaltyParams> device_params(params);
  const DeviceArray<int32_t> device_slots(slots);
  const DeviceArray<TokenBias> device_biases(biases);
  const DeviceArray<uint32_t> device_masks(masks);
  const std::vector<int32_t> none(slot_count * vocabulary, 0);
  const DeviceArray<int32_t> window_counts(none);
  const DeviceArray<int32_t> chosen_counts(none);
  const DeviceArray<int32_t> window(slot_count * static_cast<size_t>(window_capacity));
  const DeviceArray<int64_t> remembered(std::vector<int64_t>(slot_count, 0));
  const auto remember = [&](const std::vector<int32_t>& tokens, const std::vector<int32_t>& at,
                            bool chosen) {
    const DeviceArray<int32_t> device_tokens(tokens);
    const DeviceArray<int32_t> device_begins(at);
    return Failure(RememberTokens({.tokens = device_tokens.data(),
                                   .begins = device_begins.data(),
                                   .slots = device_slots.data(),
                                   .params = device_params.data(),
                                   .window_counts = window_counts.data(),
                                   .chosen_counts = chosen_counts.data(),
                                   .window = window.data(),
                                   .remembered = remembered.data(),
                                   .rows = s.rows,
                                   .vocabulary = s.vocabulary,
                                   .window_capacity = window_capacity,
                                   .chosen = chosen},
                                  nullptr));
  };
  std::string failure = remember(prompts, begins, false);
  for (int step = 0; step < kSteps && failure.empty(); ++step) {
    std::vector<float> logits =
        RandomFloats(static_cast<size_t>(s.rows * stride), 40 + static_cast<uint64_t>(step));
    for (float& logit : logits) logit *= 8;
    std::vector<float> want = s.in_place ? logits : std::vector<float>(logits.size(), -5);
    for (int32_t row = 0; row < s.rows; ++row) {
      if (slots[row] < 0) continue;
      float* const its = want.data() + row * stride;
      std::copy_n(logits.data() + row * stride, vocabulary, its);
      processors[row].Apply({its, vocabulary});
      for (size_t i = 0; s.masked && row == 0 && i < vocabulary; ++i) {
        if (i % 3 == 1) its[i] = -INFINITY;
      }
    }
    const DeviceArray<float> device_logits(logits);
    const DeviceArray<float> out(std::vector<float>(logits.size(), -5));
    float* const to = s.in_place ? device_logits.data() : out.data();
    failure = Failure(Penalise({.logits = device_logits.data(),
                                .out = to,
                                .params = device_params.data(),
                                .slots = device_slots.data(),
                                .window_counts = window_counts.data(),
                                .chosen_counts = chosen_counts.data(),
                                .biases = device_biases.data(),
                                .masks = s.masked ? device_masks.data() : nullptr,
                                .rows = s.rows,
                                .vocabulary = s.vocabulary,
                                .stride = stride},
                               nullptr));
    if (!failure.empty()) break;
    failure = Difference("logits", s.in_place ? device_logits.Read() : out.Read(), want, {});
    std::vector<int32_t> chosen;
    std::vector<int32_t> at = {0};
    for (int32_t row = 0; row < s.rows; ++row) {
      for (int32_t i = 0; i < s.per_step; ++i) {
        chosen.push_back(token());
        processors[row].Advance(TokenId(chosen.back()));
      }
      at.push_back(static_cast<int32_t>(chosen.size()));
    }
    if (failure.empty()) failure = remember(chosen, at, true);
  }
  return failure;
}

TEST_CASE("logits are changed as the engine's processor changes them") {
  std::vector<KernelCase> cases;
  const auto with = [&](const std::string& name, const Shape& shape) {
    cases.push_back({name, [=] { return RunPenalties(shape); }});
  };
  SamplingParams all;
  all.repetition_penalty = 1.3f;
  all.penalty_last_n = 16;
  all.frequency_penalty = 0.37f;
  all.presence_penalty = -0.21f;
  for (int32_t i = 0; i < 300; ++i) all.logit_bias[TokenId(i * 2)] = 0.1f * static_cast<float>(i);
  with("all of them", {.params = all});
  with("all of them and a mask", {.params = all, .masked = true});
  with("in place", {.params = all, .vocabulary = 5000, .in_place = true});
  with("many tokens at once", {.params = all, .prompt = 3, .per_step = 15});
  with("more tokens at once than the window has", {.params = all, .prompt = 400, .per_step = 17});
  SamplingParams repetition;
  repetition.repetition_penalty = 0.8f;
  for (const int32_t last_n : {-1, 0, 1, 64}) {
    repetition.penalty_last_n = last_n;
    with("repetition among " + std::to_string(last_n), {.params = repetition, .prompt = 300});
  }
  SamplingParams counted;
  counted.frequency_penalty = 1.5f;
  with("frequency alone", {.params = counted, .in_place = true});
  with("nothing", {.params = {}, .masked = true});
  with("one token to choose from", {.params = repetition, .vocabulary = 1, .prompt = 0});
  with("no rows", {.rows = 0});
  CheckKernel(cases, Barriers::kAll);
}

TEST_CASE("more rows than a grid has are refused") {
  CHECK(Penalise({.rows = kGridYMax + 1, .vocabulary = 5}, nullptr) == cudaErrorInvalidValue);
}

}  // namespace
}  // namespace baton::cuda
