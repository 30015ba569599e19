#pragma once

#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <vector>

#include "engine/exec/plugin_forward.h"
#include "tests/engine/exec/gpu/gpu_harness.h"
#include "tests/engine/exec/model_cases.h"
#include "tests/engine/exec/naive_decoder.h"

namespace baton {

inline constexpr uint32_t kGpuSeed = 20261122;

inline void NoToken(size_t, const ChosenToken&) { FAIL("a token instead of logits"); }

// The logits after each of `tokens`, in steps of `chunk`.
inline std::vector<std::vector<float>> LogitsOf(PluginForward& forward, const KvLayout& layout,
                                                const std::vector<std::byte*>& blocks,
                                                const std::vector<TokenId>& tokens, size_t chunk) {
  std::vector<std::vector<float>> got;
  for (size_t begin = 0; begin < tokens.size(); begin += chunk) {
    const size_t count = std::min(chunk, tokens.size() - begin);
    const ForwardItem item = {.tokens = {&tokens[begin], count},
                              .position = static_cast<int32_t>(begin),
                              .blocks = blocks,
                              .logits = static_cast<int32_t>(count)};
    REQUIRE_OK(forward.Run(
        layout, {&item, 1},
        [&](size_t, std::span<const float> logits) {
          got.emplace_back(logits.begin(), logits.end());
        },
        NoToken));
  }
  return got;
}

inline double WorstError(const std::vector<std::vector<float>>& got,
                         const std::vector<std::vector<double>>& want) {
  REQUIRE(got.size() == want.size());
  double worst = 0;
  for (size_t i = 0; i < got.size(); ++i) {
    const double error = RelativeError(got[i], want[i]);
    worst = std::isnan(error) ? INFINITY : std::max(worst, error);
  }
  return worst;
}

inline std::vector<std::vector<double>> NaiveLogits(const LanguageModel& model,
                                                    const std::vector<TokenId>& tokens) {
  NaiveDecoder naive(model);
  std::vector<std::vector<double>> want;
  for (const TokenId token : tokens) want.push_back(naive.Next(token));
  return want;
}

}  // namespace baton
