#include "cuda_kernels/logprobs.h"

#include <catch2/catch.hpp>
#include <cmath>

#include "engine/model/logprobs.h"
#include "tests/cuda_kernels/kernel_suite.h"

namespace baton::cuda {
namespace {

enum class Spread { kTied, kRising, kFalling, kExcluded };

float LogitOf(Spread spread, int64_t i, float random) {
  const auto at = static_cast<float>(i);
  switch (spread) {
    case Spread::kTied:
      return std::nearbyint(random * 3);
    case Spread::kRising:  // each is better than all before it
      return at / 256;
    case Spread::kFalling:
      return -at / 256;
    case Spread::kExcluded:
      break;
  }
  return i % 7 == 3 ? random : -INFINITY;
}

// The engine's own function is the twin.
std::string RunLogprobs(int64_t rows, int64_t vocabulary, int32_t top, Spread spread) {
  const int64_t stride = vocabulary + 1;
  const auto slot_count = static_cast<size_t>(rows + 1);
  const size_t tops = slot_count * static_cast<size_t>(top);
  std::vector<float> logits = RandomFloats(static_cast<size_t>(rows * stride), 61);
  std::vector<int32_t> slots;
  std::vector<int32_t> wanted(slot_count, 0);
  std::vector<int32_t> tokens(slot_count, 0);
  std::vector<float> want_chosen(slot_count, -9);
  std::vector<int32_t> want_tokens(tops, -9);
  std::vector<float> want_top(tops, -9);
  for (int64_t row = 0; row < rows; ++row) {
    slots.push_back(row == 2 ? -1 : static_cast<int32_t>(rows - row));
    float* const its = logits.data() + row * stride;
    for (int64_t i = 0; i < vocabulary; ++i) its[i] = LogitOf(spread, i, its[i]);
    its[vocabulary] = 1e9f;  // behind the row
    const int32_t slot = slots.back();
    if (slot < 0) continue;
    wanted[slot] = row == 3 ? -1 : row == 4 ? 0 : top;
    tokens[slot] = static_cast<int32_t>((row * 31 + 3) % vocabulary);
    if (wanted[slot] < 0) continue;
    const TokenLogprobs naive =
        LogprobsOf({its, static_cast<size_t>(vocabulary)}, TokenId(tokens[slot]), wanted[slot]);
    want_chosen[slot] = naive.token.logprob;
    for (int32_t i = 0; i < wanted[slot]; ++i) {
      const bool there = i < std::ssize(naive.top);
      want_tokens[slot * top + i] = there ? static_cast<int32_t>(naive.top[i].id) : -1;
      want_top[slot * top + i] = there ? naive.top[i].logprob : -INFINITY;
    }
  }
  const DeviceArray<float> device_logits(logits);
  const DeviceArray<int32_t> device_slots(slots);
  const DeviceArray<int32_t> device_wanted(wanted);
  const DeviceArray<int32_t> device_tokens(tokens);
  const DeviceArray<float> chosen(std::vector<float>(slot_count, -9));
  const DeviceArray<int32_t> top_tokens(std::vector<int32_t>(tops, -9));
  const DeviceArray<float> top_logprobs(std::vector<float>(tops, -9));
  const std::string failure = Failure(Logprobs({.logits = device_logits.data(),
                                                .slots = device_slots.data(),
                                                .wanted = device_wanted.data(),
                                                .tokens = device_tokens.data(),
                                                .chosen = chosen.data(),
                                                .top_tokens = top_tokens.data(),
                                                .top_logprobs = top_logprobs.data(),
                                                .rows = rows,
                                                .vocabulary = vocabulary,
                                                .stride = stride,
                                                .top = top},
                                               nullptr));
  if (!failure.empty()) return failure;
  const std::string ids = DifferenceExact("top tokens", top_tokens.Read(), want_tokens);
  if (!ids.empty()) return ids;
  const Tolerance tolerance = {2e-5, 2e-6};
  const std::string of_chosen = Difference("chosen", chosen.Read(), want_chosen, tolerance);
  if (!of_chosen.empty()) return of_chosen;
  return Difference("top logprobs", top_logprobs.Read(), want_top, tolerance);
}

TEST_CASE("logprobs are the ones that the engine computes") {
  std::vector<KernelCase> cases;
  const auto with = [&](const std::string& name, int64_t rows, int64_t vocabulary, int32_t top,
                        Spread spread) {
    cases.push_back({name, [=] { return RunLogprobs(rows, vocabulary, top, spread); }});
  };
  with("rising", 1, 6000, 20, Spread::kRising);
  with("falling", 1, 6000, 20, Spread::kFalling);
  with("many ties", 5, 2500, 20, Spread::kTied);
  with("as many as there may be", 1, 3001, kLogprobsMax, Spread::kTied);
  with("more than there are", 1, 7, 20, Spread::kTied);
  with("excluded tokens", 2, 40, 20, Spread::kExcluded);
  with("no alternatives", 2, 700, 0, Spread::kTied);
  with("one token", 1, 1, 1, Spread::kRising);
  with("no rows", 0, 5, 1, Spread::kRising);
  CheckKernel(cases, Barriers::kAll);
}

TEST_CASE("more alternatives than there may be are refused") {
  LogprobArgs args = {};
  args.rows = 1;
  args.vocabulary = 9;
  args.top = kLogprobsMax + 1;
  CHECK(Logprobs(args, nullptr) == cudaErrorInvalidValue);
  args.top = 1;
  args.vocabulary = 0;
  CHECK(Logprobs(args, nullptr) == cudaErrorInvalidValue);
}

}  // namespace
}  // namespace baton::cuda
