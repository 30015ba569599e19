#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

namespace baton {

// How much of a squared distance lies in the first part of the values, as nodes have it that a
// search wanted: what tells of a part alone whether a node is too far. An estimate, since nodes
// differ.
class PartRatio {
 public:
  // Where the ratio is below `least` on average, the part tells too little. Of a normal
  // distribution one in 44 is more than two deviations above the mean, one in 741 three.
  explicit PartRatio(float least, float deviations = 2) : least_(least), deviations_(deviations) {}

  // part <= whole, but for rounding; both are squared distances.
  void Add(float part, float whole) {
    if (!(whole > 0)) return;
    const float ratio = part / whole;
    ++count_;
    sum_ += ratio;
    squares_ += ratio * ratio;
  }

  bool Tells() const { return count_ >= kCountMin && Mean() >= least_; }
  // Where it tells: the part of a node at this distance is hardly ever larger.
  float LargestPart(float whole) const {
    const float mean = Mean();
    const float variance = std::max(0.0f, squares_ / static_cast<float>(count_) - mean * mean);
    return whole * std::min(1.0f, mean + deviations_ * std::sqrt(variance));
  }

 private:
  static constexpr int64_t kCountMin = 8;

  float Mean() const { return sum_ / static_cast<float>(count_); }

  const float least_;
  const float deviations_;
  int64_t count_ = 0;
  float sum_ = 0;
  float squares_ = 0;
};

}  // namespace baton
