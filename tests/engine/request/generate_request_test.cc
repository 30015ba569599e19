#include "engine/request/generate_request.h"

#include <catch2/catch.hpp>
#include <cmath>

#include "tests/support/status_matchers.h"

namespace baton {
namespace {

TEST_CASE("sampling settings out of bounds are refused by name") {
  constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;
  REQUIRE_OK(ValidateSampling({}));
  REQUIRE_OK(ValidateSampling({.temperature = 100, .top_k = 5, .top_p = 0.1f, .min_p = 1}));
  REQUIRE_STATUS(ValidateSampling({.temperature = -0.1f}), kInvalid, "sampling.temperature");
  REQUIRE_STATUS(ValidateSampling({.temperature = std::nanf("")}), kInvalid, "temperature");
  REQUIRE_STATUS(ValidateSampling({.top_k = -1}), kInvalid, "sampling.top_k");
  REQUIRE_STATUS(ValidateSampling({.top_p = 0}), kInvalid, "sampling.top_p");
  REQUIRE_STATUS(ValidateSampling({.min_p = 1.1f}), kInvalid, "sampling.min_p");
}

}  // namespace
}  // namespace baton
