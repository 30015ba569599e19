#include "engine/model/grammar/code_point_ranges.h"

#include <random>
#include <set>

#include "catch2/catch.hpp"

namespace baton {
namespace {

std::set<char32_t> Points(const CodePointRanges& ranges, char32_t max) {
  std::set<char32_t> points;
  for (const CodePointRange& range : ranges) {
    for (char32_t point = range.first; point <= range.last && point <= max; ++point) {
      points.insert(point);
    }
  }
  return points;
}

TEST_CASE("ranges stay the same points when merged, and others when complemented", "[ranges]") {
  constexpr char32_t kMax = 60;
  std::mt19937 random(7);
  for (int i = 0; i < 500; ++i) {
    CodePointRanges ranges;
    for (size_t n = random() % 6; n-- > 0;) {
      const auto first = static_cast<char32_t>(random() % 50);
      ranges.push_back({first, first + static_cast<char32_t>(random() % 10)});
    }
    const std::set<char32_t> points = Points(ranges, kMax);
    const CodePointRanges merged = MergedRanges(ranges);
    CHECK(Points(merged, kMax) == points);
    for (size_t n = 1; n < merged.size(); ++n) {
      CHECK(merged[n].first > merged[n - 1].last + 1);
    }
    const CodePointRanges complement = Complement(ranges);
    std::set<char32_t> others = Points(complement, kMax);
    for (const char32_t point : points) {
      CHECK(others.insert(point).second);
    }
    CHECK(others.size() == kMax + 1);
    REQUIRE_FALSE(complement.empty());
    CHECK(complement.back().last == kCodePointMax);
  }
}

TEST_CASE("surrogates are cut out of ranges", "[ranges]") {
  const CodePointRanges cut = WithoutSurrogates(Complement({}));
  REQUIRE(cut.size() == 2);
  CHECK(cut[0].last == 0xD7FF);
  CHECK(cut[1].first == 0xE000);
  CHECK(WithoutSurrogates({{0xD900, 0xDA00}}).empty());
  CHECK(Complement({{0, kCodePointMax}}).empty());
}

}  // namespace
}  // namespace baton
