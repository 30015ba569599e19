#include "engine/model/logits_processor.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "tests/engine/model/grammar/list_tokenizer.h"

namespace baton {
namespace {

using Tokens = std::vector<TokenId>;
constexpr float kExcluded = -std::numeric_limits<float>::infinity();

std::vector<float> Processed(const LogitsProcessor& processor, std::vector<float> logits) {
  processor.Apply(logits);
  return logits;
}

TEST_CASE("the defaults change nothing") {
  SamplerSetup setup;
  setup.prompt = {1, 2};
  setup.ends = {0};
  LogitsProcessor processor(setup);
  CHECK_FALSE(processor.active());
  processor.Advance(1);
  CHECK_FALSE(processor.active());
  CHECK(Processed(processor, {1, 2, 3}) == std::vector<float>{1, 2, 3});
}

TEST_CASE("biases are added") {
  SamplerSetup setup;
  setup.params.logit_bias = {{0, 2.5f}, {2, -100}};
  const LogitsProcessor processor(setup);
  CHECK(processor.active());
  CHECK(Processed(processor, {1, 2, 3}) == std::vector<float>{3.5f, 2, -97});
}

TEST_CASE("the repetition penalty looks at the last tokens of prompt and text") {
  SamplerSetup setup;
  setup.params.repetition_penalty = 2;
  setup.params.penalty_last_n = 2;
  setup.prompt = {0, 1, 2};
  LogitsProcessor processor(setup);
  CHECK(Processed(processor, {4, 4, -4, 4}) == std::vector<float>{4, 2, -8, 4});
  processor.Advance(3);
  CHECK(Processed(processor, {4, 4, -4, 4}) == std::vector<float>{4, 4, -8, 2});
  processor.Advance(3);  // twice in the window, but divided once
  CHECK(Processed(processor, {4, 4, -4, 4}) == std::vector<float>{4, 4, -4, 2});

  setup.params.penalty_last_n = -1;
  LogitsProcessor all(setup);
  all.Advance(3);
  CHECK(Processed(all, {4, 4, -4, 0}) == std::vector<float>{2, 2, -8, 0});
  setup.params.penalty_last_n = 0;
  CHECK_FALSE(LogitsProcessor(setup).active());
}

TEST_CASE("presence and frequency penalties count generated tokens only") {
  SamplerSetup setup;
  setup.params.presence_penalty = 0.5f;
  setup.params.frequency_penalty = 0.25f;
  setup.prompt = {0, 0};
  LogitsProcessor processor(setup);
  processor.Advance(1);
  processor.Advance(1);
  processor.Advance(2);
  CHECK(Processed(processor, {1, 1, 1}) == std::vector<float>{1, 0, 0.25f});
}

TEST_CASE("ends are excluded until min_tokens are generated") {
  SamplerSetup setup;
  setup.min_tokens = 2;
  setup.ends = {0, 2, 2};
  LogitsProcessor processor(setup);
  CHECK(processor.active());
  processor.Advance(1);
  CHECK(Processed(processor, {1, 1, 1}) == std::vector<float>{kExcluded, 1, kExcluded});
  processor.Advance(1);
  CHECK_FALSE(processor.active());
  CHECK(Processed(processor, {1, 1, 1}) == std::vector<float>{1, 1, 1});
}

TEST_CASE("the part of a prompt that is looked at") {
  const Tokens prompt = {1, 2, 3};
  const auto count = [&prompt](float penalty, int32_t last_n) {
    return RepetitionWindow({.repetition_penalty = penalty, .penalty_last_n = last_n}, prompt)
        .size();
  };
  CHECK(count(1, -1) == 0);
  CHECK(count(2, -1) == 3);
  CHECK(count(2, 2) == 2);
  CHECK(count(2, 64) == 3);
  CHECK(count(2, 0) == 0);
  CHECK(RepetitionWindow({.repetition_penalty = 2, .penalty_last_n = 1}, prompt)[0] == 3);
}

// The same from the whole history, straight from the definitions.
std::vector<float> Naive(const SamplerSetup& setup, const Tokens& generated,
                         std::vector<float> logits) {
  const SamplingParams& params = setup.params;
  Tokens all = setup.prompt;
  all.insert(all.end(), generated.begin(), generated.end());
  const size_t last = params.penalty_last_n < 0
                          ? all.size()
                          : std::min(all.size(), static_cast<size_t>(params.penalty_last_n));
  const auto vocabulary = static_cast<TokenId>(logits.size());
  for (TokenId token = 0; token < vocabulary; ++token) {
    float& logit = logits[static_cast<size_t>(token)];
    if (params.logit_bias.contains(token)) logit += params.logit_bias.at(token);
    if (std::count(all.end() - static_cast<std::ptrdiff_t>(last), all.end(), token) > 0) {
      if (logit > 0) {
        logit /= params.repetition_penalty;
      } else {
        logit *= params.repetition_penalty;
      }
    }
    const auto count = std::count(generated.begin(), generated.end(), token);
    if (count > 0) {
      logit -= static_cast<float>(count) * params.frequency_penalty + params.presence_penalty;
    }
    if (std::ssize(generated) < setup.min_tokens &&
        std::count(setup.ends.begin(), setup.ends.end(), token) > 0) {
      logit = kExcluded;
    }
  }
  return logits;
}

TEST_CASE("any settings and tokens: as from the whole history, after copies, after a handover") {
  const auto seed = std::random_device{}();
  CAPTURE(seed);
  std::mt19937 random(seed);
  constexpr int32_t kVocabulary = 12;
  const auto token = [&random] { return static_cast<TokenId>(random() % kVocabulary); };
  for (int round = 0; round < 300; ++round) {
    SamplerSetup setup;
    for (size_t i = random() % 4; i > 0; --i) {
      setup.params.logit_bias[token()] = static_cast<float>(random() % 9) - 4;
    }
    if (random() % 2 == 0) setup.params.repetition_penalty = 1.25f;
    setup.params.penalty_last_n = static_cast<int32_t>(random() % 12) - 1;
    if (random() % 2 == 0) setup.params.presence_penalty = 0.5f;
    if (random() % 2 == 0) setup.params.frequency_penalty = -0.25f;
    setup.min_tokens = static_cast<int32_t>(random() % 5);
    for (size_t i = random() % 3; i > 0; --i) setup.ends.push_back(token());
    for (size_t i = random() % 8; i > 0; --i) setup.prompt.push_back(token());

    LogitsProcessor processor(setup);
    Tokens generated;
    for (int step = 0; step < 12; ++step) {
      std::vector<float> logits(kVocabulary);
      for (float& logit : logits) logit = static_cast<float>(random() % 100) / 8 - 6;
      const std::vector<float> want = Naive(setup, generated, logits);
      REQUIRE(Processed(processor, logits) == want);
      if (!processor.active()) REQUIRE(want == logits);
      if (!processor.changes()->any()) REQUIRE(want == logits);

      LogitsProcessor guess = processor;  // goes on another way, and is thrown away
      guess.Advance(token());
      guess.Advance(token());

      SamplerSetup elsewhere = setup;
      const auto window = RepetitionWindow(setup.params, setup.prompt);
      elsewhere.prompt = {window.begin(), window.end()};
      elsewhere.generated = generated;
      REQUIRE(Processed(LogitsProcessor(elsewhere), logits) == want);

      generated.push_back(token());
      processor.Advance(generated.back());
    }
  }
}

TEST_CASE("what a grammar excludes is excluded last, and moves by chosen tokens") {
  const ListTokenizer tokenizer({"", "a", "b", "c"}, {0});
  const auto grammar = Grammar::FromGbnf("root ::= \"a\" [bc]{1,2}",
                                         std::make_shared<const GrammarVocabulary>(tokenizer));
  REQUIRE(grammar.ok());
  SamplerSetup setup;
  setup.params.logit_bias = {{1, -100}, {3, 5}};
  setup.grammar = *grammar;
  setup.ends = {0};
  setup.min_tokens = 3;
  LogitsProcessor processor(setup);
  CHECK(processor.active());
  CHECK_FALSE(processor.changes().has_value());
  CHECK(Processed(processor, {9, 1, 2, 3}) ==
        std::vector<float>{kExcluded, -99, kExcluded, kExcluded});
  processor.Advance(1);
  CHECK(Processed(processor, {9, 1, 2, 3}) == std::vector<float>{kExcluded, kExcluded, 2, 8});
  LogitsProcessor copy = processor;
  processor.Advance(3);
  // The text may end, but not so soon.
  CHECK(Processed(processor, {9, 1, 2, 3}) == std::vector<float>{kExcluded, kExcluded, 2, 8});
  setup.min_tokens = 0;
  setup.generated = {1, 3};  // chosen elsewhere
  CHECK(Processed(LogitsProcessor(setup), {9, 1, 2, 3}) == std::vector<float>{9, kExcluded, 2, 8});
  processor.Advance(2);
  CHECK(processor.complete());
  CHECK_FALSE(copy.complete());
  CHECK(copy.status().ok());
}

}  // namespace
}  // namespace baton
