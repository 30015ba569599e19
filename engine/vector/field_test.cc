#include "engine/vector/field_test.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "engine/base/strings.h"
#include "engine/vector/word_split.h"

namespace baton {
namespace {

constexpr int64_t kIntegerMin = std::numeric_limits<int64_t>::min();
constexpr int64_t kIntegerMax = std::numeric_limits<int64_t>::max();
constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kTwo63 = 9223372036854775808.0;

// Inclusive bounds of integers; empty where low > high.
struct Integers {
  int64_t low = kIntegerMin;
  int64_t high = kIntegerMax;
  void SetEmpty() { *this = {.low = 1, .high = 0}; }

  void Above(int64_t bound, bool inclusive) {
    if (!inclusive && bound == kIntegerMax) return SetEmpty();
    low = std::max(low, inclusive ? bound : bound + 1);
  }
  void Below(int64_t bound, bool inclusive) {
    if (!inclusive && bound == kIntegerMin) return SetEmpty();
    high = std::min(high, inclusive ? bound : bound - 1);
  }
  void Above(double bound, bool inclusive) {
    const double ceiling = std::ceil(bound);
    if (ceiling >= kTwo63) return SetEmpty();
    if (ceiling < -kTwo63) return;
    Above(static_cast<int64_t>(ceiling), inclusive || ceiling > bound);
  }
  void Below(double bound, bool inclusive) {
    const double floor = std::floor(bound);
    if (floor < -kTwo63) return SetEmpty();
    if (floor >= kTwo63) return;
    Below(static_cast<int64_t>(floor), inclusive || floor < bound);
  }
  void Above(Datetime bound, bool inclusive) { Above(bound.us, inclusive); }
  void Below(Datetime bound, bool inclusive) { Below(bound.us, inclusive); }
};

// a < b, exactly.
bool Less(double a, int64_t b) {
  if (a < -kTwo63) return true;
  if (a >= kTwo63) return false;
  const auto whole = static_cast<int64_t>(std::floor(a));
  return whole < b;
}

// Inclusive bounds of numbers.
struct Numbers {
  double low = -kInfinity;
  double high = kInfinity;
  void SetEmpty() { *this = {.low = 1, .high = 0}; }

  void Above(double bound, bool inclusive) {
    if (!inclusive && bound == kInfinity) return SetEmpty();
    low = std::max(low, inclusive ? bound : std::nextafter(bound, kInfinity));
  }
  void Below(double bound, bool inclusive) {
    if (!inclusive && bound == -kInfinity) return SetEmpty();
    high = std::min(high, inclusive ? bound : std::nextafter(bound, -kInfinity));
  }
  // The number nearest to an integer may lie on either side of it, or be the same.
  void Above(int64_t bound, bool inclusive) {
    const auto nearest = static_cast<double>(bound);
    const bool below = Less(nearest, bound);
    const bool same = !below && nearest < kTwo63 && static_cast<int64_t>(nearest) == bound;
    Above(nearest, !below && (inclusive || !same));
  }
  void Below(int64_t bound, bool inclusive) {
    const auto nearest = static_cast<double>(bound);
    const bool below = Less(nearest, bound);
    const bool same = !below && nearest < kTwo63 && static_cast<int64_t>(nearest) == bound;
    Below(nearest, below || (inclusive && same));
  }
};

template <class Interval, class T>
Interval ToInterval(const Bounds<T>& bounds) {
  Interval interval;
  if (bounds.gt) interval.Above(*bounds.gt, false);
  if (bounds.gte) interval.Above(*bounds.gte, true);
  if (bounds.lt) interval.Below(*bounds.lt, false);
  if (bounds.lte) interval.Below(*bounds.lte, true);
  return interval;
}

template <class T>
void SetInterval(const Bounds<T>& bounds, PayloadIndexKind kind, FieldTest& test) {
  if constexpr (!std::is_same_v<T, Datetime>) {
    if (kind == PayloadIndexKind::kNumber) {
      const auto numbers = ToInterval<Numbers>(bounds);
      test.number_low = numbers.low;
      test.number_high = numbers.high;
      return;
    }
  }
  const auto integers = ToInterval<Integers>(bounds);
  test.integer_low = integers.low;
  test.integer_high = integers.high;
}

template <class T>
bool IsIn(const std::vector<T>& sorted, const T& value) {
  return std::binary_search(sorted.begin(), sorted.end(), value);
}

// The first value is within.
bool AnyWithin(const std::vector<int64_t>& values, const FieldTest& test) {
  const auto first = std::lower_bound(values.begin(), values.end(), test.integer_low);
  return first != values.end() && *first <= test.integer_high;
}
bool AnyWithin(const std::vector<double>& values, const FieldTest& test) {
  const auto first = std::lower_bound(values.begin(), values.end(), test.number_low);
  return first != values.end() && *first <= test.number_high;
}
bool AnyWithin(const std::vector<std::string>&, const FieldTest&) { return false; }

const char* WantedKinds(const Condition& condition) {
  if (const auto* match = std::get_if<Match>(&condition.test)) {
    constexpr const char* kKinds[] = {"keyword", "integer", "boolean"};
    return kKinds[match->any.front().index()];
  }
  if (const auto* range = std::get_if<InRange>(&condition.test)) {
    constexpr const char* kKinds[] = {"integer or number", "integer, number or datetime",
                                      "datetime"};
    return kKinds[range->bounds.index()];
  }
  return "text";
}

bool Answers(const Condition& condition, PayloadIndexKind kind) {
  using Kind = PayloadIndexKind;
  if (const auto* match = std::get_if<Match>(&condition.test)) {
    constexpr Kind kKinds[] = {Kind::kKeyword, Kind::kInteger, Kind::kBoolean};
    return match->any.empty() || kind == kKinds[match->any.front().index()];
  }
  if (const auto* range = std::get_if<InRange>(&condition.test)) {
    const bool is_datetime = std::holds_alternative<Bounds<Datetime>>(range->bounds);
    const bool is_number = std::holds_alternative<Bounds<double>>(range->bounds);
    return (kind == Kind::kDatetime && !is_number) ||
           ((kind == Kind::kInteger || kind == Kind::kNumber) && !is_datetime);
  }
  if (std::holds_alternative<ContainsWords>(condition.test)) return kind == Kind::kText;
  return true;
}

template <class T>
void SortDistinct(std::vector<T>& values) {
  std::sort(values.begin(), values.end());
  values.erase(std::unique(values.begin(), values.end()), values.end());
}

ValueList MatchValues(const Match& match) {
  if (std::holds_alternative<std::string>(match.any.front())) {
    std::vector<std::string> texts;
    for (const FilterValue& value : match.any) texts.push_back(std::get<std::string>(value));
    SortDistinct(texts);
    return texts;
  }
  std::vector<int64_t> integers;
  for (const FilterValue& value : match.any) {
    const auto* boolean = std::get_if<bool>(&value);
    integers.push_back(boolean != nullptr ? int64_t{*boolean} : std::get<int64_t>(value));
  }
  SortDistinct(integers);
  return integers;
}

}  // namespace

const char* NameOf(PayloadIndexKind kind) {
  constexpr const char* kNames[] = {"keyword", "integer", "number", "boolean", "datetime", "text"};
  return kNames[static_cast<size_t>(kind)];
}

bool FieldTest::Matches(const FieldValues& row) const {
  if (kind == Kind::kCount) return integer_low <= row.count && row.count <= integer_high;
  return std::visit(
      [this](const auto& list) {
        using List = std::decay_t<decltype(list)>;
        if (kind == Kind::kInterval) return AnyWithin(list, *this);
        const List& wanted = std::get<List>(values);
        switch (kind) {
          case Kind::kAnyOf:
            return std::any_of(list.begin(), list.end(),
                               [&wanted](const auto& value) { return IsIn(wanted, value); });
          case Kind::kNoneOf:
            return std::any_of(list.begin(), list.end(),
                               [&wanted](const auto& value) { return !IsIn(wanted, value); });
          default:
            return std::includes(list.begin(), list.end(), wanted.begin(), wanted.end());
        }
      },
      row.values);
}

absl::StatusOr<FieldTest> MakeFieldTest(const Condition& condition, PayloadIndexKind kind) {
  if (!Answers(condition, kind)) {
    return absl::InvalidArgumentError(
        StrCat("the payload index of field \"", Escaped(condition.field), "\" is of kind ",
               NameOf(kind), ", this condition needs ", WantedKinds(condition)));
  }
  FieldTest test;
  if (const auto* match = std::get_if<Match>(&condition.test)) {
    test.kind = match->except ? FieldTest::Kind::kNoneOf : FieldTest::Kind::kAnyOf;
    test.values = match->any.empty() ? EmptyValues(kind) : MatchValues(*match);
  } else if (const auto* range = std::get_if<InRange>(&condition.test)) {
    test.kind = FieldTest::Kind::kInterval;
    std::visit([&](const auto& bounds) { SetInterval(bounds, kind, test); }, range->bounds);
  } else if (const auto* text = std::get_if<ContainsWords>(&condition.test)) {
    test.kind = FieldTest::Kind::kAllOf;
    std::vector<std::string> words = DistinctWords(text->words);
    if (words.empty()) {
      return absl::InvalidArgumentError(
          StrCat("contains_words has no word: \"", Escaped(text->words), "\""));
    }
    test.values = std::move(words);
  } else {
    test.kind = FieldTest::Kind::kCount;
    Integers integers{.low = 0, .high = 0};  // IsEmpty
    if (const auto* count = std::get_if<ValuesCount>(&condition.test)) {
      integers = ToInterval<Integers>(count->bounds);
    }
    test.integer_low = integers.low;
    test.integer_high = integers.high;
  }
  return test;
}

}  // namespace baton
