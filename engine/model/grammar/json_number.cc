#include "engine/model/grammar/json_number.h"

#include <algorithm>
#include <cmath>
#include <string_view>
#include <vector>

#include "engine/base/strings.h"

namespace baton {
namespace {

constexpr uint64_t kIntegerMax = 999'999'999'999'999'999;  // 18 digits fit an int64_t
constexpr double kWholeLimitMax = 9'007'199'254'740'992;   // 2^53
// With 6 digits behind the point a double is exact to the last.
constexpr double kNumberLimitMax = 1e9;

absl::Status NoNumber() {
  return absl::InvalidArgumentError("no number lies between the minimum and the maximum");
}

// The tighter limit of a side.
struct Limit {
  std::optional<double> value;
  bool excluded = false;
};

Limit Lower(const JsonNumberLimits& limits) {
  const bool excluded =
      limits.min_excluded.has_value() && (!limits.min || *limits.min_excluded >= *limits.min);
  return {excluded ? limits.min_excluded : limits.min, excluded};
}

Limit Upper(const JsonNumberLimits& limits) {
  const bool excluded =
      limits.max_excluded.has_value() && (!limits.max || *limits.max_excluded <= *limits.max);
  return {excluded ? limits.max_excluded : limits.max, excluded};
}

std::string Alternatives(const std::vector<std::string>& alternatives) {
  if (alternatives.empty()) {
    return "";
  }
  std::string text = "(";
  for (const std::string& alternative : alternatives) {
    text += StrCat(text.size() > 1 ? " | " : "", alternative);
  }
  return text + ")";
}

std::string AnyDigits(size_t count) { return count == 0 ? "" : StrCat(" [0-9]{", count, "}"); }

bool IsAll(std::string_view digits, char digit) {
  return digits.find_first_not_of(digit) == digits.npos;
}

// Numbers of as many digits as both ends, leading zeros included.
std::string SameLength(std::string_view low, std::string_view high) {
  size_t shared = 0;
  while (shared < low.size() && low[shared] == high[shared]) {
    ++shared;
  }
  const std::string prefix = shared == 0 ? "" : StrCat("\"", low.substr(0, shared), "\" ");
  low.remove_prefix(shared);
  high.remove_prefix(shared);
  if (low.empty()) {
    return prefix;
  }
  // At the first digit that differs: as the lower end, between, or as the upper end; an end that
  // leaves its other digits free belongs to those between.
  const size_t behind = low.size() - 1;
  char first = low[0];
  char last = high[0];
  std::vector<std::string> alternatives;
  if (!IsAll(low.substr(1), '0')) {
    alternatives.push_back(
        StrCat("\"", first, "\" ", SameLength(low.substr(1), std::string(behind, '9'))));
    ++first;
  }
  const bool upper_end_apart = !IsAll(high.substr(1), '9');
  if (upper_end_apart) {
    --last;
  }
  if (first <= last) {
    alternatives.push_back(StrCat("[", first, "-", last, "]", AnyDigits(behind)));
  }
  if (upper_end_apart) {
    alternatives.push_back(
        StrCat("\"", high[0], "\" ", SameLength(std::string(behind, '0'), high.substr(1))));
  }
  return prefix + Alternatives(alternatives);
}

// Whole numbers from low to high, which is not below, without leading zeros.
std::string Unsigned(uint64_t low, uint64_t high) {
  std::vector<std::string> alternatives;
  if (low == 0) {
    alternatives.push_back("\"0\"");
    low = 1;
  }
  size_t free_min = 0;  // numbers of free_min to free_max digits are all within
  size_t free_max = 0;
  uint64_t start = 1;  // the first number of `digits` digits
  for (size_t digits = 1; digits <= 19 && start <= high; ++digits, start *= 10) {
    const uint64_t end = start * 9 + (start - 1);
    const uint64_t first = std::max(low, start);
    const uint64_t last = std::min(high, end);
    if (first == start && last == end) {
      free_min = free_min == 0 ? digits : free_min;
      free_max = digits;
    } else if (first <= last) {
      alternatives.push_back(SameLength(StrCat(first), StrCat(last)));
    }
  }
  if (free_max > 0) {
    alternatives.push_back(StrCat("[1-9] [0-9]{", free_min - 1, ",", free_max - 1, "}"));
  }
  return Alternatives(alternatives);
}

// Numbers from low to high, with a fraction or not. Empty: there is none.
std::string UnsignedFractions(uint64_t low, bool low_excluded, std::optional<uint64_t> high,
                              bool high_excluded, int fraction_digits) {
  const std::string fraction = StrCat(" (\".\" [0-9]{1,", fraction_digits, "})?");
  std::vector<std::string> alternatives;
  const auto add_whole = [&](uint64_t first, uint64_t last) {
    if (first <= last) {
      alternatives.push_back(Unsigned(first, last) + fraction);
    }
  };
  if (low_excluded && (!high.has_value() || low < *high)) {
    for (int zeros = 0; zeros < fraction_digits; ++zeros) {  // behind the point, then another digit
      alternatives.push_back(StrCat("\"", low, ".", std::string(static_cast<size_t>(zeros), '0'),
                                    "\" [1-9] [0-9]{0,", fraction_digits - 1 - zeros, "}"));
    }
  }
  if (!high.has_value()) {
    add_whole(low_excluded ? low + 1 : low, kIntegerMax);
    return Alternatives(alternatives);
  }
  if (*high > 0) {
    add_whole(low_excluded ? low + 1 : low, *high - 1);
  }
  if (!high_excluded && (low < *high || (low == *high && !low_excluded))) {
    alternatives.push_back(StrCat("\"", *high, "\" (\".\" \"0\"{1,", fraction_digits, "})?"));
  }
  return Alternatives(alternatives);
}

}  // namespace

absl::StatusOr<std::string> JsonIntegerGbnf(const JsonNumberLimits& limits) {
  const Limit lower = Lower(limits);
  const Limit upper = Upper(limits);
  for (const Limit& limit : {lower, upper}) {
    if (limit.value.has_value() && std::abs(*limit.value) >= kWholeLimitMax) {
      return absl::InvalidArgumentError(
          "limits of whole numbers are supported within 2^53 only, where they are exact");
    }
  }
  auto min = -static_cast<int64_t>(kIntegerMax);
  auto max = static_cast<int64_t>(kIntegerMax);
  if (lower.value.has_value()) {
    const double least = std::ceil(*lower.value);
    min = static_cast<int64_t>(least) + (lower.excluded && least == *lower.value ? 1 : 0);
  }
  if (upper.value.has_value()) {
    const double most = std::floor(*upper.value);
    max = static_cast<int64_t>(most) - (upper.excluded && most == *upper.value ? 1 : 0);
  }
  if (min > max) {
    return NoNumber();
  }
  std::vector<std::string> alternatives;
  if (min < 0) {
    alternatives.push_back("\"-\" " + Unsigned(static_cast<uint64_t>(max < 0 ? -max : 1),
                                               static_cast<uint64_t>(-min)));
  }
  if (max >= 0) {
    alternatives.push_back(
        Unsigned(static_cast<uint64_t>(std::max<int64_t>(min, 0)), static_cast<uint64_t>(max)));
  }
  return Alternatives(alternatives);
}

absl::StatusOr<std::string> JsonNumberGbnf(const JsonNumberLimits& limits) {
  const Limit lower = Lower(limits);
  const Limit upper = Upper(limits);
  double largest = 0;
  for (const Limit& limit : {lower, upper}) {
    if (!limit.value.has_value()) {
      continue;
    }
    if (std::floor(*limit.value) != *limit.value || std::abs(*limit.value) > kNumberLimitMax) {
      return absl::InvalidArgumentError(
          StrCat("the limit ", *limit.value,
                 " of a number that need not be whole: only whole limits within 10^9 are "
                 "supported"));
    }
    largest = std::max(largest, std::abs(*limit.value));
  }
  const int fraction_digits = largest <= 1 ? 15 : 6;
  const auto magnitude = [](const Limit& limit) -> std::optional<uint64_t> {
    return limit.value.has_value() ? std::optional(static_cast<uint64_t>(std::abs(*limit.value)))
                                   : std::nullopt;
  };
  std::vector<std::string> alternatives;
  if (lower.value.has_value() && upper.value.has_value() && *lower.value > *upper.value) {
    return NoNumber();
  }
  if (!lower.value.has_value() || *lower.value < 0) {
    const bool below_zero = upper.value.has_value() && *upper.value <= 0;
    const std::string negative =
        UnsignedFractions(below_zero ? *magnitude(upper) : 0, below_zero && upper.excluded,
                          magnitude(lower), lower.excluded, fraction_digits);
    if (!negative.empty()) {
      alternatives.push_back("\"-\" " + negative);
    }
  }
  if (!upper.value.has_value() || *upper.value >= 0) {
    const bool above_zero = lower.value.has_value() && *lower.value >= 0;
    const std::string positive =
        UnsignedFractions(above_zero ? *magnitude(lower) : 0, above_zero && lower.excluded,
                          magnitude(upper), upper.excluded, fraction_digits);
    if (!positive.empty()) {
      alternatives.push_back(positive);
    }
  }
  if (alternatives.empty()) {
    return NoNumber();
  }
  return Alternatives(alternatives);
}

}  // namespace baton
