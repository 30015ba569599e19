#include "engine/schedule/step_forecast.h"

#include <catch2/catch.hpp>
#include <random>

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
  // They take longer than they did.
  for (int i = 0; i < 200; ++i) {
    const int64_t tokens = forecast.PromptTokens(200, 8, 8);
    forecast.Observe(8, tokens, 5'000 + tokens * 200);
    forecast.Observe(8, 0, 5'000);
  }
  CHECK(forecast.PromptTokens(200, 8, 8) == Approx(25).margin(2));
}

TEST_CASE("a chunk costs much before its first token, and more the longer its prompt is") {
  // Of 60 ms for eight decodes, with a disturbance of up to 4 % either way: a chunk takes 70 ms and
  // 1.3 ms for each token, and in the end 100 ms before the first.
  StepForecast forecast;
  std::minstd_rand random(7);
  const auto disturbed = [&random](double us) {
    return static_cast<TimeUs>(us * (0.96 + static_cast<double>(random() % 1000) * 8e-5));
  };
  for (int i = 0; i < 30; ++i) forecast.Observe(8, 0, disturbed(60'000));
  forecast.Observe(0, 512, disturbed(70'000 + 512 * 1300));
  int over = 0;
  for (int i = 0; i < 300; ++i) {
    const int64_t tokens = forecast.PromptTokens(300, 8, 8);
    const double us = 60'000 + 70'000 + 100.0 * i + 1300.0 * static_cast<double>(tokens);
    forecast.Observe(8, tokens, disturbed(us));
    if (us > 1.1 * 180'000) ++over;
    if (i < 10) continue;
    CAPTURE(i, tokens);
    CHECK(us > 0.85 * 180'000);
    CHECK(us < 1.15 * 180'000);
  }
  CHECK(over < 6);
}

TEST_CASE("what chunks take more far into a prompt is each token's, and they become shorter") {
  // Of 60 ms for eight decodes: a chunk takes 60 ms, and 1.3 ms for each token, in the end 3 ms.
  StepForecast forecast;
  for (int i = 0; i < 30; ++i) forecast.Observe(8, 0, 60'000);
  forecast.Observe(0, 512, 60'000 + 512 * 1300);
  int64_t tokens = 0;
  int over = 0;
  for (int position = 0; position < 8192; position += static_cast<int>(tokens)) {
    tokens = forecast.PromptTokens(300, 8, 8);
    const double us = 120'000 + static_cast<double>(tokens) * (1300 + 1700 * position / 8192.0);
    forecast.Observe(8, tokens, static_cast<TimeUs>(us));
    if (us > 1.03 * 180'000) ++over;
  }
  CHECK(over < 4);  // until chunks of two lengths have been seen
  CHECK(tokens == Approx(60'000 / 3000).margin(1));
}

TEST_CASE("where a chunk's first token alone takes too long, it is not a short one that follows") {
  StepForecast forecast;
  for (int i = 0; i < 30; ++i) forecast.Observe(8, 0, 60'000);
  forecast.Observe(0, 512, 140'000 + 512 * 1300);
  int64_t tokens = 0;
  for (int i = 0; i < 300; ++i) {
    tokens = forecast.PromptTokens(250, 8, 8);
    forecast.Observe(8, tokens, 60'000 + 140'000 + 1300 * tokens);
  }
  // A sixth of 140 ms.
  CHECK(tokens >= 16);
  CHECK(tokens <= 20);
  CHECK(forecast.StepUs(8, 30) == Approx(239'000).epsilon(0.03));
  CHECK(forecast.StepUs(8, 0) == Approx(60'000).epsilon(0.02));
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
  CHECK(forecast.StepUs(8, 0) == 0);
}

}  // namespace baton
