#include "engine/model/logprobs.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <limits>
#include <numeric>
#include <random>
#include <vector>

namespace baton {
namespace {

TEST_CASE("logarithms of the softmax, best first") {
  const std::vector<float> logits = {0, std::log(2.0f), std::log(5.0f)};  // 1/8, 2/8, 5/8
  const TokenLogprobs result = LogprobsOf(logits, 0, 2);
  CHECK(result.token.id == 0);
  CHECK(result.token.logprob == Approx(std::log(1.0 / 8)));
  REQUIRE(result.top.size() == 2);
  CHECK(result.top[0].id == 2);
  CHECK(result.top[0].logprob == Approx(std::log(5.0 / 8)));
  CHECK(result.top[1].id == 1);
  CHECK(LogprobsOf(logits, 1, 0).top.empty());
  CHECK(LogprobsOf(logits, 1, 20).top.size() == 3);
}

TEST_CASE("large logits do not overflow, excluded tokens have no probability") {
  const float infinity = std::numeric_limits<float>::infinity();
  const std::vector<float> logits = {3e38f, 3e38f, -3e38f, -infinity};
  CHECK(LogprobsOf(logits, 1, 0).token.logprob == Approx(std::log(0.5)));
  CHECK(LogprobsOf(logits, 3, 0).token.logprob == -infinity);
}

TEST_CASE("as from a whole sort") {
  const auto seed = std::random_device{}();
  CAPTURE(seed);
  std::mt19937 random(seed);
  for (int round = 0; round < 200; ++round) {
    std::vector<float> logits(1 + random() % 60);
    for (float& logit : logits) logit = static_cast<float>(random() % 40) / 4;  // with ties
    const auto top = static_cast<int32_t>(random() % 21);
    std::vector<TokenId> order(logits.size());
    std::iota(order.begin(), order.end(), 0);
    std::sort(order.begin(), order.end(), [&](TokenId a, TokenId b) {
      const float x = logits[static_cast<size_t>(a)];
      const float y = logits[static_cast<size_t>(b)];
      return x != y ? x > y : a < b;
    });
    double sum = 0;
    for (const float logit : logits) sum += std::exp(double{logit});
    const TokenLogprobs result = LogprobsOf(logits, order.back(), top);
    REQUIRE(result.top.size() == std::min(order.size(), static_cast<size_t>(top)));
    for (size_t i = 0; i < result.top.size(); ++i) {
      REQUIRE(result.top[i].id == order[i]);
      REQUIRE(result.top[i].logprob ==
              Approx(std::log(std::exp(double{logits[static_cast<size_t>(order[i])]}) / sum)));
    }
  }
}

}  // namespace
}  // namespace baton
