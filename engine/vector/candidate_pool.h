#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <limits>
#include <optional>
#include <span>
#include <vector>

namespace baton {

// A node that a walk has met. Smaller keys are nearer.
struct Candidate {
  float key = 0;
  uint32_t node = 0;
};

// The nearest candidates of a walk, sorted, in one array: that is quicker than heaps while they are
// few, since an insertion moves some hundred bytes at most and no branch depends on the data.
class LinearPool {
 public:
  // Memory of an earlier walk may be used again.
  LinearPool(int64_t capacity, std::vector<Candidate>& memory)
      : capacity_(static_cast<size_t>(capacity)), memory_(memory) {
    if (memory_.size() < capacity_ + 1) memory_.resize(capacity_ + 1);
  }

  bool Wants(float key) const { return size_ < capacity_ || key < memory_[size_ - 1].key; }
  // Not nearer than this is not wanted; infinite while there is room.
  float Farthest() const {
    return size_ < capacity_ ? std::numeric_limits<float>::infinity() : memory_[size_ - 1].key;
  }

  // Where Wants(key).
  void Add(float key, uint32_t node) {
    Candidate* const begin = memory_.data();
    // The first that is farther, found without a branch that depends on the keys.
    Candidate* at = begin;
    for (size_t rest = size_; rest > 0;) {
      const size_t half = (rest + 1) / 2;
      at += key < at[half - 1].key ? 0 : half;
      rest -= half;
    }
    const auto index = static_cast<size_t>(at - begin);
    std::memmove(at + 1, at, (size_ - index) * sizeof(Candidate));
    *at = {.key = key, .node = node};
    size_ = std::min(size_ + 1, capacity_);
    next_ = std::min(next_, index);
  }

  // The nearest candidate whose links were not followed yet; once each.
  std::optional<uint32_t> Next() {
    while (next_ < size_ && (memory_[next_].node & kTaken) != 0) ++next_;
    if (next_ == size_) return std::nullopt;
    const uint32_t node = memory_[next_].node;
    memory_[next_++].node |= kTaken;
    return node;
  }

  // All of them, the nearest first. The end of the walk.
  std::span<const Candidate> Finish() {
    for (size_t i = 0; i < size_; ++i) memory_[i].node &= ~kTaken;
    return {memory_.data(), size_};
  }

 private:
  static constexpr uint32_t kTaken = 1u << 31;  // nodes are fewer

  const size_t capacity_;
  std::vector<Candidate>& memory_;  // [capacity + 1]: one falls out behind the last
  size_t size_ = 0;
  size_t next_ = 0;  // all before it are taken
};

// The same with heaps, for walks that keep thousands.
class HeapPool {
 public:
  HeapPool(int64_t capacity, std::vector<Candidate>& memory)
      : capacity_(static_cast<size_t>(capacity)), nearest_(memory) {
    nearest_.clear();
  }

  bool Wants(float key) const { return nearest_.size() < capacity_ || key < nearest_.front().key; }
  float Farthest() const {
    return nearest_.size() < capacity_ ? std::numeric_limits<float>::infinity()
                                       : nearest_.front().key;
  }

  void Add(float key, uint32_t node) {
    if (nearest_.size() == capacity_) {
      std::pop_heap(nearest_.begin(), nearest_.end(), Nearer);
      nearest_.pop_back();
    }
    nearest_.push_back({.key = key, .node = node});
    std::push_heap(nearest_.begin(), nearest_.end(), Nearer);
    to_follow_.push_back({.key = key, .node = node});
    std::push_heap(to_follow_.begin(), to_follow_.end(), Farther);
  }

  std::optional<uint32_t> Next() {
    if (to_follow_.empty() ||
        (nearest_.size() == capacity_ && to_follow_.front().key > nearest_.front().key)) {
      return std::nullopt;
    }
    std::pop_heap(to_follow_.begin(), to_follow_.end(), Farther);
    const uint32_t node = to_follow_.back().node;
    to_follow_.pop_back();
    return node;
  }

  std::span<const Candidate> Finish() {
    std::sort(nearest_.begin(), nearest_.end(), Nearer);
    return nearest_;
  }

 private:
  static bool Nearer(const Candidate& a, const Candidate& b) {
    return a.key < b.key || (a.key == b.key && a.node < b.node);
  }
  static bool Farther(const Candidate& a, const Candidate& b) { return Nearer(b, a); }

  const size_t capacity_;
  std::vector<Candidate>& nearest_;   // the farthest in front
  std::vector<Candidate> to_follow_;  // the nearest in front
};

}  // namespace baton
