#include "cuda_kernels/penalties.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <random>

#include "engine/model/logits_processor.h"
#include "tests/cuda_kernels/kernel_suite.h"

namespace baton::cuda {
namespace {

struct Shape {
  SamplingParams params = {};
  int32_t vocabulary = 700;
  int32_t rows = 3;
  int32_t prompt = 40;   // tokens
  int32_t chosen = 60;   // tokens
  int32_t excluded = 0;  // tokens, each twice
};

// The engine's processor is the twin, to the bit.
std::string RunPenalties(const Shape& s) {
  const auto slot_count = static_cast<size_t>(s.rows + 1);
  const auto vocabulary = static_cast<size_t>(s.vocabulary);
  const int64_t stride = s.vocabulary + 3;
  std::mt19937_64 random(91);
  const auto token = [&] {  // some come again and again
    return static_cast<TokenId>(random() % 3 == 0 ? random() % vocabulary
                                                  : random() % std::min<size_t>(5, vocabulary));
  };
  std::vector<float> logits = RandomFloats(static_cast<size_t>(s.rows * stride), 40);
  for (float& logit : logits) logit *= 8;
  std::vector<float> want = logits;
  std::vector<int32_t> slots;
  std::vector<PenaltyParams> params(slot_count);
  std::vector<TokenValue> lists = {{0, 99}};  // of nobody
  for (int32_t row = 0; row < s.rows; ++row) {
    slots.push_back(row == 1 ? -1 : s.rows - row);
    SamplerSetup setup;
    setup.params = s.params;
    for (int32_t i = 0; i < s.prompt + row; ++i) setup.prompt.push_back(token());
    for (int32_t i = 0; i < s.chosen + row; ++i) setup.generated.push_back(token());
    for (int32_t i = 0; i < 2 * s.excluded; ++i) setup.ends.push_back(i / 2 * 3 % s.vocabulary);
    setup.min_tokens = 1 << 20;
    if (slots[row] < 0) continue;
    const LogitsProcessor processor(setup);
    processor.Apply({want.data() + row * stride, vocabulary});
    const LogitChanges changes = *processor.changes();
    params[slots[row]] = {.repetition = changes.repetition,
                          .begin = static_cast<int32_t>(lists.size()),
                          .biases = static_cast<int32_t>(changes.biases.size()),
                          .repeated = static_cast<int32_t>(changes.repeated.size()),
                          .penalties = static_cast<int32_t>(changes.chosen.size()),
                          .excluded = static_cast<int32_t>(changes.excluded.size())};
    for (const auto& [id, bias] : changes.biases) lists.push_back({id, bias});
    for (const auto& [id, count] : changes.repeated) lists.push_back({id, 7});
    for (const auto& [id, count] : changes.chosen) lists.push_back({id, changes.PenaltyOf(count)});
    for (const TokenId id : changes.excluded) lists.push_back({id, 7});
  }
  const DeviceArray<float> device_logits(logits);
  const DeviceArray<PenaltyParams> device_params(params);
  const DeviceArray<TokenValue> device_lists(lists);
  const DeviceArray<int32_t> device_slots(slots);
  const std::string failure = Failure(Penalise({.logits = device_logits.data(),
                                                .params = device_params.data(),
                                                .lists = device_lists.data(),
                                                .slots = device_slots.data(),
                                                .rows = s.rows,
                                                .stride = stride},
                                               nullptr));
  if (!failure.empty()) return failure;
  return Difference("logits", device_logits.Read(), want, {});
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
  with("all of them and excluded tokens", {.params = all, .excluded = 50});
  SamplingParams whole = all;
  whole.penalty_last_n = -1;
  with("more tokens than threads",
       {.params = whole, .prompt = 900, .chosen = 1500, .excluded = 400});
  SamplingParams repetition;
  repetition.repetition_penalty = 0.8f;
  for (const int32_t last_n : {-1, 0, 1, 64}) {
    repetition.penalty_last_n = last_n;
    with("repetition among " + std::to_string(last_n), {.params = repetition, .prompt = 300});
  }
  SamplingParams counted;
  counted.frequency_penalty = 1.5f;
  with("frequency alone", {.params = counted});
  // -inf taken off -inf is NaN: what is excluded must be so last.
  SamplingParams endless;
  endless.presence_penalty = -INFINITY;
  with("excluded tokens that are endlessly likely", {.params = endless, .excluded = 50});
  with("excluded tokens alone", {.params = {}, .excluded = 9});
  with("nothing", {.params = {}});
  with("one token to choose from", {.params = repetition, .vocabulary = 1, .prompt = 0});
  with("no rows", {.rows = 0});
  CheckKernel(cases, Barriers::kAll);
}

}  // namespace
}  // namespace baton::cuda
