#include "engine/transfer/path_table.h"

#include <atomic>
#include <catch2/catch.hpp>
#include <cmath>
#include <random>
#include <thread>

namespace baton {
namespace {

constexpr SpacePair kToCuda = {.source = {},
                               .destination = {.kind = MemorySpace::Kind::kCuda, .device = 0}};
constexpr SpacePair kToBank = {.source = {},
                               .destination = {.kind = MemorySpace::Kind::kFpga, .device = 0}};
constexpr uint32_t kSeed = 20261122;

// A path's true cost.
struct Truth {
  double latency_us;
  double bytes_per_us;
  TimeUs CopyUs(int64_t bytes, std::mt19937& random) const {
    std::lognormal_distribution<double> noise(0.0, 0.1);
    return static_cast<TimeUs>((latency_us + static_cast<double>(bytes) / bytes_per_us) *
                               noise(random));
  }
};

const PathTable::Candidate kBoth[] = {{.path = 0}, {.path = 1}};

// The share of `copies` that went to path 1.
double Run(PathTable& table, const SpacePair& pair, int64_t bytes, const Truth (&truths)[2],
           int copies, std::mt19937& random) {
  int second = 0;
  for (int i = 0; i < copies; ++i) {
    const size_t path = kBoth[table.Choose(pair, bytes, kBoth)].path;
    table.Observe(path, pair, bytes, truths[path].CopyUs(bytes, random));
    second += path == 1 ? 1 : 0;
  }
  return static_cast<double>(second) / copies;
}

TEST_CASE("a prediction that is to decide something waits for enough copies") {
  PathTable table;
  const size_t path = table.Add("dma");
  for (int64_t i = 0; i < PathTable::kSureFrom; ++i) {
    CHECK_FALSE(table.PredictSureUs(path, kToCuda, 4096).has_value());
    table.Observe(path, kToCuda, 4096, 100);
    CHECK(table.PredictUs(path, kToCuda, 4096).has_value());
  }
  CHECK(table.PredictSureUs(path, kToCuda, 4096) == table.PredictUs(path, kToCuda, 4096));
  CHECK_FALSE(table.PredictSureUs(path, kToBank, 4096).has_value());
}

TEST_CASE("latency and bandwidth are learned from copies of several sizes") {
  std::mt19937 random(kSeed);
  PathTable table;
  const size_t path = table.Add("dma");
  const Truth truth = {.latency_us = 40, .bytes_per_us = 10'000};
  CHECK_FALSE(table.PredictUs(path, kToCuda, 1000).has_value());
  for (int i = 0; i < 300; ++i) {
    const int64_t bytes = int64_t{1} << (12 + random() % 14);
    table.Observe(path, kToCuda, bytes, truth.CopyUs(bytes, random));
  }
  CAPTURE(kSeed);
  for (const int64_t bytes : {4096, 1 << 18, 1 << 23}) {
    const double want = truth.latency_us + static_cast<double>(bytes) / truth.bytes_per_us;
    CAPTURE(bytes, want);
    REQUIRE(table.PredictUs(path, kToCuda, bytes).has_value());
    CHECK(*table.PredictUs(path, kToCuda, bytes) == Approx(want).epsilon(0.25));
  }
  CHECK_FALSE(table.PredictUs(path, kToBank, 4096).has_value());  // of another pair: nothing
  const auto reports = table.Report();
  REQUIRE(reports.size() == 4);  // a line for each class of sizes that came
  CHECK(reports.back().bytes_per_s == Approx(10e9).epsilon(0.25));
  CHECK(reports.front().latency_us == Approx(40).epsilon(0.3));
}

TEST_CASE("each size goes where it is over first") {
  std::mt19937 random(kSeed);
  PathTable table;
  table.Add("quick");
  table.Add("wide");
  // Equal at 333 KB.
  const Truth truths[2] = {{.latency_us = 5, .bytes_per_us = 2'000},
                           {.latency_us = 150, .bytes_per_us = 16'000}};
  Run(table, kToCuda, 8 << 10, truths, 60, random);
  Run(table, kToCuda, 4 << 20, truths, 60, random);
  CHECK(Run(table, kToCuda, 8 << 10, truths, 200, random) < 0.05);
  CHECK(Run(table, kToCuda, 4 << 20, truths, 200, random) > 0.95);
}

TEST_CASE("a path that slows is left within a few copies, and found again when it recovers") {
  std::mt19937 random(kSeed);
  PathTable table;
  table.Add("first");
  table.Add("second");
  Truth truths[2] = {{.latency_us = 10, .bytes_per_us = 10'000},
                     {.latency_us = 10, .bytes_per_us = 5'000}};
  const int64_t bytes = 2 << 20;
  Run(table, kToCuda, bytes, truths, 200, random);
  CHECK(Run(table, kToCuda, bytes, truths, 100, random) < 0.05);
  truths[0].bytes_per_us = 3'000;
  Run(table, kToCuda, bytes, truths, 10, random);
  CHECK(Run(table, kToCuda, bytes, truths, 100, random) > 0.9);
  truths[0].bytes_per_us = 20'000;
  Run(table, kToCuda, bytes, truths, 1000, random);
  CHECK(Run(table, kToCuda, bytes, truths, 100, random) < 0.1);
}

TEST_CASE("what is on its way already counts") {
  PathTable table;
  table.Add("first");
  table.Add("second");
  for (int i = 0; i < 10; ++i) {
    table.Observe(0, kToCuda, 1 << 20, 100);
    table.Observe(1, kToCuda, 1 << 20, 150);
  }
  const PathTable::Candidate idle[] = {{.path = 0}, {.path = 1}};
  const PathTable::Candidate busy[] = {{.path = 0, .bytes_in_flight = 4 << 20}, {.path = 1}};
  CHECK(table.Choose(kToCuda, 1 << 20, idle) == 0);
  CHECK(table.Choose(kToCuda, 1 << 20, busy) == 1);
}

TEST_CASE("before anything is known the first path is taken, and one that fails is left") {
  PathTable table;
  table.Add("first");
  table.Add("second");
  CHECK(table.Choose(kToCuda, 4096, kBoth) == 0);
  for (int i = 0; i < 3; ++i) table.ObserveFailure(0, kToCuda);
  for (int i = 0; i < 5; ++i) CHECK(table.Choose(kToCuda, 4096, kBoth) == 1);
  const PathTable::Candidate only[] = {{.path = 0}};
  CHECK(table.Choose(kToCuda, 4096, only) == 0);
  // One good copy and it counts as well again.
  table.Observe(0, kToCuda, 4096, 1);
  int first = 0;
  for (int i = 0; i < 20; ++i) first += table.Choose(kToCuda, 4096, kBoth) == 0 ? 1 : 0;
  CHECK(first > 10);
  const auto reports = table.Report();
  REQUIRE(reports.size() == 2);
  CHECK(reports[0].failures == 3);
  CHECK(reports[1].path == "second");
  CHECK(reports[1].copies == 0);
}

TEST_CASE("copies of one size, of none, and in no time predict something finite") {
  PathTable table;
  table.Add("path");
  for (int i = 0; i < 50; ++i) table.Observe(0, kToCuda, 0, 0);
  for (const int64_t bytes : {int64_t{0}, int64_t{1} << 20, int64_t{1} << 50}) {
    CHECK(std::isfinite(*table.PredictUs(0, kToCuda, bytes)));
  }
  for (int i = 0; i < 50; ++i) table.Observe(0, kToCuda, 1000, i % 2 == 0 ? 0 : 1'000'000);
  for (const int64_t bytes : {int64_t{0}, int64_t{1} << 20, int64_t{1} << 50}) {
    CHECK(std::isfinite(*table.PredictUs(0, kToCuda, bytes)));
    CHECK(*table.PredictUs(0, kToCuda, bytes) >= 0);
  }
}

TEST_CASE("the report is read while copies are observed") {
  PathTable table;
  table.Add("path");
  std::atomic<int> wrong{0};
  std::jthread reader([&](const std::stop_token& stop) {
    while (!stop.stop_requested()) wrong += table.Report().size() == 1 ? 0 : 1;
  });
  for (int i = 0; i < 2000; ++i) table.Observe(0, kToCuda, 1000, 10);
  reader.request_stop();
  reader.join();
  CHECK(wrong == 0);
}

}  // namespace
}  // namespace baton
