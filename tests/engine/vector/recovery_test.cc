// What is in a store after it was closed and opened again, with its files whole or not.

#include <filesystem>
#include <fstream>
#include <random>
#include <string>
#include <vector>

#include "engine/vector/vector_store.h"
#include "tests/engine/vector/vector_harness.h"

namespace baton {
namespace {

std::vector<std::filesystem::path> SegmentFiles(const std::string& data_dir) {
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(data_dir + "/segments")) {
    files.push_back(entry.path());
  }
  return files;
}

std::unique_ptr<VectorStore> OpenStore(const VectorOptions& options, Metrics& metrics) {
  auto store = VectorStore::Open(options, metrics);
  REQUIRE_OK(store);
  return std::move(*store);
}

void RequireHolds(const VectorStore& store, const std::string& collection, Metric metric,
                  const Twin& twin, std::mt19937& random) {
  const auto view = store.View(collection);
  REQUIRE_OK(view);
  REQUIRE((*view)->points() == static_cast<int64_t>(twin.size()));
  const std::vector<float> query = RandomVector(random, (*view)->spec().dimension);
  const auto expected = NaiveSearch(twin, metric, query, 10'000);
  for (const bool exact : {false, true}) {
    REQUIRE(Search(**view, query, {.k = 10'000, .exact = exact}) == expected);
  }
}

// Fills a store and changes it so that files hold rows that were deleted and replaced since.
Twin Fill(VectorStore& store, std::mt19937& random) {
  REQUIRE_OK(store.CreateCollection(Spec("c", 6, Metric::kCosine), "lexical"));
  Twin twin;
  std::vector<Point> points;
  for (PointId id = 0; id < 400; ++id) {
    twin[id] = RandomVector(random, 6);
    points.push_back(MakePoint(id, twin[id], {{"n", static_cast<int64_t>(id)}}));
  }
  REQUIRE_OK(CommitOne(store, "c", points).status);
  store.WaitUntilIdle();
  points.clear();
  std::vector<PointId> deletes;
  for (PointId id = 0; id < 400; id += 7) {
    twin[id] = RandomVector(random, 6);
    points.push_back(MakePoint(id, twin[id]));
  }
  for (PointId id = 3; id < 400; id += 7) {
    twin.erase(id);
    deletes.push_back(id);
  }
  REQUIRE_OK(CommitOne(store, "c", points, deletes).status);
  return twin;
}

TEST_CASE("a store opened again has everything, its graphs from their files") {
  const TempDir dir;
  const VectorOptions options = TestOptions(dir.path());
  std::mt19937 random(31);
  Metrics metrics;
  auto store = OpenStore(options, metrics);
  Twin twin = Fill(*store, random);
  for (int round = 0; round < 4; ++round) {
    CAPTURE(round);
    store.reset();
    store = OpenStore(options, metrics);
    const CollectionInfo info = *store->Describe("c");
    REQUIRE(info.embedder == "lexical");
    REQUIRE(info.spec.metric == Metric::kCosine);
    REQUIRE(info.segments >= 1);
    REQUIRE(info.points_unindexed < 128);
    RequireHolds(*store, "c", Metric::kCosine, twin, random);
    const auto points = store->Get("c", std::vector<PointId>{1}, true, true);
    REQUIRE_OK(points);
    REQUIRE(points->at(0).vector == twin[1]);
    REQUIRE(points->at(0).payload == Payload{{"n", int64_t{1}}});
    // An id that dies, is forgotten over a restart and comes back is not mistaken for its old self.
    const PointId id = 50 + static_cast<PointId>(round) / 2;
    if (round % 2 == 0) {
      REQUIRE(CommitOne(*store, "c", {}, {id}).deleted == 1);
      twin.erase(id);
    } else {
      twin[id] = RandomVector(random, 6);
      REQUIRE_OK(CommitOne(*store, "c", {MakePoint(id, twin[id])}).status);
    }
    RequireHolds(*store, "c", Metric::kCosine, twin, random);
  }
}

TEST_CASE("a damaged, truncated or missing segment file is built again, with nothing lost") {
  const TempDir dir;
  VectorOptions options = TestOptions(dir.path());
  options.seal_points = 400;
  std::mt19937 random(32);
  Metrics metrics;
  auto store = OpenStore(options, metrics);
  Twin twin = Fill(*store, random);
  store->WaitUntilIdle();
  store.reset();
  for (const char* how : {"flip", "truncate", "empty", "remove", "foreign"}) {
    CAPTURE(how);
    for (const auto& path : SegmentFiles(dir.path())) {
      const auto size = std::filesystem::file_size(path);
      if (how == std::string("flip")) {
        std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
        file.seekg(static_cast<std::streamoff>(size / 2));
        const int byte = file.get();
        file.seekp(static_cast<std::streamoff>(size / 2));
        file.put(static_cast<char>(byte ^ 0x10));
      } else if (how == std::string("truncate")) {
        std::filesystem::resize_file(path, size - 100);
      } else if (how == std::string("empty")) {
        std::filesystem::resize_file(path, 0);
      } else if (how == std::string("remove")) {
        std::filesystem::remove(path);
      } else {
        std::ofstream(path, std::ios::binary | std::ios::trunc) << std::string(size, 'x');
      }
    }
    std::ofstream(dir.path() + "/segments/1-77.segment.tmp") << "left by a crash";
    std::ofstream(dir.path() + "/segments/99-1.segment") << "of a dropped collection";
    store = OpenStore(options, metrics);
    RequireHolds(*store, "c", Metric::kCosine, twin, random);
    // Topped up so that the buffer is full and sealed.
    std::vector<Point> points;
    for (PointId id = 1000; id < 1400; ++id) {
      twin[id] = RandomVector(random, 6);
      points.push_back(MakePoint(id, twin[id]));
    }
    REQUIRE_OK(CommitOne(*store, "c", points).status);
    store->WaitUntilIdle();
    REQUIRE(store->Describe("c")->segments >= 1);
    RequireHolds(*store, "c", Metric::kCosine, twin, random);
    for (const auto& path : SegmentFiles(dir.path())) REQUIRE(path.filename() != "99-1.segment");
    REQUIRE_FALSE(std::filesystem::exists(dir.path() + "/segments/1-77.segment.tmp"));
    store.reset();
  }
}

TEST_CASE("without graph files, graphs are built at start") {
  const TempDir dir;
  VectorOptions options = TestOptions(dir.path());
  options.graph_files = false;
  std::mt19937 random(33);
  Metrics metrics;
  auto store = OpenStore(options, metrics);
  const Twin twin = Fill(*store, random);
  REQUIRE(SegmentFiles(dir.path()).empty());
  store.reset();
  store = OpenStore(options, metrics);
  RequireHolds(*store, "c", Metric::kCosine, twin, random);
  store->WaitUntilIdle();
  REQUIRE(store->Describe("c")->segments >= 1);
  RequireHolds(*store, "c", Metric::kCosine, twin, random);
}

TEST_CASE("a dropped collection stays dropped, and its name starts anew") {
  const TempDir dir;
  const VectorOptions options = TestOptions(dir.path());
  std::mt19937 random(34);
  Metrics metrics;
  auto store = OpenStore(options, metrics);
  Fill(*store, random);
  REQUIRE_FALSE(SegmentFiles(dir.path()).empty());
  REQUIRE_OK(store->DropCollection("c"));
  store->WaitUntilIdle();
  REQUIRE(SegmentFiles(dir.path()).empty());
  REQUIRE_OK(store->CreateCollection(Spec("c", 2), ""));
  REQUIRE_OK(CommitOne(*store, "c", {MakePoint(1, {1, 1})}).status);
  store.reset();
  store = OpenStore(options, metrics);
  REQUIRE(store->List().size() == 1);
  RequireHolds(*store, "c", Metric::kL2, {{1, {1, 1}}}, random);
}

}  // namespace
}  // namespace baton
