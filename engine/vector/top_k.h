#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <utility>
#include <vector>

#include "engine/vector/collection_view.h"

namespace baton {

// The k smallest neighbors seen, of `points` at most, that are not farther than `farthest`.
class TopK {
 public:
  TopK(int32_t k, int64_t points, float farthest = std::numeric_limits<float>::infinity())
      : k_(static_cast<size_t>(std::min<int64_t>(k, points))), farthest_(farthest) {}

  bool Wants(const Neighbor& neighbor) const {
    if (neighbor.distance > farthest_) return false;
    return heap_.size() < k_ || (k_ > 0 && neighbor < heap_.front());
  }

  void Add(const Neighbor& neighbor) {
    if (!Wants(neighbor)) return;
    if (heap_.size() == k_) {
      std::pop_heap(heap_.begin(), heap_.end());
      heap_.pop_back();
    }
    heap_.push_back(neighbor);
    std::push_heap(heap_.begin(), heap_.end());
  }

  // Once there are k, what comes must be before this one.
  const Neighbor* last() const { return heap_.size() == k_ && k_ > 0 ? &heap_.front() : nullptr; }

  int64_t k() const { return static_cast<int64_t>(k_); }
  // What is farther than this is not wanted.
  float farthest() const { return last() != nullptr ? last()->distance : farthest_; }

  std::vector<Neighbor> Take() {
    std::sort_heap(heap_.begin(), heap_.end());
    return std::move(heap_);
  }

 private:
  const size_t k_;
  const float farthest_;
  std::vector<Neighbor> heap_;  // the farthest in front
};

}  // namespace baton
