#include "engine/vector/field_test.h"

#include <limits>
#include <string>
#include <vector>

#include "engine/vector/field_column.h"
#include "tests/support/status_matchers.h"

namespace baton {
namespace {

using Kind = PayloadIndexKind;
constexpr int64_t kMax = std::numeric_limits<int64_t>::max();
constexpr int64_t kMin = std::numeric_limits<int64_t>::min();
constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr int64_t kExact = int64_t{1} << 53;  // from here on, doubles leave integers out

// Whether a value is in a range: by the test itself and by a column with it.
template <class Value, class Bound>
bool IsIn(Value value, Kind kind, Bounds<Bound> bounds) {
  const auto test = MakeFieldTest({.field = "f", .test = InRange{bounds}}, kind);
  REQUIRE_OK(test);
  const FieldValues row{.count = 1, .values = std::vector<Value>{value}};
  FieldColumn::Builder builder(kind, 1);
  builder.Add(0, row);
  const FieldColumn column = std::move(builder).Finish();
  const ColumnTest column_test(*test, column);
  REQUIRE(column_test.Matches(0) == test->Matches(row));
  REQUIRE(column_test.Estimate() == (test->Matches(row) ? 1 : 0));
  return test->Matches(row);
}

TEST_CASE("integers are compared with numbers exactly") {
  const auto above = [](int64_t value, double bound) {
    return IsIn<int64_t, double>(value, Kind::kInteger, {.gt = bound});
  };
  const auto from = [](int64_t value, double bound) {
    return IsIn<int64_t, double>(value, Kind::kInteger, {.gte = bound});
  };
  const auto below = [](int64_t value, double bound) {
    return IsIn<int64_t, double>(value, Kind::kInteger, {.lt = bound});
  };
  REQUIRE(above(3, 2.5));
  REQUIRE(!above(2, 2.5));
  REQUIRE(!above(2, 2));
  REQUIRE(from(2, 2));
  REQUIRE(below(2, 2.5));
  REQUIRE(!below(2, 2));
  REQUIRE(above(-2, -2.5));
  REQUIRE(!below(-2, -2.5));
  REQUIRE(above(kExact + 1, static_cast<double>(kExact)));
  REQUIRE(!from(kExact + 1, static_cast<double>(kExact + 2)));
  REQUIRE(!above(kMax, 0x1p63));
  REQUIRE(!from(kMax, 0x1p63));
  REQUIRE(below(kMax, 0x1p63));
  REQUIRE(from(kMin, -0x1p63));
  REQUIRE(!above(kMin, -0x1p63));
  REQUIRE(below(kMax, kInfinity));
  REQUIRE(above(kMin, -kInfinity));
  REQUIRE(!below(kMin, -kInfinity));
}

TEST_CASE("numbers are compared with integers exactly") {
  const auto above = [](double value, int64_t bound) {
    return IsIn<double, int64_t>(value, Kind::kNumber, {.gt = bound});
  };
  const auto from = [](double value, int64_t bound) {
    return IsIn<double, int64_t>(value, Kind::kNumber, {.gte = bound});
  };
  const auto to = [](double value, int64_t bound) {
    return IsIn<double, int64_t>(value, Kind::kNumber, {.lte = bound});
  };
  const double exact = static_cast<double>(kExact);
  REQUIRE(above(2.5, 2));
  REQUIRE(!above(2, 2));
  REQUIRE(from(2, 2));
  REQUIRE(to(2, 2));
  REQUIRE(!to(2.5, 2));
  REQUIRE(!from(exact, kExact + 1));  // whose nearest number this is
  REQUIRE(!above(exact, kExact + 1));
  REQUIRE(to(exact, kExact + 1));
  REQUIRE(from(exact + 4, kExact + 3));  // likewise, from the other side
  REQUIRE(!to(exact + 4, kExact + 3));
  REQUIRE(!to(0x1p63, kMax));
  REQUIRE(above(0x1p63, kMax));
  REQUIRE(to(-0x1p63, kMin));
  REQUIRE(!above(-0x1p63, kMin));
}

TEST_CASE("numbers and integers at the ends of their ranges") {
  REQUIRE(!IsIn<int64_t, int64_t>(kMax, Kind::kInteger, {.gt = kMax}));
  REQUIRE(IsIn<int64_t, int64_t>(kMax, Kind::kInteger, {.gte = kMax}));
  REQUIRE(!IsIn<int64_t, int64_t>(kMin, Kind::kInteger, {.lt = kMin}));
  REQUIRE(!IsIn<int64_t, int64_t>(0, Kind::kInteger, {.gt = kMax, .lte = 5}));
  REQUIRE(!IsIn<int64_t, int64_t>(3, Kind::kInteger, {.gt = 3, .lt = 4}));
  REQUIRE(!IsIn<double, double>(kInfinity, Kind::kNumber, {.gt = kInfinity}));
  REQUIRE(IsIn<double, double>(kInfinity, Kind::kNumber, {.gte = kInfinity}));
  REQUIRE(!IsIn<double, double>(-kInfinity, Kind::kNumber, {.lt = -kInfinity}));
  REQUIRE(IsIn<double, double>(0.0, Kind::kNumber, {.gte = -0.0, .lte = -0.0}));
  REQUIRE(!IsIn<double, double>(1.0, Kind::kNumber, {.gt = 1.0, .lt = 1.5}));
  REQUIRE(IsIn<int64_t, Datetime>(7, Kind::kDatetime, {.gt = Datetime{6}, .lt = Datetime{8}}));
}

}  // namespace
}  // namespace baton
