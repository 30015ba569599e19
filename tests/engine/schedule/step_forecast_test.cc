#include "engine/schedule/step_forecast.h"

#include <catch2/catch.hpp>

namespace baton {

TEST_CASE("prompt tokens beside decodes are bounded by what steps took") {
  StepForecast forecast;
  CHECK(forecast.PromptTokens(200, 8, 8) == INT64_MAX);
  forecast.Observe(0, 100, 10'000);  // 100 us a prompt token
  CHECK(forecast.PromptTokens(200, 8, 8) == INT64_MAX);
  forecast.Observe(8, 0, 5'000);
  CHECK(forecast.PromptTokens(200, 8, 8) == 50);
  CHECK(forecast.PromptTokens(300, 8, 8) == 100);
  CHECK(forecast.PromptTokens(100, 8, 8) == StepForecast::kTokensMin);
  // Beside decodes, what they take is not the prompt's.
  forecast.Observe(8, 40, 5'000 + 40 * 100);
  CHECK(forecast.PromptTokens(200, 8, 8) == 50);
  for (int i = 0; i < 100; ++i) {
    forecast.Observe(8, 40, 5'000 + 40 * 200);
    forecast.Observe(8, 0, 5'000);
  }
  CHECK(forecast.PromptTokens(200, 8, 8) == 25);
}

TEST_CASE("the step that bounds is one in which all decode, those of the prompts with them") {
  StepForecast forecast;
  forecast.Observe(0, 100, 10'000);
  // Of one number of decodes: another one is a token more.
  forecast.Observe(8, 0, 5'000);
  CHECK(forecast.PromptTokens(200, 8, 18) == 2 * (50 + 10) - 50);
  CHECK(forecast.PromptTokens(200, 1, 1) == 43);
  // Of several: 3 ms, and 250 us for each.
  for (int i = 0; i < 300; ++i) forecast.Observe(1 + i % 8, 0, 3'000 + 250 * (1 + i % 8));
  CHECK(forecast.PromptTokens(200, 4, 4) == Approx(40).margin(1));
  CHECK(forecast.PromptTokens(200, 4, 64) == Approx(2 * (30 + 160) - 40).margin(4));
}

TEST_CASE("a device whose decodes cost nothing together is bounded as with one") {
  StepForecast forecast;
  forecast.Observe(0, 100, 1'000);  // 10 us a prompt token
  for (int i = 0; i < 300; ++i) forecast.Observe(1 + i % 64, 0, 5'000);
  CHECK(forecast.PromptTokens(200, 1, 1) == Approx(500).margin(5));
  CHECK(forecast.PromptTokens(200, 1, 64) == Approx(500).margin(5));
}

TEST_CASE("steps whose time is not known teach nothing") {
  StepForecast forecast;
  forecast.Observe(8, 0, 0);
  forecast.Observe(0, 100, 0);
  CHECK(forecast.PromptTokens(200, 8, 8) == INT64_MAX);
}

}  // namespace baton
