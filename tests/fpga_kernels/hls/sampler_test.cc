#include "fpga_kernels/hls/sampler.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <random>
#include <vector>

namespace baton::fpga {
namespace {

SamplerResult Run(const SamplerArgs& args, const std::vector<int32_t>& logits,
                  std::vector<int32_t>* logits_out = nullptr) {
  Stream<int32_t, 32> stream("logits");
  Stream<SamplerArgs, 2> sampling("sampling");
  Stream<SamplerResult, 2> results("results");
  SamplerResult result = {};
  {
    BATON_DATAFLOW(region);
    BATON_PROCESS(region, for (const int32_t logit : logits) stream.write(logit));
    BATON_PROCESS(region, {
      sampling.write(args);
      result = results.read();
      sampling.write({});
    });
    BATON_PROCESS(region, sampler(logits_out == nullptr ? nullptr : logits_out->data(), sampling,
                                  stream, results));
  }
  CHECK(TakeDataflowFailure() == "");
  return result;
}

// What can be chosen, the best first, and with which probability.
struct Choice {
  std::vector<uint32_t> tokens;
  std::vector<double> shares;
};

Choice NaiveChoice(const SamplerArgs& args, const std::vector<int32_t>& logits) {
  Choice choice;
  for (uint32_t i = 0; i < logits.size(); ++i) choice.tokens.push_back(i);
  std::sort(choice.tokens.begin(), choice.tokens.end(), [&](uint32_t a, uint32_t b) {
    return logits[a] != logits[b] ? logits[a] > logits[b] : a < b;
  });
  if (args.top_k > 0 && args.top_k < choice.tokens.size()) choice.tokens.resize(args.top_k);
  const double best = logits[choice.tokens[0]];
  const auto weight = [&](uint32_t token) { return std::exp((logits[token] - best) / 65536); };
  if (args.top_p < 65536) {
    double total = 0;
    for (const uint32_t token : choice.tokens) total += weight(token);
    size_t kept = 0;
    for (double sum = 0; kept < choice.tokens.size() && sum < args.top_p / 65536.0 * total;) {
      sum += weight(choice.tokens[kept++]);
    }
    choice.tokens.resize(std::max<size_t>(kept, 1));
  }
  std::erase_if(choice.tokens, [&](uint32_t t) { return weight(t) < args.min_p / 65536.0; });
  double total = 0;
  for (const uint32_t token : choice.tokens) {
    choice.shares.push_back(std::exp2((logits[token] - best) / 65536 * args.sharpness / 65536));
    total += choice.shares.back();
  }
  for (double& share : choice.shares) share /= total;
  return choice;
}

std::vector<int32_t> RandomLogits(int count, double deviation, std::mt19937_64& random) {
  std::normal_distribution<double> normal(0, deviation * 65536);
  std::vector<int32_t> logits(count);
  for (int32_t& logit : logits) logit = static_cast<int32_t>(normal(random));
  return logits;
}

uint32_t Sharpness(double temperature) {
  return static_cast<uint32_t>(std::lround(65536 / std::log(2.0) / temperature));
}

TEST_CASE("greedy takes the largest logit and of equal ones the lowest token") {
  std::mt19937_64 random(1);
  for (const int count : {1, 2, 63, 64, 65, 32000}) {
    std::vector<int32_t> logits = RandomLogits(count, 3, random);
    for (int32_t& logit : logits) logit -= logit % 65536;  // ties
    std::vector<int32_t> written(count);
    const SamplerResult result =
        Run({.vocabulary = static_cast<uint32_t>(count), .logits_wanted = 1}, logits, &written);
    CHECK(result.outcome == kTokenChosen);
    CHECK(result.token == std::max_element(logits.begin(), logits.end()) - logits.begin());
    CHECK(result.logit == logits[result.token]);
    CHECK(written == logits);
  }
  const std::vector<int32_t> lowest(100, INT32_MIN);
  CHECK(Run({.vocabulary = 100}, lowest).token == 0);
  CHECK(Run({.vocabulary = 100, .sharpness = Sharpness(1), .top_k = 3}, lowest).token < 3);
}

TEST_CASE("what can be chosen and how often is as the rules say") {
  std::mt19937_64 random(2);
  const std::vector<SamplerArgs> settings = {
      {.sharpness = Sharpness(1), .top_k = 1, .top_p = 65536},
      {.sharpness = Sharpness(0.7), .top_k = 40, .top_p = 65536},
      {.sharpness = Sharpness(1.5), .top_k = 64, .top_p = 60000, .min_p = 655},
      {.sharpness = Sharpness(1), .top_k = 0, .top_p = 50000},
      {.sharpness = Sharpness(0.3), .top_k = 0, .top_p = 0},
      {.sharpness = Sharpness(2), .top_k = 0, .top_p = 65536, .min_p = 6554},
  };
  for (const int count : {1, 5, 64, 1000}) {
    for (SamplerArgs args : settings) {
      args.vocabulary = static_cast<uint32_t>(count);
      const std::vector<int32_t> logits = RandomLogits(count, 4, random);
      const Choice choice = NaiveChoice(args, logits);
      double passed = 0;
      for (size_t i = 0; i < choice.tokens.size(); ++i) {
        // The middle of each token's share, far from where roundings decide.
        const double middle = passed + choice.shares[i] / 2;
        passed += choice.shares[i];
        if (choice.shares[i] < 1e-5) continue;
        args.random = static_cast<uint32_t>(std::ldexp(middle, 32));
        const SamplerResult result = Run(args, logits);
        INFO("count " << count << " k " << args.top_k << " p " << args.top_p << " place " << i);
        REQUIRE(result.outcome == kTokenChosen);
        CHECK(result.kept == choice.tokens.size());
        CHECK(result.token == choice.tokens[i]);
      }
      args.random = UINT32_MAX;
      const SamplerResult result = Run(args, logits);
      CHECK(std::count(choice.tokens.begin(), choice.tokens.end(), result.token) == 1);
    }
  }
}

TEST_CASE("what needs more candidates than are kept is the host's") {
  std::mt19937_64 random(3);
  const std::vector<int32_t> flat = RandomLogits(5000, 0.01, random);
  const SamplerArgs all = {.vocabulary = 5000, .sharpness = Sharpness(1), .top_p = 65536};
  CHECK(Run(all, flat).outcome == kHostChooses);
  SamplerArgs args = all;
  args.top_p = 60000;
  CHECK(Run(args, flat).outcome == kHostChooses);
  args.top_k = 65;
  CHECK(Run(args, flat).outcome == kHostChooses);
  args.top_k = 64;
  CHECK(Run(args, flat).outcome == kTokenChosen);
  args = all;
  args.min_p = 1000;
  CHECK(Run(args, flat).outcome == kHostChooses);
  args.min_p = 0;
  args.top_p = 600;  // 46 or so of 5000
  CHECK(Run(args, flat).outcome == kTokenChosen);
}

}  // namespace
}  // namespace baton::fpga
