// A column of an index as bytes: a byte of marks, its values (u32 how many), each row's numbers of
// them, and where they are not what those say, counts and frequencies. What is by value is made
// anew.
#include <algorithm>
#include <string>
#include <utility>
#include <variant>

#include "engine/vector/field_column.h"

namespace baton {
namespace {

enum Marks : uint8_t { kSingle = 1, kCounted = 2, kRepeated = 4 };

void AppendValues(std::string& out, const ValueList& values) {
  std::visit(
      [&out](const auto& list) {
        AppendNumber(out, static_cast<uint32_t>(list.size()));
        if constexpr (std::is_same_v<std::decay_t<decltype(list)>, std::vector<std::string>>) {
          for (const std::string& text : list) AppendText(out, text);
        } else {
          AppendNumbers(out, list);
        }
      },
      values);
}

// Ascending and distinct; NaN is not.
std::optional<ValueList> TakeValueList(ByteReader& reader, PayloadIndexKind kind) {
  const auto count = reader.Take<uint32_t>();
  if (!count.has_value()) return std::nullopt;
  ValueList values = EmptyValues(kind);
  const bool whole = std::visit(
      [&](auto& list) {
        using T = typename std::decay_t<decltype(list)>::value_type;
        if constexpr (std::is_same_v<T, std::string>) {
          for (uint32_t i = 0; i < *count; ++i) {
            std::optional<std::string> text = reader.TakeText();
            if (!text.has_value()) return false;
            list.push_back(*std::move(text));
          }
        } else {
          auto numbers = reader.TakeMany<T>(*count);
          if (!numbers.has_value()) return false;
          list = *std::move(numbers);
          if (list.size() == 1 && !(list[0] == list[0])) return false;
        }
        for (size_t i = 1; i < list.size(); ++i) {
          if (!(list[i - 1] < list[i])) return false;
        }
        return true;
      },
      values);
  if (!whole) return std::nullopt;
  return values;
}

}  // namespace

void FieldColumn::AppendTo(std::string& out) const {
  const int marks = (single_.empty() ? 0 : kSingle) | (counts_.empty() ? 0 : kCounted) |
                    (frequencies_.empty() ? 0 : kRepeated);
  AppendNumber(out, static_cast<uint8_t>(marks));
  AppendValues(out, values_);
  if (!single_.empty()) {
    AppendNumbers(out, single_);
  } else {
    AppendNumbers(out, offsets_);
    AppendNumbers(out, row_values_);
  }
  AppendNumbers(out, counts_);
  if (frequencies_.empty()) return;
  // From the order of postings to that of rows, whose values ascend.
  std::vector<uint32_t> next = {0};
  for (int64_t row = 0; row < rows(); ++row) {
    next.push_back(next.back() + static_cast<uint32_t>(ValuesOf(row).size()));
  }
  std::vector<uint16_t> by_row(frequencies_.size());
  for (size_t i = 0; i < postings_.size(); ++i) by_row[next[postings_[i]]++] = frequencies_[i];
  AppendNumbers(out, by_row);
}

std::optional<FieldColumn> FieldColumn::Take(ByteReader& reader, PayloadIndexKind kind,
                                             int64_t row_count) {
  const auto marks = reader.Take<uint8_t>();
  std::optional<ValueList> values;
  if (marks.has_value() && *marks < 2 * kRepeated) values = TakeValueList(reader, kind);
  if (!values.has_value() || row_count < 0) return std::nullopt;
  const size_t value_count = std::visit([](const auto& list) { return list.size(); }, *values);
  Rows rows;
  if ((*marks & kSingle) != 0) {
    const auto single = reader.TakeMany<uint32_t>(static_cast<size_t>(row_count));
    if (!single.has_value()) return std::nullopt;
    rows.offsets.reserve(single->size() + 1);
    rows.offsets.push_back(0);
    for (const uint32_t value : *single) {
      if (value != kNone) rows.values.push_back(value);
      rows.offsets.push_back(static_cast<uint32_t>(rows.values.size()));
    }
  } else {
    auto offsets = reader.TakeMany<uint32_t>(static_cast<size_t>(row_count) + 1);
    if (!offsets.has_value() || offsets->front() != 0 ||
        !std::is_sorted(offsets->begin(), offsets->end())) {
      return std::nullopt;
    }
    rows.offsets = *std::move(offsets);
    auto row_values = reader.TakeMany<uint32_t>(rows.offsets.back());
    if (!row_values.has_value()) return std::nullopt;
    rows.values = *std::move(row_values);
    for (size_t row = 0; row + 1 < rows.offsets.size(); ++row) {
      for (size_t i = rows.offsets[row] + size_t{1}; i < rows.offsets[row + 1]; ++i) {
        if (rows.values[i - 1] >= rows.values[i]) return std::nullopt;
      }
    }
  }
  const auto is_value = [value_count](uint32_t value) { return value < value_count; };
  if (!std::all_of(rows.values.begin(), rows.values.end(), is_value)) return std::nullopt;
  if ((*marks & kCounted) != 0) {
    auto counts = reader.TakeMany<uint32_t>(static_cast<size_t>(row_count));
    if (!counts.has_value()) return std::nullopt;
    rows.counts = *std::move(counts);
  }
  if ((*marks & kRepeated) != 0) {
    auto frequencies = reader.TakeMany<uint16_t>(rows.values.size());
    if (kind != PayloadIndexKind::kText || !frequencies.has_value() || frequencies->empty() ||
        std::count(frequencies->begin(), frequencies->end(), 0) > 0) {
      return std::nullopt;
    }
    rows.frequencies = *std::move(frequencies);
  }
  return FieldColumn(*std::move(values), std::move(rows));
}

}  // namespace baton
