#include "engine/vector/candidate_pool.h"

#include <algorithm>
#include <cstdint>
#include <limits>
#include <optional>
#include <random>
#include <span>
#include <utility>
#include <vector>

#include "catch2/catch.hpp"

namespace baton {
namespace {

// Every candidate that was ever offered, sorted: what a pool is to be like.
class PlainPool {
 public:
  explicit PlainPool(size_t capacity) : capacity_(capacity) {}

  void Offer(float key, uint32_t node) {
    const auto farther = std::find_if(all_.begin(), all_.end(),
                                      [key](const Entry& entry) { return entry.key > key; });
    all_.insert(farther, {key, node, false});
    if (all_.size() > capacity_) all_.pop_back();
  }
  std::optional<float> NextKey() {
    for (Entry& entry : all_) {
      if (!std::exchange(entry.taken, true)) return entry.key;
    }
    return std::nullopt;
  }
  float Farthest() const {
    return all_.size() < capacity_ ? std::numeric_limits<float>::infinity() : all_.back().key;
  }
  std::vector<std::pair<float, uint32_t>> Finish() const {
    std::vector<std::pair<float, uint32_t>> found;
    for (const Entry& entry : all_) found.emplace_back(entry.key, entry.node);
    return found;
  }

 private:
  struct Entry {
    float key;
    uint32_t node;
    bool taken;
  };

  const size_t capacity_;
  std::vector<Entry> all_;
};

std::vector<std::pair<float, uint32_t>> Pairs(std::span<const Candidate> candidates) {
  std::vector<std::pair<float, uint32_t>> pairs;
  for (const Candidate& candidate : candidates) pairs.emplace_back(candidate.key, candidate.node);
  return pairs;
}

template <class Pool>
void CompareWithPlain(size_t capacity, int distinct_keys, bool in_order) {
  CAPTURE(capacity, distinct_keys);
  std::mt19937 random(static_cast<uint32_t>(capacity * 31 + static_cast<size_t>(distinct_keys)));
  std::vector<Candidate> memory(3);  // of an earlier walk
  Pool pool(static_cast<int64_t>(capacity), memory);
  PlainPool plain(capacity);
  std::vector<float> key_of;
  for (uint32_t node = 0; node < 400; ++node) {
    const float key = static_cast<float>(
        static_cast<int>(random() % static_cast<uint32_t>(distinct_keys)) - distinct_keys / 2);
    key_of.push_back(key);
    REQUIRE(pool.Wants(key) == (key < plain.Farthest()));
    if (pool.Wants(key)) {
      pool.Add(key, node);
      plain.Offer(key, node);
    }
    REQUIRE(pool.Farthest() == plain.Farthest());
    if (random() % 3 != 0) continue;
    const std::optional<uint32_t> next = pool.Next();
    const std::optional<float> plain_next = plain.NextKey();
    REQUIRE(next.has_value() == plain_next.has_value());
    if (next.has_value()) REQUIRE(key_of[*next] == *plain_next);
  }
  const auto found = Pairs(pool.Finish());
  if (in_order) {
    REQUIRE(found == plain.Finish());
  } else {
    REQUIRE(found.size() == plain.Finish().size());
    for (size_t i = 0; i < found.size(); ++i) REQUIRE(found[i].first == plain.Finish()[i].first);
  }
}

TEST_CASE("a pool keeps the nearest candidates and gives each once, nearest first") {
  const auto capacity = GENERATE(size_t{1}, 2, 3, 7, 8, 31, 64, 100, 399, 1000);
  const auto distinct_keys = GENERATE(1, 5, 1'000'000);
  // Of as near ones the earlier stays in front.
  CompareWithPlain<LinearPool>(capacity, distinct_keys, true);
  // Here which of as near ones goes is left open, and whether it was taken.
  if (distinct_keys == 1'000'000) CompareWithPlain<HeapPool>(capacity, distinct_keys, false);
}

}  // namespace
}  // namespace baton
