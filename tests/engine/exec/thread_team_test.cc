#include "engine/exec/cpu/thread_team.h"

#include <atomic>
#include <catch2/catch.hpp>
#include <chrono>
#include <memory>
#include <mutex>
#include <numeric>
#include <set>
#include <thread>
#include <vector>

namespace baton {

TEST_CASE("every index is visited once, whatever the team and the grain") {
  const int threads = GENERATE(1, 2, 3, 8);
  ThreadTeam team(threads);
  REQUIRE(team.threads() == threads);
  for (const int64_t count : {0, 1, 2, 7, 64, 1000}) {
    for (const int64_t grain : {1, 3, 64, 5000}) {
      CAPTURE(threads, count, grain);
      std::vector<int> visits(static_cast<size_t>(count), 0);  // unguarded: ranges are disjoint
      std::atomic<bool> sane{true};
      team.ParallelFor(count, grain, [&](int64_t begin, int64_t end, int thread) {
        if (begin >= end || end > count || end - begin > std::max(grain, count) || thread < 0 ||
            thread >= threads) {
          sane = false;
        }
        for (int64_t i = begin; i < end; ++i) ++visits[i];
      });
      REQUIRE(sane);
      REQUIRE(visits == std::vector<int>(static_cast<size_t>(count), 1));
    }
  }
}

TEST_CASE("a team's threads run where they are placed") {
  const CpuSet allowed = ThreadCpus();
  const CpuSet first({allowed.cpus().front()});
  const CpuSet last({allowed.cpus().back()});
  constexpr int kThreads = 4;
  const ThreadPlacement placement({first, last});
  std::thread([&] {
    placement.Bind({.index = 0, .count = kThreads});
    ThreadTeam team(kThreads, placement);
    std::mutex mutex;
    std::vector<CpuSet> seen(kThreads);
    std::atomic<int> inside{0};
    // Each range waits for the others, so that every thread takes one.
    team.ParallelFor(kThreads, 1, [&](int64_t, int64_t, int thread) {
      {
        const std::lock_guard lock(mutex);
        seen[static_cast<size_t>(thread)] = ThreadCpus();
      }
      ++inside;
      while (inside < kThreads) std::this_thread::yield();
    });
    CHECK(seen == std::vector<CpuSet>{first, first, last, last});
  }).join();
  CHECK(ThreadCpus() == allowed);
}

TEST_CASE("loops follow each other, with pauses long enough to park and too short to") {
  ThreadTeam team(4);
  int64_t total = 0;
  for (int loop = 0; loop < 3000; ++loop) {
    std::vector<int64_t> parts(64, 0);
    team.ParallelFor(64, 1, [&](int64_t begin, int64_t end, int) {
      for (int64_t i = begin; i < end; ++i) parts[i] = i;
    });
    total += std::accumulate(parts.begin(), parts.end(), int64_t{0});
    if (loop % 500 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  REQUIRE(total == 3000 * (63 * 64 / 2));
}

TEST_CASE("two threads never work under the same number") {
  ThreadTeam team(4);
  std::atomic<int> inside[4] = {};
  std::atomic<bool> shared{false};
  for (int loop = 0; loop < 50; ++loop) {
    team.ParallelFor(200, 1, [&](int64_t, int64_t, int thread) {
      if (inside[thread].fetch_add(1) != 0) shared = true;
      inside[thread].fetch_sub(1);
    });
  }
  REQUIRE_FALSE(shared);
}

TEST_CASE("the caller waits for a slow range of another thread") {
  ThreadTeam team(2);
  // Both threads hold one range: the one that is not the caller's sleeps past the caller's spin.
  for (int loop = 0; loop < 5; ++loop) {
    std::atomic<int> arrived{0};
    std::atomic<int> finished{0};
    team.ParallelFor(2, 1, [&](int64_t, int64_t, int thread) {
      ++arrived;
      while (arrived < 2) std::this_thread::yield();
      if (thread != 0) std::this_thread::sleep_for(std::chrono::milliseconds(5));
      ++finished;
    });
    REQUIRE(finished == 2);
  }
}

TEST_CASE("a team ends while its threads spin and while they are parked") {
  for (int i = 0; i < 20; ++i) {
    auto team = std::make_unique<ThreadTeam>(3);
    team->ParallelFor(10, 1, [](int64_t, int64_t, int) {});
    if (i % 2 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    team.reset();
  }
  SUCCEED();
}

}  // namespace baton
