#include "engine/request/generate_request.h"

#include <catch2/catch.hpp>
#include <cmath>

#include "tests/support/status_matchers.h"

namespace baton {
namespace {

constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;

TEST_CASE("sampling settings out of bounds are refused by name") {
  REQUIRE_OK(ValidateSampling({}));
  REQUIRE_OK(ValidateSampling({.temperature = 100, .top_k = 5, .top_p = 0.1f, .min_p = 1}));
  REQUIRE_STATUS(ValidateSampling({.temperature = -0.1f}), kInvalid, "sampling.temperature");
  REQUIRE_STATUS(ValidateSampling({.temperature = std::nanf("")}), kInvalid, "temperature");
  REQUIRE_STATUS(ValidateSampling({.top_k = -1}), kInvalid, "sampling.top_k");
  REQUIRE_STATUS(ValidateSampling({.top_p = 0}), kInvalid, "sampling.top_p");
  REQUIRE_STATUS(ValidateSampling({.min_p = 1.1f}), kInvalid, "sampling.min_p");
}

TEST_CASE("bounds of biases, penalties, stops and the rest, each by name, limit and value") {
  const float nan = std::nanf("");
  const auto sampling = [](auto set, const std::string& message) {
    GenerateRequest request;
    set(request.sampling);
    REQUIRE_STATUS(ValidateSampling(request.sampling), kInvalid, message);
    REQUIRE_STATUS(ValidateGenerate(request), kInvalid, message);
  };
  using S = SamplingParams;
  sampling(
      [](S& s) {
        s.logit_bias = {{1, 100}, {7, 100.5f}};
      },
      "sampling.logit_bias[7] must be -100 to 100, but is 100.5");
  sampling(
      [nan](S& s) {
        s.logit_bias = {{7, nan}};
      },
      "sampling.logit_bias[7] must be -100 to 100, but is nan");
  sampling(
      [](S& s) {
        for (TokenId token = 0; token < 1025; ++token) s.logit_bias[token] = 1;
      },
      "sampling.logit_bias must be at most 1024, but are 1025");
  sampling([](S& s) { s.repetition_penalty = 0; },
           "sampling.repetition_penalty must be 0.01 to 100, but is 0");
  sampling([nan](S& s) { s.repetition_penalty = nan; }, "sampling.repetition_penalty");
  sampling([](S& s) { s.penalty_last_n = -2; },
           "sampling.penalty_last_n must be -1 to 1048576, but is -2");
  sampling([](S& s) { s.presence_penalty = 2.5f; },
           "sampling.presence_penalty must be -2 to 2, but is 2.5");
  sampling([nan](S& s) { s.frequency_penalty = nan; },
           "sampling.frequency_penalty must be -2 to 2, but is nan");

  const auto refused = [](auto set, const std::string& message) {
    GenerateRequest request;
    set(request);
    REQUIRE_STATUS(ValidateGenerate(request), kInvalid, message);
  };
  using R = GenerateRequest;
  refused([](R& r) { r.stop.strings.assign(17, "x"); }, "stop must be at most 16, but are 17");
  refused(
      [](R& r) {
        r.stop.strings = {"x", ""};
      },
      "stop[1] must be 1 to 256 bytes long, but is 0");
  refused([](R& r) { r.stop.strings = {std::string(257, 'x')}; },
          "stop[0] must be 1 to 256 bytes long, but is 257");
  refused([](R& r) { r.stop.tokens.assign(1025, 3); },
          "stop_token_ids must be at most 1024, but are 1025");
  refused([](R& r) { r.stop.min_tokens = -1; }, "min_tokens must be at least 0, but is -1");
  refused([](R& r) { r.logprobs = 21; }, "logprobs must be 0 to 20, but is 21");
  refused([](R& r) { r.logprobs = -1; }, "logprobs must be 0 to 20, but is -1");
  refused([](R& r) { r.completions = 0; }, "n must be 1 to 16, but is 0");
  refused([](R& r) { r.completions = 17; }, "n must be 1 to 16, but is 17");

  R most;
  most.sampling.logit_bias = {{1, -100}, {2, 100}};
  most.sampling.repetition_penalty = 1.1f;
  most.sampling.penalty_last_n = -1;
  most.sampling.presence_penalty = 2;
  most.sampling.frequency_penalty = -2;
  most.stop.strings.assign(16, std::string(256, 'x'));
  most.stop.min_tokens = 9;
  most.logprobs = 20;
  most.completions = 16;
  REQUIRE_OK(ValidateGenerate(most));
}

}  // namespace
}  // namespace baton
