#include "engine/exec/cpu/cpu_search.h"

#include <atomic>
#include <future>
#include <memory>
#include <random>
#include <vector>

#include "tests/engine/vector/vector_harness.h"
#include "tests/support/fake_clock.h"

namespace baton {
namespace {

// A store with one collection, all of it in the growing buffer.
struct Points {
  explicit Points(int count, int dimension = 16) {
    VectorOptions options = TestOptions(dir.path());
    options.seal_points = 1 << 16;
    auto opened = VectorStore::Open(options, metrics);
    REQUIRE_OK(opened);
    store = std::move(*opened);
    REQUIRE_OK(store->CreateCollection(Spec("c", dimension), ""));
    std::mt19937 random(1);
    std::vector<Point> points;
    for (int i = 0; i < count; ++i) {
      points.push_back(MakePoint(static_cast<PointId>(i), RandomVector(random, dimension)));
      twin[points.back().id] = points.back().vector;
    }
    REQUIRE_OK(CommitOne(*store, "c", std::move(points)).status);
    auto opened_view = store->View("c");
    REQUIRE_OK(opened_view);
    view = *opened_view;
  }

  SearchBatch Batch(int queries, TimeUs deadline_us = kNoDeadline) const {
    std::mt19937 random(2);
    SearchBatch batch;
    batch.view = view;
    for (int i = 0; i < queries; ++i) {
      batch.queries.push_back(RandomVector(random, view->spec().dimension));
    }
    batch.params = {.k = 5, .exact = true};
    batch.deadline_us = deadline_us;
    return batch;
  }

  TempDir dir;
  Metrics metrics;
  std::unique_ptr<VectorStore> store;
  Twin twin;
  std::shared_ptr<const CollectionView> view;
};

std::future<SearchBatchResult> Submit(CpuSearch& search, SearchBatch batch) {
  auto promise = std::make_shared<std::promise<SearchBatchResult>>();
  std::future<SearchBatchResult> future = promise->get_future();
  search.Execute(std::move(batch),
                 [promise](SearchBatchResult result) { promise->set_value(std::move(result)); });
  return future;
}

TEST_CASE("a batch is searched: one result per query, nearest first") {
  const Points points(200);
  CpuSearch search({.threads = 2}, SystemClock());
  for (const int queries : {0, 1, 40}) {
    const SearchBatch batch = points.Batch(queries);
    const SearchBatchResult result = Submit(search, points.Batch(queries)).get();
    REQUIRE_OK(result.status);
    REQUIRE(result.neighbors.size() == static_cast<size_t>(queries));
    for (int i = 0; i < queries; ++i) {
      REQUIRE(result.neighbors[i] == NaiveSearch(points.twin, Metric::kL2, batch.queries[i], 5));
    }
    REQUIRE(result.times.queue_us >= 0);
    REQUIRE(result.times.run_us >= 0);
  }
}

TEST_CASE("many batches from many threads are all answered") {
  const Points points(500);
  CpuSearch search({.threads = 2, .queue_batches = 1000}, SystemClock());
  std::atomic<int> right = 0;
  std::vector<std::thread> clients;
  for (int t = 0; t < 3; ++t) {
    clients.emplace_back([&] {
      for (int i = 0; i < 20; ++i) {
        const SearchBatchResult result = Submit(search, points.Batch(3)).get();
        if (result.status.ok() && result.neighbors.size() == 3) ++right;
      }
    });
  }
  for (std::thread& client : clients) client.join();
  REQUIRE(right == 60);
}

// Occupies the only thread until released.
class Blocker {
 public:
  Blocker(CpuSearch& search, const Points& points) {
    search.Execute(points.Batch(1), [this](SearchBatchResult) {
      running_.set_value();
      release_.get_future().wait();
    });
    running_.get_future().wait();
  }
  void Release() { release_.set_value(); }

 private:
  std::promise<void> running_;
  std::promise<void> release_;
};

TEST_CASE("a full queue refuses at once, and the depth counts what waits") {
  const Points points(10);
  CpuSearch search({.threads = 1, .queue_batches = 2}, SystemClock());
  Blocker blocker(search, points);
  auto first = Submit(search, points.Batch(1));
  auto second = Submit(search, points.Batch(1));
  REQUIRE(search.queue_depth() == 2);
  const SearchBatchResult refused = Submit(search, points.Batch(1)).get();
  REQUIRE_STATUS(refused.status, absl::StatusCode::kResourceExhausted,
                 "search queue is full: 2 batches");
  blocker.Release();
  REQUIRE_OK(first.get().status);
  REQUIRE_OK(second.get().status);
}

TEST_CASE("a batch past its deadline ends with DEADLINE_EXCEEDED") {
  const Points points(10);
  FakeClock clock;
  CpuSearch search({.threads = 1}, clock);
  REQUIRE_OK(Submit(search, points.Batch(1, clock.NowUs() + 1)).get().status);
  const SearchBatchResult late = Submit(search, points.Batch(1, clock.NowUs())).get();
  REQUIRE_STATUS(late.status, absl::StatusCode::kDeadlineExceeded, "1 queries over 10 points");
  REQUIRE(late.neighbors.empty());
}

// Every look at it takes a second.
class HurryingClock final : public Clock {
 public:
  TimeUs NowUs() const override { return now_us_ += 1'000'000; }

 private:
  mutable std::atomic<TimeUs> now_us_{0};
};

TEST_CASE("the deadline is noticed while a scan runs") {
  const Points points(6000, 768);
  HurryingClock clock;
  CpuSearch search({.threads = 1}, clock);
  const SearchBatchResult late = Submit(search, points.Batch(32, 10'000'000)).get();
  REQUIRE_STATUS(late.status, absl::StatusCode::kDeadlineExceeded, "32 queries over 6000 points");
}

TEST_CASE("destruction answers what waits with CANCELLED") {
  const Points points(10);
  std::vector<std::future<SearchBatchResult>> waiting;
  {
    CpuSearch search({.threads = 1}, SystemClock());
    Blocker blocker(search, points);
    for (int i = 0; i < 5; ++i) waiting.push_back(Submit(search, points.Batch(1)));
    std::thread release([&blocker] { blocker.Release(); });
    release.join();
  }
  // The thread may have begun some before it saw the end: all are answered, those not begun so.
  for (std::future<SearchBatchResult>& future : waiting) {
    const SearchBatchResult result = future.get();
    if (result.status.ok()) continue;
    REQUIRE_STATUS(result.status, absl::StatusCode::kCancelled, "shutting down");
  }
}

}  // namespace
}  // namespace baton
