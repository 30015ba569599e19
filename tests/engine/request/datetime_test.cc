#include "engine/request/datetime.h"

#include <string>

#include "catch2/catch.hpp"

namespace baton {
namespace {

TEST_CASE("RFC 3339 texts are microseconds") {
  REQUIRE(ParseDatetime("1970-01-01T00:00:00Z") == 0);
  REQUIRE(ParseDatetime("1970-01-01") == 0);
  REQUIRE(ParseDatetime("1970-01-02 00:00:00.000001z") == 86'400'000'001);
  REQUIRE(ParseDatetime("2001-09-09T01:46:40.123456789Z") == 1'000'000'000'123'456);
  REQUIRE(ParseDatetime("2001-09-09T03:16:40+01:30") == 1'000'000'000'000'000);
  REQUIRE(ParseDatetime("2001-09-08T21:46:40-04:00") == 1'000'000'000'000'000);
  REQUIRE(ParseDatetime("1969-12-31T23:59:59.5Z") == -500'000);
  REQUIRE(ParseDatetime("2016-12-31T23:59:60Z") == ParseDatetime("2017-01-01T00:00:00Z"));
  REQUIRE(ParseDatetime("0000-01-01").has_value());
  REQUIRE(ParseDatetime("2024-02-29").has_value());
}

TEST_CASE("other texts are no time") {
  for (const std::string text :
       {"", "2024", "2024-13-01", "2024-02-30", "2023-02-29", "24-01-01", "2024-01-01T",
        "2024-01-01T00:00:00", "2024-01-01T24:00:00Z", "2024-01-01T00:60:00Z",
        "2024-01-01T00:00:61Z", "2024-01-01T00:00:00.Z", "2024-01-01T00:00:00+1:00",
        "2024-01-01T00:00:00+01:60", "2024-01-01T00:00:00Zx", " 2024-01-01", "yesterday"}) {
    CAPTURE(text);
    REQUIRE(!ParseDatetime(text).has_value());
  }
}

}  // namespace
}  // namespace baton
