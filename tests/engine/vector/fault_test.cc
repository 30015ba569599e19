// Disks that fail or fill up for a while: writes are refused, nothing is lost, and it goes on.

#include <algorithm>
#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "engine/vector/vector_store.h"
#include "tests/engine/vector/crash_workload.h"
#include "tests/support/eventually.h"
#include "tests/support/fake_clock.h"
#include "tests/support/power_cut_files.h"

namespace baton {
namespace {

using rocksdb::IOStatus;

struct Target {
  const char* path;  // part of it
  FileOp op;
};

constexpr Target kTargets[] = {
    {".log", FileOp::kWrite},     {".log", FileOp::kSync},     {".log", FileOp::kCreate},
    {".sst", FileOp::kCreate},    {".sst", FileOp::kWrite},    {".sst", FileOp::kSync},
    {"MANIFEST", FileOp::kWrite}, {"MANIFEST", FileOp::kSync}, {"segment", FileOp::kCreate},
    {"segment", FileOp::kWrite},  {"segment", FileOp::kSync},  {"segment", FileOp::kRename},
    {"", FileOp::kSyncDirectory}, {"", FileOp::kCreate},       {"", FileOp::kWrite},
    {"", FileOp::kRename},
};

IOStatus ErrorOf(bool full, const std::string& path) {
  return full ? IOStatus::NoSpace("no space", path) : IOStatus::IOError("the disk fails", path);
}

TEST_CASE("while a disk fails writes are refused and all else goes on; then writing goes on") {
  const uint32_t seed = std::random_device{}();
  CAPTURE(seed);
  const bool full = GENERATE(false, true);
  CAPTURE(full);
  const TempDir dir;
  CrashWorkload work(seed);
  std::mt19937& random = work.random();
  const auto files = std::make_shared<PowerCutFiles>(dir.path());
  VectorOptions options = TestOptions(dir.path() + "/data");
  options.fsync = random() % 4 == 0 ? "interval" : "always";
  options.fsync_interval_ms = 5;
  CAPTURE(options.fsync);
  Metrics metrics;
  auto store = VectorStore::Open(options, metrics, files);
  REQUIRE_OK(store);
  int refused = 0;
  for (const Target& target : kTargets) {
    CAPTURE(target.path, static_cast<int>(target.op));
    for (int i = 0; i < 12; ++i) {
      INFO(i);
      REQUIRE_OK(work.Step(**store));
    }
    const auto fault = [&target, full](FileOp op, const std::string& path) {
      const bool meant = op == target.op && path.find(target.path) != std::string::npos;
      return meant ? ErrorOf(full, path) : IOStatus::OK();
    };
    files->SetFault(fault);
    for (int i = 0; i < 12; ++i) {
      const absl::Status status = work.Step(**store);
      if (status.ok()) continue;
      ++refused;
      CAPTURE(status.ToString());
      REQUIRE(status.message().find(full ? "disk full" : "the disk fails") != std::string::npos);
      REQUIRE((!full || absl::IsResourceExhausted(status)));
      // In this process, what was refused did not happen.
      REQUIRE(work.Settle(**store) == "");
    }
    // A log that failed once is replaced, by way of all the other files.
    files->SetFault([&fault, full, first = true](FileOp op, const std::string& path) mutable {
      if (op == FileOp::kWrite && path.find(".log") != std::string::npos && first) {
        first = false;
        return ErrorOf(full, path);
      }
      return fault(op, path);
    });
    for (int i = 0; i < 4; ++i) refused += work.Step(**store).ok() ? 0 : 1;
    REQUIRE(work.Settle(**store) == "");
    files->SetFault(nullptr);
    // RocksDB may tell of the last attempt to resume before it makes another.
    for (int tries = 0; tries < 5 && !work.Step(**store).ok(); ++tries) {
    }
    for (int i = 0; i < 3; ++i) REQUIRE_OK(work.Step(**store));
    REQUIRE(work.Settle(**store) == "");
    if (random() % 2 == 0) continue;
    // And in the next process, after a power cut perhaps.
    if (random() % 2 == 0 && options.fsync == "always") files->CutPower();
    store->reset();
    files->Restart(random);
    store = VectorStore::Open(options, metrics, files);
    REQUIRE_OK(store);
    REQUIRE_OK((*store)->writable());
    REQUIRE(work.Settle(**store) == "");
  }
  REQUIRE(refused > 10);
}

TEST_CASE("a store whose disk fails while it opens says so, and opens once it does not") {
  const uint32_t seed = std::random_device{}();
  CAPTURE(seed);
  const TempDir dir;
  CrashWorkload work(seed);
  const auto files = std::make_shared<PowerCutFiles>(dir.path());
  VectorOptions options = TestOptions(dir.path() + "/data");
  options.fsync = "always";
  Metrics metrics;
  auto store = VectorStore::Open(options, metrics, files);
  REQUIRE_OK(store);
  for (int i = 0; i < 20; ++i) REQUIRE_OK(work.Step(**store));
  for (int64_t fails_at = 0; fails_at < 40; ++fails_at) {
    CAPTURE(fails_at);
    store->reset();
    files->SetFault([fails_at, n = int64_t{0}](FileOp, const std::string& path) mutable {
      return n++ == fails_at ? IOStatus::IOError("the disk fails", path) : IOStatus::OK();
    });
    store = VectorStore::Open(options, metrics, files);
    files->SetFault(nullptr);
    if (!store.ok()) {
      CAPTURE(store.status().ToString());
      REQUIRE(store.status().message().find("the disk fails") != std::string::npos);
      store = VectorStore::Open(options, metrics, files);
      REQUIRE_OK(store);
    }
    REQUIRE(work.Settle(**store) == "");
  }
}

// While nothing can be built, points pile up until upserts are refused; then no write comes any
// more that would have it tried again.
TEST_CASE("what could not be built is built once the disk works again, without a write") {
  const TempDir dir;
  const auto files = std::make_shared<PowerCutFiles>(dir.path());
  VectorOptions options = TestOptions(dir.path() + "/data");
  options.unindexed_points_max = 100;
  Metrics metrics;
  FakeClock clock;
  auto opened = VectorStore::Open(options, metrics, files, clock);
  REQUIRE_OK(opened);
  VectorStore& store = **opened;
  REQUIRE_OK(store.CreateCollection(Spec("c", 8), ""));
  std::atomic<int> attempts = 0;
  files->SetFault([&attempts](FileOp op, const std::string& path) {
    const bool meant = op == FileOp::kCreate && path.find(".segment") != std::string::npos;
    if (!meant) return IOStatus::OK();
    ++attempts;
    return IOStatus::IOError("the disk fails", path);
  });
  std::mt19937 random(41);
  Twin twin;
  std::vector<Point> points;
  for (PointId id = 0; id < 130; ++id) {
    points.push_back(MakePoint(id, RandomVector(random, 8)));
    twin[id] = points.back().vector;
  }
  REQUIRE_OK(CommitOne(store, "c", points).status);
  store.WaitUntilIdle();
  REQUIRE(attempts == 1);
  REQUIRE(absl::IsResourceExhausted(store.CheckBacklog("c")));

  // Twice as long each time, and a minute at most.
  TimeUs rest_us = 1'000'000;
  for (int failures = 1; failures < 9; ++failures) {
    CAPTURE(failures);
    clock.AdvanceUs(rest_us - 1);
    std::this_thread::sleep_for(std::chrono::milliseconds(250));
    REQUIRE(attempts == failures);
    clock.AdvanceUs(1);
    REQUIRE(Eventually([&] { return attempts == failures + 1; }));
    store.WaitUntilIdle();
    rest_us = std::min<TimeUs>(2 * rest_us, 60'000'000);
  }
  files->SetFault(nullptr);
  clock.AdvanceUs(rest_us);
  REQUIRE(Eventually([&] { return store.Describe("c")->segments == 1; }));
  store.WaitUntilIdle();
  REQUIRE_OK(store.CheckBacklog("c"));
  const auto view = store.View("c");
  REQUIRE_OK(view);
  const std::vector<float> query = RandomVector(random, 8);
  REQUIRE(Search(**view, query, {.k = 20, .exact = true}) ==
          NaiveSearch(twin, Metric::kL2, query, 20));

  // What was finished between two failures counts: the next rest is a short one again.
  files->SetFault([&attempts](FileOp op, const std::string& path) {
    const bool meant = op == FileOp::kCreate && path.find(".segment") != std::string::npos;
    if (meant) ++attempts;
    return meant ? IOStatus::IOError("the disk fails", path) : IOStatus::OK();
  });
  const int before = attempts;
  for (Point& point : points) point.id += 1000;
  REQUIRE_OK(CommitOne(store, "c", points).status);
  REQUIRE(Eventually([&] { return attempts == before + 1; }));
  store.WaitUntilIdle();
  clock.AdvanceUs(1'000'000);
  REQUIRE(Eventually([&] { return attempts == before + 2; }));
}

}  // namespace
}  // namespace baton
