#include "engine/vector/segment_builder.h"

#include <algorithm>
#include <atomic>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "engine/vector/segment.h"
#include "tests/engine/vector/vector_harness.h"
#include "tests/support/eventually.h"
#include "tests/support/fake_clock.h"

namespace baton {
namespace {

struct Fixture {
  explicit Fixture(VectorOptions options, const Clock& clock = SystemClock()) {
    options.data_dir = dir.path();
    auto opened = VectorStore::Open(options, metrics, nullptr, clock);
    REQUIRE_OK(opened);
    store = *std::move(opened);
  }

  std::shared_ptr<const CollectionView> View(const std::string& collection) const {
    auto view = store->View(collection);
    REQUIRE_OK(view);
    return *view;
  }
  int64_t SegmentRows(const std::string& collection) const {
    int64_t rows = 0;
    for (const auto& part : View(collection)->segments()) rows += part.segment->rows();
    return rows;
  }
  double Built(const char* kind) {
    return metrics.Counter(MetricId::kSegmentsBuilt, {kind}).Value();
  }

  TempDir dir;
  Metrics metrics;
  std::unique_ptr<VectorStore> store;
};

std::vector<Point> Points(std::mt19937& random, PointId first, int count, int dimension) {
  std::vector<Point> points;
  for (int i = 0; i < count; ++i) {
    points.push_back(MakePoint(first + static_cast<PointId>(i), RandomVector(random, dimension)));
  }
  return points;
}

std::vector<PointId> Ids(PointId first, int count) {
  std::vector<PointId> ids;
  for (int i = 0; i < count; ++i) ids.push_back(first + static_cast<PointId>(i));
  return ids;
}

TEST_CASE("deleted rows are vacuumed beyond a share, or never") {
  const int64_t percent = GENERATE(0, 20, 100);
  CAPTURE(percent);
  VectorOptions options = TestOptions("");
  options.vacuum_deleted_percent = percent;
  Fixture f(options);
  REQUIRE_OK(f.store->CreateCollection(Spec("c", 20), ""));
  std::mt19937 random(31);
  REQUIRE_OK(CommitOne(*f.store, "c", Points(random, 0, 64, 20)).status);
  f.store->WaitUntilIdle();
  REQUIRE(f.SegmentRows("c") == 64);
  REQUIRE_OK(CommitOne(*f.store, "c", {}, Ids(0, 12)).status);
  f.store->WaitUntilIdle();
  REQUIRE(f.SegmentRows("c") == 64);  // 18.75 %
  REQUIRE_OK(CommitOne(*f.store, "c", {}, Ids(12, 1)).status);
  f.store->WaitUntilIdle();
  REQUIRE(f.SegmentRows("c") == (percent == 20 ? 51 : 64));
  REQUIRE(f.View("c")->points() == 51);
  // What has no live row goes in any case.
  REQUIRE_OK(CommitOne(*f.store, "c", {}, Ids(0, 64)).status);
  f.store->WaitUntilIdle();
  REQUIRE(f.SegmentRows("c") == 0);
}

// Points come, change and go while segments are built and merged, by several threads; searches by
// graph must find what exact ones find, and that what was written.
TEST_CASE("merges that start from a graph keep every point") {
  VectorOptions options = TestOptions("");
  options.build_threads = GENERATE(1, 3);
  options.vacuum_deleted_percent = GENERATE(0, 30);
  CAPTURE(options.build_threads, options.vacuum_deleted_percent);
  Fixture f(options);
  constexpr int kDimension = 24;  // by codes
  std::mt19937 random(32);
  std::map<std::string, Twin> twins;
  for (const char* const name : {"a", "b"}) {
    REQUIRE_OK(f.store->CreateCollection(Spec(name, kDimension), ""));
    twins[name];
  }
  PointId next = 0;
  for (int round = 0; round < 60; ++round) {
    for (auto& [name, twin] : twins) {
      std::vector<Point> points = Points(random, next, 40, kDimension);
      next += 40;
      for (int i = 0; i < 6; ++i) {
        points.push_back(MakePoint(random() % next, RandomVector(random, kDimension)));
      }
      std::vector<PointId> deletes;
      for (int i = 0; i < 8; ++i) deletes.push_back(random() % next);
      for (const PointId id : deletes) twin.erase(id);
      for (const Point& point : points) twin[point.id] = point.vector;
      REQUIRE_OK(CommitOne(*f.store, name, points, deletes).status);
    }
    if (round % 5 == 4) f.store->WaitUntilIdle();
  }
  f.store->WaitUntilIdle();
  REQUIRE(f.Built("merge") >= 2);
  for (const auto& [name, twin] : twins) {
    const auto view = f.View(name);
    REQUIRE(view->points() == static_cast<int64_t>(twin.size()));
    for (int i = 0; i < 20; ++i) {
      const std::vector<float> query = RandomVector(random, kDimension);
      const auto expected = NaiveSearch(twin, Metric::kL2, query, 10);
      REQUIRE(Search(*view, query, {.k = 10, .exact = true}) == expected);
      const auto found = Search(*view, query, {.k = 10, .ef = 200});
      const auto hits = std::count_if(found.begin(), found.end(), [&expected](const Neighbor& n) {
        return std::find(expected.begin(), expected.end(), n) != expected.end();
      });
      REQUIRE(hits >= 9);
    }
  }
}

TEST_CASE("a collection that nobody writes to has its segments merged further") {
  VectorOptions options = TestOptions("");
  options.segment_points_max = GENERATE(10'000, 200);
  options.merge_quiet_ms = 1000;
  CAPTURE(options.segment_points_max);
  const bool bounded = options.segment_points_max == 200;
  FakeClock clock;
  Fixture f(options, clock);
  REQUIRE_OK(f.store->CreateCollection(Spec("c", 20), ""));
  std::mt19937 random(34);
  Twin twin;
  const auto write = [&](PointId first, int count) {
    const std::vector<Point> points = Points(random, first, count, 20);
    for (const Point& point : points) twin[point.id] = point.vector;
    REQUIRE_OK(CommitOne(*f.store, "c", points).status);
    f.store->WaitUntilIdle();
  };
  const auto segments = [&f] { return std::ssize(f.View("c")->segments()); };
  const auto advance = [&](TimeUs us) {
    clock.AdvanceUs(us);
    std::this_thread::sleep_for(std::chrono::milliseconds(250));
    f.store->WaitUntilIdle();
  };
  for (PointId first = 0; first < 6 * 64; first += 64) write(first, 64);
  REQUIRE(segments() == (bounded ? 6 : 3));

  // A write begins the time anew, also one that fills no buffer.
  advance(999'999);
  REQUIRE(segments() == (bounded ? 6 : 3));
  write(1000, 3);
  advance(1);
  REQUIRE(segments() == (bounded ? 6 : 3));
  advance(1'000'000);
  REQUIRE(segments() == (bounded ? 2 : 1));
  REQUIRE(f.SegmentRows("c") == 6 * 64);

  // Far less than what is there is not worth a copy of all of it.
  write(2000, 64);
  const auto before = segments();
  advance(1'000'000);
  advance(1'000'000);
  REQUIRE(segments() == before);
  const std::vector<float> query = RandomVector(random, 20);
  REQUIRE(Search(*f.View("c"), query, {.k = 10, .exact = true}) ==
          NaiveSearch(twin, Metric::kL2, query, 10));
}

// Every look at it takes 600 ms: a time that is waited for comes while the builder looks about.
class SlowClock final : public Clock {
 public:
  TimeUs NowUs() const override { return now_us_ += 600'000; }

 private:
  mutable std::atomic<TimeUs> now_us_{1'000'000};
};

TEST_CASE("a merge that falls due while the builder looks for work is made") {
  VectorOptions options = TestOptions("");
  options.merge_quiet_ms = 1000;
  const SlowClock clock;
  Fixture f(options, clock);
  REQUIRE_OK(f.store->CreateCollection(Spec("c", 20), ""));
  std::mt19937 random(37);
  // Two segments: too few for a merge while somebody writes.
  for (PointId first = 0; first < 2 * 64; first += 64) {
    f.store->WaitUntilIdle();
    REQUIRE_OK(CommitOne(*f.store, "c", Points(random, first, 64, 20)).status);
  }
  REQUIRE(Eventually([&f] { return f.Built("merge") == 1; }));
  REQUIRE(f.store->Describe("c")->segments == 1);
  REQUIRE(f.View("c")->points() == 2 * 64);
}

TEST_CASE("a small segment does not keep large ones from being merged") {
  VectorOptions options = TestOptions("");
  options.segment_points_max = 256;
  options.vacuum_deleted_percent = 0;
  options.merge_quiet_ms = 1000;
  FakeClock clock;
  Fixture f(options, clock);
  REQUIRE_OK(f.store->CreateCollection(Spec("c", 20), ""));
  std::mt19937 random(36);
  for (const auto& [first, count] : {std::pair{0, 128}, std::pair{128, 128}, std::pair{256, 64}}) {
    REQUIRE_OK(CommitOne(*f.store, "c", Points(random, first, count, 20)).status);
    f.store->WaitUntilIdle();
  }
  REQUIRE_OK(CommitOne(*f.store, "c", {}, Ids(256, 44)).status);
  f.store->WaitUntilIdle();
  REQUIRE(f.store->Describe("c")->segments == 3);
  // 20 points are far less than 128, and all together more than may be one.
  // Since when nobody has written is known when the builder next looks.
  REQUIRE(Eventually([&f, &clock] {
    clock.AdvanceUs(1'000'000);
    return f.store->Describe("c")->segments == 2;
  }));
  REQUIRE(f.View("c")->points() == 276);
}

TEST_CASE("points stay without a graph where there is no memory to build one") {
  VectorOptions options = TestOptions("");
  options.build_memory_mb = 1;
  Fixture f(options);
  constexpr int kDimension = 4096;  // 64 of them take more than 1 MiB
  REQUIRE_OK(f.store->CreateCollection(Spec("wide", kDimension), ""));
  REQUIRE_OK(f.store->CreateCollection(Spec("c", 20), ""));
  std::mt19937 random(33);
  const std::vector<Point> points = Points(random, 0, 70, kDimension);
  REQUIRE_OK(CommitOne(*f.store, "wide", points).status);
  REQUIRE_OK(CommitOne(*f.store, "c", Points(random, 0, 70, 20)).status);
  f.store->WaitUntilIdle();
  REQUIRE(f.store->Describe("wide")->segments == 0);
  REQUIRE(f.store->Describe("wide")->points_unindexed == 70);
  REQUIRE(f.store->Describe("c")->segments == 1);
  REQUIRE(f.metrics.Counter(MetricId::kBuildsShortOfMemory).Value() >= 1);
  REQUIRE(Search(*f.View("wide"), points[3].vector, {.k = 1}).at(0).id == 3);
}

// 10 segments of 64 rows, where memory for 150 of them allows two to be merged at most.
TEST_CASE("merges keep within the memory there is") {
  VectorOptions options = TestOptions("");
  options.build_memory_mb = 1;
  Fixture f(options);
  constexpr int kDimension = 1000;
  const int64_t rows = (1 << 20) / SealedGraph::BuildBytesPerRow(Spec("c", kDimension));
  REQUIRE(rows > 64);
  REQUIRE(rows < 256);
  REQUIRE_OK(f.store->CreateCollection(Spec("c", kDimension), ""));
  std::mt19937 random(34);
  for (int i = 0; i < 10; ++i) {
    const auto first = static_cast<PointId>(i * 64);
    REQUIRE_OK(CommitOne(*f.store, "c", Points(random, first, 64, kDimension)).status);
    f.store->WaitUntilIdle();
  }
  REQUIRE(f.store->Describe("c")->points_unindexed == 0);
  REQUIRE(f.store->Describe("c")->segments == 10);
}

TEST_CASE("without build threads nothing is built") {
  VectorOptions options = TestOptions("");
  options.build_threads = 0;
  Fixture f(options);
  REQUIRE_OK(f.store->CreateCollection(Spec("c", 3), ""));
  std::mt19937 random(35);
  REQUIRE_OK(CommitOne(*f.store, "c", Points(random, 0, 300, 3)).status);
  f.store->WaitUntilIdle();
  REQUIRE(f.store->Describe("c")->points_unindexed == 300);
}

}  // namespace
}  // namespace baton
