#include "engine/schedule/step_forecast.h"

#include <catch2/catch.hpp>

namespace baton {

TEST_CASE("prompt tokens beside decodes are bounded by what steps took") {
  StepForecast forecast;
  CHECK(forecast.PromptTokens(200) == INT64_MAX);
  forecast.Observe(0, 100, 10'000);  // 100 us a prompt token
  CHECK(forecast.PromptTokens(200) == INT64_MAX);
  forecast.Observe(8, 0, 5'000);
  CHECK(forecast.PromptTokens(200) == 50);
  CHECK(forecast.PromptTokens(300) == 100);
  CHECK(forecast.PromptTokens(100) == StepForecast::kTokensMin);
  // Beside decodes, what they take is not the prompt's.
  forecast.Observe(8, 40, 5'000 + 40 * 100);
  CHECK(forecast.PromptTokens(200) == 50);
  for (int i = 0; i < 100; ++i) forecast.Observe(8, 40, 5'000 + 40 * 200);
  CHECK(forecast.PromptTokens(200) == 25);
}

TEST_CASE("steps whose time is not known teach nothing") {
  StepForecast forecast;
  forecast.Observe(8, 0, 0);
  forecast.Observe(0, 100, 0);
  CHECK(forecast.PromptTokens(200) == INT64_MAX);
}

}  // namespace baton
