#include "engine/transfer/pinned_pool.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cstring>
#include <map>
#include <random>
#include <thread>
#include <vector>

#include "tests/support/status_matchers.h"

namespace baton {
namespace {

constexpr int64_t kUnit = PinnedPool::kAlignment;

// A pool as an array of units, searched from end to end: what best fit means, said plainly.
class NaivePool {
 public:
  explicit NaivePool(size_t units) : taken_(units, false) {}

  // The unit where it would be; -1: nowhere. The lowest of equally small pieces.
  int64_t Allocate(int64_t units) {
    int64_t best = -1;
    int64_t best_size = 0;
    for (const auto& [begin, size] : FreePieces()) {
      if (size >= units && (best < 0 || size < best_size)) {
        best = begin;
        best_size = size;
      }
    }
    if (best >= 0) Mark(best, units, true);
    return best;
  }
  void Free(int64_t begin, int64_t units) { Mark(begin, units, false); }

  std::map<int64_t, int64_t> FreePieces() const {
    std::map<int64_t, int64_t> pieces;
    for (int64_t i = 0; i < std::ssize(taken_);) {
      int64_t end = i;
      while (end < std::ssize(taken_) && !taken_[static_cast<size_t>(end)]) ++end;
      if (end > i) pieces[i] = end - i;
      i = end + 1;
    }
    return pieces;
  }

 private:
  void Mark(int64_t begin, int64_t units, bool taken) {
    for (int64_t i = begin; i < begin + units; ++i) {
      REQUIRE(taken_[static_cast<size_t>(i)] != taken);
      taken_[static_cast<size_t>(i)] = taken;
    }
  }
  std::vector<bool> taken_;
};

TEST_CASE("the pool does what its naive twin does, over random lives") {
  const uint32_t seed = GENERATE(range(1u, 21u));
  CAPTURE(seed);
  std::mt19937 random(seed);
  constexpr int64_t kUnits = 200;
  const auto pool = PinnedPool::Create(kUnits * kUnit, {0});
  REQUIRE_OK(pool);
  NaivePool naive(kUnits);
  struct Held {
    PinnedBuffer buffer;
    int64_t begin;
    int64_t units;
    std::byte mark;
  };
  std::vector<Held> held;
  std::byte* base = nullptr;
  int64_t refused = 0;
  for (int i = 0; i < 2000; ++i) {
    if (random() % 5 < 3) {
      const auto bytes = static_cast<int64_t>(1 + random() % (random() % 4 == 0 ? 8000 : 1500));
      const int64_t units = (bytes + kUnit - 1) / kUnit;
      auto buffer = (*pool)->Allocate(bytes);
      const int64_t begin = naive.Allocate(units);
      REQUIRE(buffer.ok() == (begin >= 0));
      if (!buffer.ok()) {
        REQUIRE_STATUS(buffer, absl::StatusCode::kResourceExhausted, "in one piece");
        ++refused;
        continue;
      }
      if (base == nullptr) base = buffer->data();
      REQUIRE(buffer->data() == base + begin * kUnit);
      REQUIRE(buffer->bytes() == bytes);
      REQUIRE(reinterpret_cast<uintptr_t>(buffer->data()) % kUnit == 0);
      const auto mark = static_cast<std::byte>(random());
      std::fill_n(buffer->data(), bytes, mark);
      held.push_back({std::move(*buffer), begin, units, mark});
    } else if (!held.empty()) {
      std::swap(held[random() % held.size()], held.back());
      const Held& last = held.back();
      REQUIRE(std::all_of(last.buffer.data(), last.buffer.data() + last.buffer.bytes(),
                          [&](std::byte byte) { return byte == last.mark; }));
      naive.Free(last.begin, last.units);
      held.pop_back();
    }
    const PinnedPool::Stats stats = (*pool)->GetStats();
    int64_t free = 0;
    int64_t largest = 0;
    for (const auto& [begin, size] : naive.FreePieces()) {
      free += size;
      largest = std::max(largest, size);
    }
    REQUIRE(stats.buffers == std::ssize(held));
    REQUIRE(stats.free_bytes == free * kUnit);
    REQUIRE(stats.largest_free_bytes == largest * kUnit);
    REQUIRE(stats.free_pieces == std::ssize(naive.FreePieces()));
  }
  CHECK(refused > 0);
  held.clear();
  CHECK((*pool)->GetStats().largest_free_bytes == kUnits * kUnit);  // in one piece again
}

TEST_CASE("a pool that is full says what is free, and what can never be had is told apart") {
  const auto pool = PinnedPool::Create(8 * kUnit, {0});
  REQUIRE_OK(pool);
  std::vector<PinnedBuffer> buffers;
  for (int i = 0; i < 8; ++i) buffers.push_back(*(*pool)->Allocate(kUnit));
  REQUIRE_STATUS((*pool)->Allocate(1), absl::StatusCode::kResourceExhausted,
                 "1 bytes are wanted, 0 are free, 0 of them in one piece");
  buffers[2].Reset();
  buffers[5].Reset();
  REQUIRE_STATUS((*pool)->Allocate(2 * kUnit), absl::StatusCode::kResourceExhausted,
                 "512 are free, 256 of them in one piece");
  buffers[5] = std::move(buffers[0]);
  buffers[2].Reset();  // twice: nothing
  CHECK((*pool)->GetStats().buffers == 6);
  REQUIRE_STATUS((*pool)->Allocate(0), absl::StatusCode::kInvalidArgument, "1 to 2048 bytes");
  REQUIRE_STATUS((*pool)->Allocate(8 * kUnit + 1), absl::StatusCode::kInvalidArgument,
                 "but is of 2049");
}

TEST_CASE("a pool is on nodes that there are") {
  REQUIRE_STATUS(PinnedPool::Create(1 << 20, {1000}), absl::StatusCode::kInvalidArgument,
                 "NUMA node 1000");
  REQUIRE_STATUS(PinnedPool::Create(kUnit, {0, 0}), absl::StatusCode::kInvalidArgument,
                 "256 bytes are too few for 2 NUMA nodes");
  const auto everywhere = PinnedPool::Create(4 << 20);
  REQUIRE_OK(everywhere);
  CHECK((*everywhere)->GetStats().bytes > 3 << 20);
  // One part on each of two nodes, which are the same one here: a request for a node that is full,
  // or that has no part, goes elsewhere.
  const auto parts = PinnedPool::Create(2 * kUnit, {0, 0});
  REQUIRE_OK(parts);
  const auto first = (*parts)->Allocate(kUnit, 0);
  const auto second = (*parts)->Allocate(kUnit, 5);
  REQUIRE_OK(first);
  REQUIRE_OK(second);
  CHECK(first->data() != second->data());
}

TEST_CASE("threads may take and give at once") {
  const auto pool = PinnedPool::Create(64 * kUnit, {0});
  REQUIRE_OK(pool);
  {
    std::vector<std::jthread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([&pool, t] {
        std::mt19937 random(static_cast<uint32_t>(t));
        for (int i = 0; i < 500; ++i) {
          auto buffer = (*pool)->Allocate(static_cast<int64_t>(1 + random() % 4000));
          if (buffer.ok()) std::fill_n(buffer->data(), buffer->bytes(), std::byte{1});
        }
      });
    }
  }
  CHECK((*pool)->GetStats().buffers == 0);
  CHECK((*pool)->GetStats().free_pieces == 1);
}

}  // namespace
}  // namespace baton
