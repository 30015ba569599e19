#include "engine/request/filter.h"

#include <limits>
#include <string>
#include <vector>

#include "tests/support/status_matchers.h"

namespace baton {
namespace {

constexpr FilterLimits kLimits = {.conditions_max = 10, .depth_max = 3, .values_max = 4};
constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;

Condition MatchOf(std::string field, std::vector<FilterValue> any) {
  return {.field = std::move(field), .test = Match{.any = std::move(any)}};
}

template <class T>
Filter RangeOf(Bounds<T> bounds) {
  return Filter({.field = "f", .test = InRange{.bounds = bounds}});
}

TEST_CASE("filters within their limits pass") {
  Filter filter;
  REQUIRE_OK(filter.Check(kLimits));
  filter.Add(Filter::kRoot, Filter::Clause::kMust, MatchOf("f", {std::string("a")}));
  const int32_t group = filter.AddGroup(Filter::kRoot, Filter::Clause::kMustNot);
  const int32_t inner = filter.AddGroup(group, Filter::Clause::kShould);
  filter.Add(inner, Filter::Clause::kShould, {.field = "", .test = HasId{.ids = {1, 2}}});
  filter.Add(inner, Filter::Clause::kShould, {.field = "g", .test = IsEmpty()});
  REQUIRE_OK(filter.Check(kLimits));
  REQUIRE(filter.PathOf(1) == "filter.must[0]");
  REQUIRE(filter.PathOf(5) == "filter.must_not[0].should[0].should[1]");
}

TEST_CASE("a filter's limits are named with the value") {
  SECTION("depth, however deep") {
    for (const int depth : {3, 10'000}) {
      Filter filter;
      int32_t group = Filter::kRoot;
      for (int i = 0; i < depth; ++i) group = filter.AddGroup(group, Filter::Clause::kMust);
      REQUIRE_STATUS(filter.Check({.conditions_max = 1 << 20, .depth_max = 3, .values_max = 1}),
                     kInvalid, "filter is nested 4 deep or more, allowed is 3");
    }
  }
  SECTION("conditions") {
    Filter filter;
    for (int i = 0; i < 11; ++i) {
      filter.Add(Filter::kRoot, Filter::Clause::kShould, MatchOf("f", {true}));
    }
    REQUIRE_STATUS(filter.Check(kLimits), kInvalid, "filter has 11 conditions, allowed is 10");
  }
  SECTION("values") {
    const std::vector<FilterValue> five(5, int64_t{1});
    REQUIRE_STATUS(Filter(MatchOf("f", five)).Check(kLimits), kInvalid,
                   "filter.must[0] has 5 values, allowed is 1 to 4");
    REQUIRE_STATUS(Filter(MatchOf("f", {})).Check(kLimits), kInvalid, "has 0 values");
    REQUIRE_STATUS(Filter({.field = "", .test = HasId{}}).Check(kLimits), kInvalid, "has 0 ids");
    REQUIRE_STATUS(Filter(MatchOf("f", {true, int64_t{1}})).Check(kLimits), kInvalid,
                   "several types");
  }
  SECTION("the field's name") {
    REQUIRE_STATUS(Filter(MatchOf("", {true})).Check(kLimits), kInvalid,
                   "filter.must[0].field has 0 bytes, allowed is 1 to 256");
    REQUIRE_STATUS(Filter(MatchOf(std::string(257, 'f'), {true})).Check(kLimits), kInvalid, "257");
  }
  SECTION("bounds") {
    REQUIRE_OK(RangeOf(Bounds<int64_t>{.gt = 1, .lte = 0}).Check(kLimits));
    REQUIRE_STATUS(RangeOf(Bounds<int64_t>{}).Check(kLimits), kInvalid, "needs one of");
    REQUIRE_STATUS(RangeOf(Bounds<int64_t>{.gt = 1, .gte = 2}).Check(kLimits), kInvalid,
                   "both gt and gte");
    REQUIRE_STATUS(RangeOf(Bounds<double>{.lt = 1, .lte = 2}).Check(kLimits), kInvalid,
                   "both lt and lte");
    REQUIRE_STATUS(
        RangeOf(Bounds<double>{.lt = std::numeric_limits<double>::quiet_NaN()}).Check(kLimits),
        kInvalid, "not a number");
  }
}

TEST_CASE("a filter within another is a group of it") {
  Filter inner(MatchOf("a", {true}));
  inner.Add(inner.AddGroup(Filter::kRoot, Filter::Clause::kShould), Filter::Clause::kMustNot,
            MatchOf("b", {true}));
  Filter outer(MatchOf("c", {true}));
  outer.Add(Filter::kRoot, Filter::Clause::kMust, inner);
  REQUIRE(outer.nodes().size() == 6);
  REQUIRE(outer.PathOf(5) == "filter.must[1].should[0].must_not[0]");
  REQUIRE(outer.nodes()[5].condition->field == "b");
}

}  // namespace
}  // namespace baton
