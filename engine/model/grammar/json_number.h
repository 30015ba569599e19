#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/statusor.h"

namespace baton {

// What a number is at least and at most, all at the same time; absent: no such limit.
struct JsonNumberLimits {
  std::optional<double> min;
  std::optional<double> max;
  std::optional<double> min_excluded;  // above it
  std::optional<double> max_excluded;  // below it

  bool none() const { return !min && !max && !min_excluded && !max_excluded; }
};

// GBNF for the whole numbers within `limits` and of at most 18 digits; no fraction, exponent or -0.
// INVALID_ARGUMENT: there is none, or a limit is not within 2^53, where a double is exact.
absl::StatusOr<std::string> JsonIntegerGbnf(const JsonNumberLimits& limits);

// GBNF for the numbers within `limits`, without an exponent. Their fractions have at most 15
// digits, 6 where a limit is beyond 1, so that reading one as a double does not carry it over a
// limit. INVALID_ARGUMENT: there is none, or a limit is not whole or not within 10^9.
absl::StatusOr<std::string> JsonNumberGbnf(const JsonNumberLimits& limits);

}  // namespace baton
