#include "engine/vector/field_column.h"

#include <algorithm>
#include <numeric>
#include <string>
#include <tuple>
#include <utility>
#include <variant>

#include "absl/container/flat_hash_map.h"

namespace baton {

// ---- Building

// Gives each value a number, in the order of their coming.
class FieldColumn::Builder::Numbering {
 public:
  explicit Numbering(PayloadIndexKind kind) {
    std::visit(
        [this](const auto& empty) {
          using T = typename std::decay_t<decltype(empty)>::value_type;
          numbers_.emplace<absl::flat_hash_map<T, uint32_t>>();
        },
        EmptyValues(kind));
  }

  template <class T>
  uint32_t NumberOf(const T& value) {
    auto& numbers = std::get<absl::flat_hash_map<T, uint32_t>>(numbers_);
    return numbers.try_emplace(value, static_cast<uint32_t>(numbers.size())).first->second;
  }

  // The values in their order, and for each number that was given its place among them.
  ValueList Sort(std::vector<uint32_t>* places) const {
    return std::visit(
        [places](const auto& numbers) -> ValueList {
          using T = typename std::decay_t<decltype(numbers)>::key_type;
          std::vector<std::pair<T, uint32_t>> sorted(numbers.begin(), numbers.end());
          std::sort(sorted.begin(), sorted.end());
          places->resize(sorted.size());
          std::vector<T> values;
          values.reserve(sorted.size());
          for (auto& [value, number] : sorted) {
            (*places)[number] = static_cast<uint32_t>(values.size());
            values.push_back(std::move(value));
          }
          return values;
        },
        numbers_);
  }

 private:
  std::variant<absl::flat_hash_map<int64_t, uint32_t>, absl::flat_hash_map<double, uint32_t>,
               absl::flat_hash_map<std::string, uint32_t>>
      numbers_;
};

FieldColumn::Builder::Builder(PayloadIndexKind kind, int64_t rows)
    : rows_(rows), numbering_(std::make_unique<Numbering>(kind)) {}

FieldColumn::Builder::~Builder() = default;
FieldColumn::Builder::Builder(Builder&&) noexcept = default;

void FieldColumn::Builder::Add(int64_t row, const FieldValues& values) {
  offsets_.resize(static_cast<size_t>(row) + 1, static_cast<uint32_t>(values_.size()));
  counts_.resize(static_cast<size_t>(row), 0);
  std::visit(
      [this](const auto& list) {
        for (const auto& value : list) values_.push_back(numbering_->NumberOf(value));
      },
      values.values);
  if (!values.frequencies.empty()) {
    frequencies_.resize(values_.size() - values.frequencies.size(), 1);
    for (const uint32_t count : values.frequencies) {
      frequencies_.push_back(static_cast<uint16_t>(count));
    }
  }
  offsets_.push_back(static_cast<uint32_t>(values_.size()));
  counts_.push_back(values.count);
}

void FieldColumn::Builder::SortRow(size_t begin, size_t end) {
  if (frequencies_.empty()) {
    std::sort(values_.data() + begin, values_.data() + end);
    return;
  }
  std::vector<std::pair<uint32_t, uint16_t>> sorted;
  for (size_t i = begin; i < end; ++i) sorted.emplace_back(values_[i], frequencies_[i]);
  std::sort(sorted.begin(), sorted.end());
  for (size_t i = begin; i < end; ++i) {
    std::tie(values_[i], frequencies_[i]) = sorted[i - begin];
  }
}

FieldColumn FieldColumn::Builder::Finish() && {
  offsets_.resize(static_cast<size_t>(rows_) + 1, static_cast<uint32_t>(values_.size()));
  counts_.resize(static_cast<size_t>(rows_), 0);
  std::vector<uint32_t> places;
  ValueList values = numbering_->Sort(&places);
  for (uint32_t& value : values_) value = places[value];
  if (!frequencies_.empty()) frequencies_.resize(values_.size(), 1);
  for (size_t row = 0; row < counts_.size(); ++row) SortRow(offsets_[row], offsets_[row + 1]);
  return {std::move(values),
          {.offsets = std::move(offsets_),
           .values = std::move(values_),
           .frequencies = std::move(frequencies_),
           .counts = std::move(counts_)}};
}

FieldColumn::FieldColumn(ValueList values, Rows rows) : values_(std::move(values)) {
  const size_t row_count = rows.offsets.size() - 1;
  const bool repeated = !rows.frequencies.empty();
  if (repeated) {
    lengths_.resize(row_count);
    frequencies_.resize(rows.values.size());
  }
  bool single = true;
  bool counted = true;  // by their values
  for (size_t row = 0; row < row_count; ++row) {
    const uint32_t size = rows.offsets[row + 1] - rows.offsets[row];
    uint32_t length = size;
    if (repeated) {
      length = 0;
      for (uint32_t i = rows.offsets[row]; i < rows.offsets[row + 1]; ++i) {
        length += rows.frequencies[i];
      }
      lengths_[row] = length;
    }
    total_length_ += length;
    rows_with_values_ += size > 0 ? 1 : 0;
    single = single && size <= 1;
    counted = counted && (rows.counts.empty() || size == rows.counts[row]);
  }
  const size_t value_count = std::visit([](const auto& list) { return list.size(); }, values_);
  starts_.assign(value_count + 1, 0);
  for (const uint32_t value : rows.values) ++starts_[value + 1];
  std::partial_sum(starts_.begin(), starts_.end(), starts_.begin());
  postings_.resize(rows.values.size());
  std::vector<uint32_t> next(starts_.begin(), starts_.end() - 1);
  for (size_t row = 0; row < row_count; ++row) {
    for (uint32_t i = rows.offsets[row]; i < rows.offsets[row + 1]; ++i) {
      const uint32_t at = next[rows.values[i]]++;
      postings_[at] = static_cast<uint32_t>(row);
      if (repeated) frequencies_[at] = rows.frequencies[i];
    }
  }
  if (!counted) counts_ = std::move(rows.counts);
  if (single && row_count > 0) {
    single_.assign(row_count, kNone);
    for (size_t row = 0; row < row_count; ++row) {
      if (rows.offsets[row] < rows.offsets[row + 1]) single_[row] = rows.values[rows.offsets[row]];
    }
  } else {
    offsets_ = std::move(rows.offsets);
    row_values_ = std::move(rows.values);
  }
}

FieldValues FieldColumn::Get(int64_t row) const {
  FieldValues found;
  found.count = static_cast<uint32_t>(CountOf(row));
  std::visit(
      [&](const auto& values) {
        std::decay_t<decltype(values)> list;
        for (const uint32_t value : ValuesOf(row)) list.push_back(values[value]);
        found.values = std::move(list);
      },
      values_);
  if (!frequencies_.empty() && LengthOf(row) > ValuesOf(row).size()) {
    for (const uint32_t value : ValuesOf(row)) {
      const auto rows = Postings(value, value + 1);
      const auto at = std::lower_bound(rows.begin(), rows.end(), static_cast<uint32_t>(row));
      found.frequencies.push_back(Frequencies(value, value + 1)[at - rows.begin()]);
    }
  }
  return found;
}

// ---- Testing

namespace {

// More wanted values than this are kept as bits: cheaper to ask than searching the list.
constexpr size_t kListMax = 8;

}  // namespace

ColumnTest::ColumnTest(const FieldTest& test, const FieldColumn& column)
    : column_(column), kind_(test.kind) {
  if (kind_ == FieldTest::Kind::kCount) {
    count_low_ = test.integer_low;
    count_high_ = test.integer_high;
    estimate_ = column.rows() / 2;
    return;
  }
  if (kind_ == FieldTest::Kind::kInterval) {
    consecutive_ = true;
    if (const auto* integers = std::get_if<std::vector<int64_t>>(&column.values())) {
      low_ = static_cast<uint32_t>(
          std::lower_bound(integers->begin(), integers->end(), test.integer_low) -
          integers->begin());
      high_ = static_cast<uint32_t>(
          std::upper_bound(integers->begin(), integers->end(), test.integer_high) -
          integers->begin());
    } else if (const auto* numbers = std::get_if<std::vector<double>>(&column.values())) {
      low_ = static_cast<uint32_t>(
          std::lower_bound(numbers->begin(), numbers->end(), test.number_low) - numbers->begin());
      high_ = static_cast<uint32_t>(
          std::upper_bound(numbers->begin(), numbers->end(), test.number_high) - numbers->begin());
    }
    high_ = std::max(low_, high_);
  } else {
    size_t asked = 0;
    std::visit(
        [&](const auto& values) {
          const auto& wanted = std::get<std::decay_t<decltype(values)>>(test.values);
          asked = wanted.size();
          for (const auto& value : wanted) {
            const auto found = std::lower_bound(values.begin(), values.end(), value);
            if (found == values.end() || *found != value) continue;
            wanted_.push_back(static_cast<uint32_t>(found - values.begin()));
          }
        },
        column.values());
    nothing_ = kind_ == FieldTest::Kind::kAllOf && wanted_.size() < asked;
    if (kind_ == FieldTest::Kind::kAnyOf && wanted_.size() <= 1) {
      consecutive_ = true;
      low_ = wanted_.empty() ? 0 : wanted_.front();
      high_ = wanted_.empty() ? 0 : low_ + 1;
    }
    if (wanted_.size() > kListMax) {
      bits_.resize(static_cast<size_t>(column.value_count() + 63) / 64);
      for (const uint32_t value : wanted_) bits_[value / 64] |= uint64_t{1} << value % 64;
    }
  }

  const auto rows_of = [&column](uint32_t first, uint32_t end) {
    return std::ssize(column.Postings(first, end));
  };
  has_postings_ = true;
  if (nothing_) return;
  if (consecutive_) {
    ranges_ = {{low_, high_}};
    single_value_ = high_ - low_ <= 1;
    estimate_ = rows_of(low_, high_);
    return;
  }
  int64_t sum = 0;
  std::pair<uint32_t, uint32_t> fewest;  // of kAllOf
  int64_t fewest_rows = INT64_MAX;
  for (const uint32_t value : wanted_) {
    const int64_t rows = rows_of(value, value + 1);
    sum += rows;
    if (kind_ == FieldTest::Kind::kAnyOf) ranges_.emplace_back(value, value + 1);
    if (rows >= fewest_rows) continue;
    fewest_rows = rows;
    fewest = {value, value + 1};
  }
  const int64_t all = rows_of(0, static_cast<uint32_t>(column.value_count()));
  if (kind_ == FieldTest::Kind::kNoneOf) {
    uint32_t first = 0;  // of the values between those that are not wanted
    for (const uint32_t value : wanted_) {
      ranges_.emplace_back(first, value);
      first = value + 1;
    }
    ranges_.emplace_back(first, static_cast<uint32_t>(column.value_count()));
    estimate_ = std::min(all - sum, column.rows());
  } else if (kind_ == FieldTest::Kind::kAllOf) {
    ranges_ = {fewest};
    single_value_ = true;
    estimate_ = fewest_rows;
  } else {
    estimate_ = std::min(sum, column.rows());
  }
}

bool ColumnTest::IsWanted(uint32_t value) const {
  if (consecutive_) return value - low_ < high_ - low_;
  if (!bits_.empty()) return (bits_[value / 64] >> value % 64 & 1) != 0;
  return std::find(wanted_.begin(), wanted_.end(), value) != wanted_.end();
}

bool ColumnTest::Matches(int64_t row) const {
  if (consecutive_ && column_.has_single_values()) {
    return column_.single()[row] - low_ < high_ - low_;  // kNone is past any value
  }
  if (kind_ == FieldTest::Kind::kCount) {
    const int64_t count = column_.CountOf(row);
    return count_low_ <= count && count <= count_high_;
  }
  const std::span<const uint32_t> values = column_.ValuesOf(row);
  if (kind_ == FieldTest::Kind::kAllOf) {
    return !nothing_ && std::includes(values.begin(), values.end(), wanted_.begin(), wanted_.end());
  }
  const bool wanted = kind_ != FieldTest::Kind::kNoneOf;
  return std::any_of(values.begin(), values.end(),
                     [this, wanted](uint32_t value) { return IsWanted(value) == wanted; });
}

}  // namespace baton
