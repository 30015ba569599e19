#include "engine/base/bounded_queue.h"

#include <atomic>
#include <catch2/catch.hpp>
#include <memory>
#include <thread>
#include <vector>

namespace baton {
namespace {

TEST_CASE("a full queue refuses and leaves the item with its owner") {
  BoundedQueue<std::unique_ptr<int>> queue(1);
  CHECK(queue.TryPush(std::make_unique<int>(1)));
  auto second = std::make_unique<int>(2);
  CHECK_FALSE(queue.TryPush(std::move(second)));
  CHECK(second != nullptr);
  CHECK(**queue.Pop() == 1);
  CHECK(queue.TryPush(std::move(second)));
}

TEST_CASE("closing refuses pushes, drains pops, wakes sleepers") {
  BoundedQueue<int> queue(4);
  CHECK(queue.TryPush(1));
  std::thread sleeper([&queue] {
    CHECK(queue.Pop() == 1);
    CHECK(queue.Pop() == std::nullopt);
  });
  queue.Close();
  sleeper.join();
  CHECK_FALSE(queue.TryPush(2));
  CHECK_FALSE(queue.Push(2));
  CHECK(queue.PopAll(1'000'000).empty());
}

TEST_CASE("PopAll takes everything in order and waits only when empty") {
  BoundedQueue<int> queue(4);
  CHECK(queue.PopAll(0).empty());
  CHECK(queue.PopAll(1000).empty());
  for (int i = 0; i < 3; ++i) CHECK(queue.TryPush(int{i}));
  CHECK(queue.PopAll(1'000'000) == std::deque<int>{0, 1, 2});
}

TEST_CASE("many threads push and pop, nothing is lost or doubled") {
  BoundedQueue<int> queue(16);
  constexpr int kThreads = 3, kEach = 2000;
  std::atomic<int64_t> sum{0}, count{0};
  std::vector<std::thread> consumers, producers;
  for (int t = 0; t < kThreads; ++t) {
    consumers.emplace_back([&] {
      while (const auto item = queue.Pop()) {
        sum += *item;
        ++count;
      }
    });
    producers.emplace_back([&, t] {
      for (int i = 0; i < kEach; ++i) {
        while (!queue.TryPush(t * kEach + i)) std::this_thread::yield();
      }
    });
  }
  for (auto& producer : producers) producer.join();
  queue.Close();
  for (auto& consumer : consumers) consumer.join();
  constexpr int64_t kAll = int64_t{kThreads} * kEach;
  CHECK(count == kAll);
  CHECK(sum == kAll * (kAll - 1) / 2);
}

}  // namespace
}  // namespace baton
