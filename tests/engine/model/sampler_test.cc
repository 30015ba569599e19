#include "engine/model/sampler.h"

#include <cmath>
#include <limits>
#include <map>
#include <set>

#include "catch2/catch.hpp"

namespace baton {
namespace {

constexpr float kExcluded = -std::numeric_limits<float>::infinity();

SamplingParams Params(float temperature, uint64_t seed = 1) {
  SamplingParams params;
  params.temperature = temperature;
  params.seed = seed;
  return params;
}

std::map<TokenId, int> Draw(const SamplingParams& params, const std::vector<float>& logits,
                            int draws) {
  Sampler sampler({.params = params});
  std::map<TokenId, int> counts;
  for (int i = 0; i < draws; ++i) {
    ++counts[sampler.Sample(logits)];
  }
  return counts;
}

TEST_CASE("greedy takes the largest, the lower id on ties", "[sampler]") {
  Sampler sampler({.params = Params(0)});
  CHECK(sampler.Sample(std::vector<float>{1, 3, 2}) == 1);
  CHECK(sampler.Sample(std::vector<float>{1, 3, 3, 3}) == 1);
  CHECK(sampler.Sample(std::vector<float>{-5}) == 0);
  CHECK(sampler.Sample(std::vector<float>{kExcluded, -5, kExcluded}) == 1);
}

TEST_CASE("draws follow the softmax at the given temperature", "[sampler]") {
  const std::vector<float> logits = {0.0f, 1.0f, 2.0f, -1.0f, kExcluded};
  const float temperature = GENERATE(0.5f, 1.0f, 2.0f);
  constexpr int kDraws = 200'000;
  const auto counts = Draw(Params(temperature, 42), logits, kDraws);
  double total = 0;
  for (const float logit : logits) {
    total += std::exp(logit / temperature);
  }
  for (TokenId token = 0; token < 5; ++token) {
    const double p = std::exp(logits[static_cast<size_t>(token)] / temperature) / total;
    const int count = counts.contains(token) ? counts.at(token) : 0;
    // Six standard deviations of a binomial count.
    const double deviation = std::sqrt(kDraws * p * (1 - p)) * 6;
    CAPTURE(token, p, count, temperature);
    CHECK(std::abs(count - kDraws * p) <= deviation);
  }
}

TEST_CASE("the same seed draws the same tokens, another seed others", "[sampler]") {
  const std::vector<float> logits(100, 0.0f);
  const auto sequence = [&](uint64_t seed) {
    Sampler sampler({.params = Params(1, seed)});
    std::vector<TokenId> tokens;
    for (int i = 0; i < 50; ++i) {
      tokens.push_back(sampler.Sample(logits));
    }
    return tokens;
  };
  CHECK(sequence(7) == sequence(7));
  CHECK(sequence(7) != sequence(8));
  // A promise to users who store seeds: the generator and the arithmetic do not change.
  const auto tokens = sequence(0);
  CHECK(std::vector<TokenId>(tokens.begin(), tokens.begin() + 6) ==
        std::vector<TokenId>{88, 43, 2, 97, 10, 32});
}

TEST_CASE("filters keep the right candidates", "[sampler]") {
  // Probabilities 0.5, 0.25, 0.125, 0.0625, 0.0625 at ids 3, 1, 4, 0, 2.
  const std::vector<float> logits = {std::log(1.0f), std::log(4.0f), std::log(1.0f), std::log(8.0f),
                                     std::log(2.0f)};
  struct Filter {
    int32_t top_k = 0;
    float top_p = 1;
    float min_p = 0;
  };
  const auto kept = [&](const Filter& filter) {
    SamplingParams params = Params(5, 3);  // hot: temperature comes after the filters
    params.top_k = filter.top_k;
    params.top_p = filter.top_p;
    params.min_p = filter.min_p;
    std::set<TokenId> tokens;
    for (const auto& [token, count] : Draw(params, logits, 5000)) {
      tokens.insert(token);
    }
    return tokens;
  };
  using Tokens = std::set<TokenId>;
  CHECK(kept({}) == Tokens{0, 1, 2, 3, 4});
  CHECK(kept({.top_k = 1}) == Tokens{3});
  CHECK(kept({.top_k = 2}) == Tokens{1, 3});
  CHECK(kept({.top_k = 4}) == Tokens{0, 1, 3, 4});  // the tie goes to the lower id
  CHECK(kept({.top_k = 99}) == Tokens{0, 1, 2, 3, 4});
  CHECK(kept({.top_p = 0.01f}) == Tokens{3});
  CHECK(kept({.top_p = 0.4f}) == Tokens{3});
  CHECK(kept({.top_p = 0.6f}) == Tokens{1, 3});
  CHECK(kept({.top_p = 0.8f}) == Tokens{1, 3, 4});
  CHECK(kept({.top_p = 0.9f}) == Tokens{0, 1, 3, 4});
  CHECK(kept({.min_p = 0.9f}) == Tokens{3});
  CHECK(kept({.min_p = 0.2f}) == Tokens{1, 3, 4});
  CHECK(kept({.min_p = 0.01f}) == Tokens{0, 1, 2, 3, 4});
  // top_p counts what top_k left: 0.5 / 0.75 is already more than 0.6.
  CHECK(kept({.top_k = 2, .top_p = 0.6f}) == Tokens{3});
}

TEST_CASE("a choice made elsewhere goes on as if it were the sampler's", "[sampler]") {
  const std::vector<float> logits(100, 0.0f);
  Sampler here({.params = Params(1, 5)});
  Sampler elsewhere({.params = Params(1, 5)});
  const std::optional<PlainSampling> before = elsewhere.plain();
  REQUIRE(before.has_value());
  CHECK(before->temperature == 1);
  const TokenId token = here.Sample(logits);
  CHECK(here.plain()->random_state != before->random_state);
  elsewhere.TakeChosen(token, here.plain()->random_state);
  for (int i = 0; i < 20; ++i) CHECK(here.Sample(logits) == elsewhere.Sample(logits));

  SamplingParams penalty = Params(0);
  penalty.presence_penalty = 1;
  penalty.frequency_penalty = 0.5f;
  Sampler penalised({.params = penalty});
  CHECK_FALSE(penalised.plain()->changes.any());  // nothing was chosen yet
  penalised.TakeChosen(7, 0);
  penalised.TakeChosen(7, 0);
  const LogitChanges changes = penalised.plain()->changes;
  REQUIRE(changes.chosen.size() == 1);
  CHECK(changes.chosen[0].token == 7);
  CHECK(changes.PenaltyOf(changes.chosen[0].count) == 2);
  Sampler at_least_two({.params = Params(0), .min_tokens = 2, .ends = {1}});
  CHECK(at_least_two.plain()->changes.excluded.size() == 1);
  at_least_two.Sample(logits);
  at_least_two.Sample(logits);
  CHECK_FALSE(at_least_two.plain()->changes.any());
}

TEST_CASE("extremes neither fail nor leave the vocabulary", "[sampler]") {
  const float largest = std::numeric_limits<float>::max();
  CHECK(Draw(Params(1e-30f), {1, 2, largest, -largest}, 10) == std::map<TokenId, int>{{2, 10}});
  CHECK(Draw(Params(100), {kExcluded, 4, kExcluded}, 10) == std::map<TokenId, int>{{1, 10}});
  const auto both = Draw(Params(100), {largest, largest}, 1000);
  CHECK(both.size() == 2);
  SamplingParams narrow = Params(1);
  narrow.top_p = 1e-30f;
  narrow.min_p = 1;
  CHECK(Draw(narrow, {0, 0, 0}, 10) == std::map<TokenId, int>{{0, 10}});
}

TEST_CASE("logits stay as they are", "[sampler]") {
  const std::vector<float> logits = {3, 1, 2};
  const std::vector<float> before = logits;
  SamplingParams params = Params(1);
  params.top_k = 2;
  params.top_p = 0.9f;
  Sampler sampler({.params = params});
  for (int i = 0; i < 10; ++i) {
    sampler.Sample(logits);
  }
  CHECK(logits == before);
}

TEST_CASE("penalties and biases come before the filters", "[sampler]") {
  const std::vector<float> logits = {4, 3, 2, 1};
  SamplingParams params = Params(1);
  params.top_k = 1;
  params.logit_bias = {{3, 10}};
  CHECK(Draw(params, logits, 20) == std::map<TokenId, int>{{3, 20}});
  params.logit_bias = {};
  params.presence_penalty = 2;
  Sampler sampler({.params = params});
  CHECK(sampler.Sample(logits) == 0);  // 4 3 2 1
  CHECK(sampler.Sample(logits) == 1);  // 2 3 2 1
  CHECK(sampler.Sample(logits) == 0);  // 2 1 2 1
}

TEST_CASE("a sampler goes on from what another has chosen", "[sampler]") {
  std::vector<float> logits(50, 0.0f);
  SamplingParams params = Params(1, 9);
  params.frequency_penalty = 1;
  Sampler whole({.params = params, .min_tokens = 5, .ends = {3, 4}});
  std::vector<TokenId> tokens;
  for (int i = 0; i < 20; ++i) {
    Sampler next({.params = params, .generated = tokens, .min_tokens = 5, .ends = {3, 4}});
    tokens.push_back(whole.Sample(logits));
    REQUIRE(next.Sample(logits) == tokens.back());
  }
}

}  // namespace
}  // namespace baton
