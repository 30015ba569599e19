#pragma once

#include <string>

#include "absl/status/status.h"
#include "catch2/catch.hpp"

// REQUIRE_OK(status): fails with the status in the message.
#define REQUIRE_OK(expr)                   \
  do {                                     \
    const auto& baton_checked_ = (expr);   \
    INFO(baton::StatusOf(baton_checked_)); \
    REQUIRE(baton_checked_.ok());          \
  } while (false)

namespace baton {
inline std::string StatusOf(const absl::Status& status) { return status.ToString(); }
template <class T>
std::string StatusOf(const T& status_or) {
  return status_or.status().ToString();
}
}  // namespace baton

// REQUIRE_STATUS(expr, code, "part of the message")
#define REQUIRE_STATUS(expr, expected_code, part)                                   \
  do {                                                                              \
    const auto& baton_checked_ = (expr);                                            \
    INFO(baton::StatusOf(baton_checked_));                                          \
    REQUIRE_FALSE(baton_checked_.ok());                                             \
    REQUIRE(baton::StatusCodeOf(baton_checked_) == (expected_code));                \
    REQUIRE_THAT(baton::StatusOf(baton_checked_), Catch::Matchers::Contains(part)); \
  } while (false)

namespace baton {
inline absl::StatusCode StatusCodeOf(const absl::Status& status) { return status.code(); }
template <class T>
absl::StatusCode StatusCodeOf(const T& status_or) {
  return status_or.status().code();
}
}  // namespace baton
