#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <span>
#include <vector>

#include "engine/vector/candidate_pool.h"

namespace baton {

// The nearest candidates of a scan, in no order until the end: it keeps up to twice as many as are
// asked for, then drops the farther half, which costs a few steps for each candidate however many
// there are. Which ones are kept does not depend on the order they came in: (key, node) decides.
class Reservoir {
 public:
  // Memory of an earlier scan may be used again. `capacity` is at least 1.
  Reservoir(size_t capacity, std::vector<Candidate>& memory)
      : capacity_(capacity), candidates_(memory) {
    candidates_.clear();
  }

  // Candidates whose keys are not below it need not be added.
  float bound() const { return bound_; }
  size_t size() const { return candidates_.size(); }

  void Add(const Candidate& candidate) {
    candidates_.push_back(candidate);
    if (candidates_.size() < 2 * capacity_) return;
    Cut();
    // The last one kept; of its equals one with a smaller node may still come.
    const float last = candidates_[capacity_ - 1].key;
    bound_ = std::nextafter(last, std::numeric_limits<float>::infinity());
  }

  // The nearest ones, at most the capacity, the nearest first.
  std::span<const Candidate> Finish() {
    if (candidates_.size() > capacity_) Cut();
    std::sort(candidates_.begin(), candidates_.end(), Nearer);
    return candidates_;
  }

 private:
  static bool Nearer(const Candidate& a, const Candidate& b) {
    return a.key < b.key || (a.key == b.key && a.node < b.node);
  }
  void Cut() {
    const auto last = candidates_.begin() + static_cast<std::ptrdiff_t>(capacity_) - 1;
    std::nth_element(candidates_.begin(), last, candidates_.end(), Nearer);
    candidates_.resize(capacity_);
  }

  const size_t capacity_;
  std::vector<Candidate>& candidates_;
  float bound_ = std::numeric_limits<float>::infinity();
};

}  // namespace baton
