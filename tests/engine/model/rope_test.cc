#include "engine/model/rope.h"

#include <cmath>

#include "catch2/catch.hpp"

namespace baton {
namespace {

TEST_CASE("frequencies fall by the base, scaled and divided", "[rope]") {
  const std::vector<float> factors = {1.0f, 2.0f, 4.0f};
  const auto plain = RopeFrequencies({.base = 1000}, 6);
  const auto scaled = RopeFrequencies({.base = 1000, .factors = factors.data(), .scale = 0.25f}, 6);
  REQUIRE(plain.size() == 3);
  for (int i = 0; i < 3; ++i) {
    CHECK(plain[i] == Approx(std::pow(10.0, -i)));
    CHECK(scaled[i] == Approx(plain[i] / 4 / factors[i]));
  }
}

// Qwen2.5's own settings for 131,072 tokens; the expected values are from the published formula,
// computed elsewhere.
TEST_CASE("yarn keeps what turns often and stretches what turns seldom", "[rope]") {
  RopeParameters rope{.base = 1e6f, .scale = 0.25f, .yarn_mix = 1};
  rope.original_context_tokens = 32768;
  const auto yarn = RopeFrequencies(rope, 128);
  REQUIRE(yarn.size() == 64);
  CHECK(yarn[0] == 1.0);
  CHECK(yarn[20] == Approx(0.01333521432163324));
  CHECK(yarn[23] == Approx(0.006978305848598663));  // the last that is kept
  CHECK(yarn[24] == Approx(0.005375321490790102));  // the first that is blended
  CHECK(yarn[30] == Approx(0.0010643609812470017));
  CHECK(yarn[39] == Approx(6.490394320837028e-05));
  CHECK(yarn[40] == Approx(4.445698525097307e-05));  // the first that is stretched
  CHECK(yarn[63] == Approx(3.102344401879299e-07));

  rope.yarn_mix = 0.5f;
  const auto half = RopeFrequencies(rope, 128);
  CHECK(half[0] == Approx(0.625));  // half kept, half a quarter
  CHECK(half[63] == yarn[63]);

  rope.yarn_mix = 0;
  CHECK(RopeFrequencies(rope, 128)[0] == 0.25);
}

TEST_CASE("yarn stays finite where its ends meet", "[rope]") {
  for (const int32_t original : {1, 2, 1 << 24}) {
    for (const float base : {1.001f, 10000.0f, 1e30f}) {
      RopeParameters rope{.base = base, .scale = 0.5f, .yarn_mix = 1};
      rope.original_context_tokens = original;
      for (const double frequency : RopeFrequencies(rope, 2)) {
        CHECK(std::isfinite(frequency));
        CHECK(frequency > 0);
      }
    }
  }
}

}  // namespace
}  // namespace baton
