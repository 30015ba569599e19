// Collections whose segments are inverted files.

#include <algorithm>
#include <atomic>
#include <chrono>
#include <filesystem>
#include <map>
#include <random>
#include <thread>
#include <vector>

#include "engine/vector/segment.h"
#include "engine/vector/vector_store.h"
#include "engine/vector/view_clusters.h"
#include "tests/engine/vector/vector_harness.h"

namespace baton {
namespace {

constexpr int kDimension = 12;

CollectionSpec IvfSpec(IndexKind index, Metric metric, int32_t bits = 4) {
  CollectionSpec spec = Spec("c", kDimension, metric);
  spec.index = index;
  spec.ivf_pq_bits = bits;
  return spec;
}

std::unique_ptr<VectorStore> Open(const TempDir& dir, Metrics& metrics) {
  auto store = VectorStore::Open(TestOptions(dir.path()), metrics);
  REQUIRE_OK(store);
  return *std::move(store);
}

std::shared_ptr<const CollectionView> SealedView(VectorStore& store) {
  store.WaitUntilIdle();
  const auto view = store.View("c");
  REQUIRE_OK(view);
  return *view;
}

// Ids of the k nearest, by the twin, that the search found with the same distance.
int Hits(const CollectionView& view, const Twin& twin, const std::vector<float>& query,
         const SearchParams& params) {
  const std::vector<Neighbor> found = Search(view, query, params);
  const std::vector<Neighbor> expected = NaiveSearch(twin, view.spec().metric, query, params.k);
  REQUIRE(found.size() == expected.size());
  REQUIRE(std::is_sorted(found.begin(), found.end()));
  int hits = 0;
  for (const Neighbor& neighbor : expected) {
    hits += static_cast<int>(std::count(found.begin(), found.end(), neighbor));
  }
  return hits;
}

TEST_CASE("inverted files are searched with a filter") {
  const IndexKind index = GENERATE(IndexKind::kIvfPq, IndexKind::kIvfSq);
  CAPTURE(static_cast<int>(index));
  TempDir dir;
  Metrics metrics;
  auto store = Open(dir, metrics);
  REQUIRE_OK(store->CreateCollection(IvfSpec(index, Metric::kL2), ""));
  REQUIRE_OK(store->CreatePayloadIndex("c", {"n", PayloadIndexKind::kInteger}));
  std::mt19937 random(92);
  constexpr int64_t kPoints = 900;
  std::map<int64_t, Twin> twins;  // of the points with n below the key
  std::vector<Point> points;
  for (int64_t i = 0; i < kPoints; ++i) {
    points.push_back(MakePoint(static_cast<PointId>(i + 1), RandomVector(random, kDimension)));
    points.back().payload = {{"n", i % 100}};
    for (const int64_t below : {1, 5, 80, 100}) {
      if (i % 100 < below) twins[below][points.back().id] = points.back().vector;
    }
  }
  REQUIRE_OK(CommitOne(*store, "c", std::move(points)).status);
  const auto view = SealedView(*store);
  REQUIRE(!view->segments().empty());
  for (const auto& [below, twin] : twins) {
    CAPTURE(below);
    const auto filter = std::make_shared<const Filter>(
        Condition{.field = "n", .test = InRange{Bounds<int64_t>{.lt = below}}});
    for (int i = 0; i < 10; ++i) {
      const std::vector<float> query = RandomVector(random, kDimension);
      CHECK(Hits(*view, twin, query, {.k = 10, .exact = true, .filter = filter}) ==
            std::min<int>(10, static_cast<int>(twin.size())));
      // Of the right ones, and as many as there are, whatever is looked at.
      for (const int32_t k : {3, 10, 2000}) {
        const auto found = Search(*view, query, {.k = k, .ef = 1, .nprobe = 1, .filter = filter});
        CHECK(found.size() == std::min(static_cast<size_t>(k), twin.size()));
        for (const Neighbor& neighbor : found) CHECK(twin.contains(neighbor.id));
      }
    }
  }
}

TEST_CASE("a collection of inverted files finds its points, also when it is opened again") {
  const IndexKind index = GENERATE(IndexKind::kIvfPq, IndexKind::kIvfSq);
  const Metric metric = GENERATE(Metric::kL2, Metric::kDot, Metric::kCosine);
  const int32_t bits = GENERATE(4, 8);
  if (bits == 8 && index != IndexKind::kIvfPq) return;
  CAPTURE(static_cast<int>(index), static_cast<int>(metric), bits);
  TempDir dir;
  Metrics metrics;
  auto store = Open(dir, metrics);
  REQUIRE_OK(store->CreateCollection(IvfSpec(index, metric, bits), ""));
  std::mt19937 random(91);
  Twin twin;
  PointId next = 1;
  const auto add = [&](int count) {
    std::vector<Point> points;
    for (int i = 0; i < count; ++i) {
      points.push_back(MakePoint(next++, RandomVector(random, kDimension)));
      twin[points.back().id] = points.back().vector;
    }
    REQUIRE_OK(CommitOne(*store, "c", std::move(points)).status);
  };
  const auto check = [&] {
    const auto view = SealedView(*store);
    REQUIRE(!view->segments().empty());
    for (const auto& part : view->segments()) {
      REQUIRE(part.segment->index().ivf() != nullptr);
      REQUIRE((part.segment->index().ivf()->codes() == IvfCodes::kPq8) == (bits == 8));
      REQUIRE(part.segment->index().graph() == nullptr);
    }
    int hits = 0;
    for (int i = 0; i < 20; ++i) {
      const std::vector<float> query = RandomVector(random, kDimension);
      CHECK(Hits(*view, twin, query, {.k = 10, .exact = true}) == 10);
      hits += Hits(*view, twin, query, {.k = 10, .ef = 200, .nprobe = 1000});
      // As many as there are, whatever is looked at.
      const auto all = static_cast<int32_t>(twin.size());
      CHECK(Hits(*view, twin, query, {.k = all + 5, .ef = 1, .nprobe = 1}) == all);
    }
    CHECK(hits >= 190);
  };
  for (int i = 0; i < 8; ++i) {
    add(70);
    store->WaitUntilIdle();
  }
  check();
  std::vector<PointId> deleted;
  for (PointId id = 1; id < 500; id += 3) {
    deleted.push_back(id);
    twin.erase(id);
  }
  REQUIRE_OK(CommitOne(*store, "c", {}, deleted).status);
  check();

  store.reset();
  store = Open(dir, metrics);
  const auto info = store->Describe("c");
  REQUIRE_OK(info);
  CHECK(info->spec.index == index);
  check();
  // Files that are gone, or damaged, are made again.
  store.reset();
  int files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(dir.path() + "/segments")) {
    if (files++ % 2 == 0) {
      std::filesystem::remove(entry.path());
    } else {
      std::filesystem::resize_file(entry.path(), entry.file_size() / 2);
    }
  }
  REQUIRE(files > 0);
  store = Open(dir, metrics);
  check();
}

TEST_CASE("what was asked for a collection's index is kept, and what is wrong is refused") {
  TempDir dir;
  Metrics metrics;
  auto store = Open(dir, metrics);
  CollectionSpec spec = IvfSpec(IndexKind::kIvfPq, Metric::kL2);
  spec.ivf_lists = 3;
  spec.ivf_pq_bytes = 4;
  spec.ivf_pq_bits = GENERATE(4, 8);
  const int32_t bits = spec.ivf_pq_bits;
  REQUIRE_OK(store->CreateCollection(spec, ""));
  std::mt19937 random(92);
  std::vector<Point> points;
  for (PointId id = 0; id < 64; ++id) {
    points.push_back(MakePoint(id, RandomVector(random, kDimension)));
  }
  REQUIRE_OK(CommitOne(*store, "c", std::move(points)).status);
  const auto view = SealedView(*store);
  REQUIRE(view->segments().size() == 1);
  CHECK(view->segments()[0].segment->index().ivf()->lists() == 3);
  store.reset();
  store = Open(dir, metrics);
  CHECK(store->Describe("c")->spec.ivf_lists == 3);
  CHECK(store->Describe("c")->spec.ivf_pq_bytes == 4);
  CHECK(store->Describe("c")->spec.ivf_pq_bits == bits);

  constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;
  spec.name = "d";
  spec.ivf_lists = 65'537;
  REQUIRE_STATUS(store->CreateCollection(spec, ""), kInvalid,
                 "ivf_lists is 65537, allowed is 0 to 65536");
  spec.ivf_lists = 0;
  spec.ivf_pq_bytes = -1;
  REQUIRE_STATUS(store->CreateCollection(spec, ""), kInvalid,
                 "ivf_pq_bytes is -1, allowed is 0 to 256");
  spec.ivf_pq_bytes = 0;
  for (const int32_t wrong : {0, 6, 16}) {
    spec.ivf_pq_bits = wrong;
    REQUIRE_STATUS(store->CreateCollection(spec, ""), kInvalid, "allowed are 4 and 8");
  }
  spec.ivf_pq_bits = 4;
  spec.index = static_cast<IndexKind>(7);
  REQUIRE_STATUS(store->CreateCollection(spec, ""), kInvalid, "index 7");
}

// Waits in the end for three times as long as it has lived.
class Rest {
 public:
  Rest() = default;
  ~Rest() { std::this_thread::sleep_for(3 * (std::chrono::steady_clock::now() - start_)); }
  Rest(const Rest&) = delete;
  Rest& operator=(const Rest&) = delete;

 private:
  const std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

TEST_CASE("points are written, deleted, sealed, searched and clustered at once") {
  const IndexKind index = GENERATE(IndexKind::kIvfPq, IndexKind::kIvfSq);
  TempDir dir;
  Metrics metrics;
  auto store = Open(dir, metrics);
  REQUIRE_OK(store->CreateCollection(IvfSpec(index, Metric::kL2), ""));
  std::atomic<bool> writing = true;
  std::atomic<int> wrong = 0;
  std::vector<std::thread> readers;
  for (uint32_t t = 0; t < 2; ++t) {
    readers.emplace_back([&, t] {
      std::mt19937 random(100 + t);
      while (writing) {
        // The builder is of the lowest priority: readers that never rest would keep it waiting.
        const Rest rest;
        const auto view = store->View("c");
        const std::vector<std::vector<float>> queries = {RandomVector(random, kDimension)};
        std::vector<std::vector<Neighbor>> found;
        const absl::Status status = SearchView(
            **view, queries, {.k = 20}, [] { return absl::OkStatus(); }, &found);
        if (!status.ok() || std::ssize(found[0]) != std::min<int64_t>(20, (*view)->points())) {
          ++wrong;
        }
        if (t == 0 || (*view)->points() < 4) continue;
        const auto clusters = ClusterView(**view, {.k = 4, .iterations = 2, .metric = Metric::kL2},
                                          1 << 20, [] { return absl::OkStatus(); });
        int64_t points = 0;
        if (clusters.ok()) {
          for (const Cluster& cluster : clusters->clusters) points += cluster.points;
        }
        if (points != (*view)->points()) ++wrong;
      }
    });
  }
  std::mt19937 random(93);
  for (PointId id = 0; id < 600;) {
    std::vector<Point> points;
    for (int i = 0; i < 20; ++i)
      points.push_back(MakePoint(id++, RandomVector(random, kDimension)));
    REQUIRE_OK(CommitOne(*store, "c", std::move(points), {random() % (id + 1)}).status);
  }
  store->WaitUntilIdle();
  writing = false;
  for (std::thread& reader : readers) reader.join();
  CHECK(wrong == 0);
}

}  // namespace
}  // namespace baton
