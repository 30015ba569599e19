#include "engine/vector/part_ratio.h"

#include "catch2/catch.hpp"

namespace baton {
namespace {

TEST_CASE("a part tells once it was seen often enough and is no less than the least") {
  PartRatio ratio(0.25f);
  for (int i = 0; i < 7; ++i) ratio.Add(1, 2);
  REQUIRE_FALSE(ratio.Tells());
  ratio.Add(1, 2);
  REQUIRE(ratio.Tells());
  REQUIRE(ratio.LargestPart(8) == Approx(4));
  for (int i = 0; i < 24; ++i) ratio.Add(0, 2);
  REQUIRE_FALSE(ratio.Tells());
}

TEST_CASE("the largest part is two deviations above the mean, and never above the whole") {
  PartRatio ratio(0);
  for (int i = 0; i < 50; ++i) {
    ratio.Add(1, 10);
    ratio.Add(3, 10);
  }
  REQUIRE(ratio.LargestPart(10) == Approx(4));  // 0.2 and twice 0.1
  PartRatio wide(0);
  for (int i = 0; i < 50; ++i) {
    wide.Add(0, 10);
    wide.Add(10, 10);
  }
  REQUIRE(wide.LargestPart(10) == Approx(10));
}

// A node that is the query has no ratio; rounding may bring it below zero.
TEST_CASE("distances of nothing are not counted") {
  PartRatio ratio(0);
  for (int i = 0; i < 20; ++i) {
    ratio.Add(0, 0);
    ratio.Add(0, -1e-6f);
  }
  REQUIRE_FALSE(ratio.Tells());
}

}  // namespace
}  // namespace baton
