#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "engine/vector/byte_codec.h"
#include "engine/vector/field_test.h"
#include "engine/vector/field_values.h"

namespace baton {

// One field's values of many rows: by row, and for each value the rows that have it. Values are
// numbered in their order. Immutable.
class FieldColumn {
 public:
  // Takes rows one after the other.
  class Builder {
   public:
    Builder(PayloadIndexKind kind, int64_t rows);
    ~Builder();
    Builder(Builder&&) noexcept;
    // Each row at most once, in ascending order; those left out have no values.
    void Add(int64_t row, const FieldValues& values);
    FieldColumn Finish() &&;

   private:
    class Numbering;
    // Values of one row, and their frequencies with them.
    void SortRow(size_t begin, size_t end);

    const int64_t rows_;
    std::unique_ptr<Numbering> numbering_;
    std::vector<uint32_t> offsets_ = {0};  // [rows so far + 1]
    std::vector<uint32_t> values_;         // numbered as they came
    std::vector<uint16_t> frequencies_;    // [as values_], or empty: all 1
    std::vector<uint32_t> counts_;         // [rows so far]
  };

  // As it is stored; what was stored of `rows` rows. Nothing where those bytes are no column.
  void AppendTo(std::string& out) const;
  static std::optional<FieldColumn> Take(ByteReader& reader, PayloadIndexKind kind, int64_t rows);

  int64_t rows() const { return std::ssize(single_) + std::ssize(offsets_) - 1; }
  const ValueList& values() const { return values_; }
  int64_t value_count() const { return std::ssize(starts_) - 1; }
  // The numbers of a row's values, ascending.
  std::span<const uint32_t> ValuesOf(int64_t row) const {
    if (single_.empty()) {
      return std::span(row_values_).subspan(offsets_[row], offsets_[row + 1] - offsets_[row]);
    }
    return {&single_[row], single_[row] == kNone ? size_t{0} : size_t{1}};
  }
  // Asks memory for where the values of a row are, or the one there is.
  void Prefetch(int64_t row) const {
    __builtin_prefetch(single_.empty() ? &offsets_[row] : &single_[row]);
  }
  int64_t CountOf(int64_t row) const {
    return counts_.empty() ? std::ssize(ValuesOf(row)) : int64_t{counts_[row]};
  }
  FieldValues Get(int64_t row) const;
  // The rows of values [first, end), those of each value ascending.
  std::span<const uint32_t> Postings(uint32_t first, uint32_t end) const {
    return std::span(postings_).subspan(starts_[first], starts_[end] - starts_[first]);
  }
  // How often those rows have it, in the same order; empty: once each.
  std::span<const uint16_t> Frequencies(uint32_t first, uint32_t end) const {
    if (frequencies_.empty()) return {};
    return std::span(frequencies_).subspan(starts_[first], starts_[end] - starts_[first]);
  }
  // Of kText: a row's words, each as often as it is there (FieldValues::Length).
  uint32_t LengthOf(int64_t row) const {
    return lengths_.empty() ? static_cast<uint32_t>(ValuesOf(row).size()) : lengths_[row];
  }
  // Of all rows; how many rows have a value.
  int64_t total_length() const { return total_length_; }
  int64_t rows_with_values() const { return rows_with_values_; }
  bool has_single_values() const { return !single_.empty(); }
  // [rows] where each has at most one; kNone: none.
  const std::vector<uint32_t>& single() const { return single_; }

  static constexpr uint32_t kNone = UINT32_MAX;

 private:
  friend class Builder;
  // What all else is made of.
  struct Rows {
    std::vector<uint32_t> offsets;      // [rows + 1]
    std::vector<uint32_t> values;       // of all rows, each row's ascending and distinct
    std::vector<uint16_t> frequencies;  // [as values], or empty: all 1
    std::vector<uint32_t> counts;       // [rows], or empty: as many as there are values
  };
  FieldColumn(ValueList values, Rows rows);

  ValueList values_;                     // ascending
  std::vector<uint32_t> single_;         // [rows], or empty where a row has several values:
  std::vector<uint32_t> offsets_ = {0};  // [rows + 1]
  std::vector<uint32_t> row_values_;     // [all values of all rows]
  std::vector<uint32_t> counts_;         // [rows], or empty where that is the number of values
  std::vector<uint32_t> starts_ = {0};   // [values + 1]
  std::vector<uint32_t> postings_;       // [all values of all rows]
  std::vector<uint16_t> frequencies_;    // [as postings_], or empty where all are 1; then so is
  std::vector<uint32_t> lengths_;        // [rows]
  int64_t total_length_ = 0;
  int64_t rows_with_values_ = 0;
};

// A test of a field, in a column's numbers. The column outlives it.
class ColumnTest {
 public:
  ColumnTest(const FieldTest& test, const FieldColumn& column);

  bool Matches(int64_t row) const;
  // Asks memory for what Matches looks at first.
  void Prefetch(int64_t row) const { column_.Prefetch(row); }
  // About how many rows match, dead ones too; at least as many as do where has_postings().
  int64_t Estimate() const { return estimate_; }
  // Whether ForEachRow yields a superset of the rows that match; else only Matches tells them.
  bool has_postings() const { return has_postings_; }
  // Spans of rows that make up the superset.
  template <class Visit>
  void ForEachRow(Visit visit) const {
    for (const auto& [first, end] : ranges_) visit(column_.Postings(first, end));
  }
  // The superset is in order, each row once.
  bool yields_in_order() const { return single_value_; }
  // The superset is what matches.
  bool yields_exactly() const { return kind_ != FieldTest::Kind::kAllOf || wanted_.size() == 1; }

 private:
  bool IsWanted(uint32_t value) const;

  const FieldColumn& column_;
  FieldTest::Kind kind_ = FieldTest::Kind::kAnyOf;
  std::vector<uint32_t> wanted_;  // ascending
  std::vector<uint64_t> bits_;    // the same as a bit per value, where they are many
  std::vector<std::pair<uint32_t, uint32_t>> ranges_;  // of the values that have the superset
  uint32_t low_ = 0;  // values [low, high) where they are consecutive
  uint32_t high_ = 0;
  bool consecutive_ = false;
  bool has_postings_ = false;
  bool single_value_ = false;
  bool nothing_ = false;  // matches no row
  int64_t count_low_ = 0;
  int64_t count_high_ = 0;
  int64_t estimate_ = 0;
};

}  // namespace baton
