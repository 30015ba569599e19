#pragma once

#include <cstddef>
#include <cstdint>
#include <iterator>
#include <vector>

#include "engine/base/point_id.h"

namespace baton {

// Ids where they lie: the lower halves of all, and the upper halves, if any is a UUID.
class PointIds {
 public:
  // lower, upper: [count]; upper null: all zero
  PointIds(const uint64_t* lower, const uint64_t* upper, int64_t count)
      : lower_(lower), upper_(upper), count_(count) {}
  PointIds() = default;

  int64_t size() const { return count_; }
  PointId operator[](int64_t i) const {
    return MakePointId(upper_ == nullptr ? 0 : upper_[i], lower_[i]);
  }
  // From the i-th on.
  PointIds From(int64_t i, int64_t count) const {
    return {lower_ + i, upper_ == nullptr ? nullptr : upper_ + i, count};
  }
  // Null: all are numbers.
  const uint64_t* upper() const { return upper_; }
  const uint64_t* lower() const { return lower_; }
  // Where they ascend: how many are below `id`.
  int64_t CountBelow(PointId id) const {
    int64_t begin = 0;
    for (int64_t left = count_; left > 0;) {
      const int64_t half = left / 2;
      if ((*this)[begin + half] < id) {
        begin += half + 1;
        left -= half + 1;
      } else {
        left = half;
      }
    }
    return begin;
  }

  class Iterator {
   public:
    using iterator_category = std::input_iterator_tag;
    using value_type = PointId;
    using difference_type = std::ptrdiff_t;
    using pointer = const PointId*;
    using reference = PointId;
    Iterator(const PointIds& ids, int64_t at) : ids_(&ids), at_(at) {}
    PointId operator*() const { return (*ids_)[at_]; }
    Iterator& operator++() {
      ++at_;
      return *this;
    }
    friend bool operator==(const Iterator& a, const Iterator& b) { return a.at_ == b.at_; }

   private:
    const PointIds* ids_;
    int64_t at_;
  };
  // Valid as long as this view.
  Iterator begin() const { return {*this, 0}; }
  Iterator end() const { return {*this, count_}; }

 private:
  const uint64_t* lower_ = nullptr;
  const uint64_t* upper_ = nullptr;
  int64_t count_ = 0;
};

// Ids in memory of their own: 8 bytes each while all are numbers.
class PointIdList {
 public:
  void reserve(size_t count) { lower_.reserve(count); }
  void push_back(PointId id) {
    if (IsUuid(id) && upper_.empty()) upper_.resize(lower_.size());
    lower_.push_back(LowerHalf(id));
    if (IsUuid(id) || !upper_.empty()) upper_.push_back(UpperHalf(id));
  }
  size_t size() const { return lower_.size(); }
  PointId operator[](size_t i) const { return view()[static_cast<int64_t>(i)]; }
  // Valid until the list changes.
  PointIds view() const {
    return {lower_.data(), upper_.empty() ? nullptr : upper_.data(),
            static_cast<int64_t>(lower_.size())};
  }

 private:
  std::vector<uint64_t> lower_;
  std::vector<uint64_t> upper_;  // [ids], or none
};

}  // namespace baton
