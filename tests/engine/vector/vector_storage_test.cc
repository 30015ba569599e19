// Collections whose vectors are stored as other types than floats.

#include <cmath>
#include <filesystem>
#include <random>
#include <vector>

#include "engine/vector/growing_buffer.h"
#include "engine/vector/segment.h"
#include "engine/vector/vector_store.h"
#include "engine/vector/view_clusters.h"
#include "tests/engine/vector/vector_harness.h"

namespace baton {
namespace {

constexpr int kDimension = 24;

CollectionSpec StoredAs(VectorStorage storage, Metric metric, IndexKind index = IndexKind::kHnsw) {
  CollectionSpec spec = Spec("c", kDimension, metric);
  spec.storage = storage;
  spec.index = index;
  return spec;
}

std::unique_ptr<VectorStore> Open(const VectorOptions& options, Metrics& metrics) {
  auto store = VectorStore::Open(options, metrics);
  REQUIRE_OK(store);
  return *std::move(store);
}

// What a vector becomes by being stored.
std::vector<float> Rounded(const CollectionSpec& spec, const std::vector<float>& vector) {
  const VectorFormat format = FormatOf(spec);
  std::vector<std::byte> row(static_cast<size_t>(format.row_bytes()));
  std::vector<float> rounded(vector.size());
  format.Encode(Scaled(spec.metric, vector).data(), row.data());
  format.Decode(row.data(), 1, rounded.data());
  return rounded;
}

struct Fixture {
  explicit Fixture(const CollectionSpec& c) : spec(c), options(TestOptions(dir.path())) {
    store = Open(options, metrics);
    REQUIRE_OK(store->CreateCollection(spec, ""));
  }
  void Reopen() {
    store.reset();
    store = Open(options, metrics);
  }
  void Write(int count) {
    std::vector<Point> points;
    std::vector<PointId> deletes;
    for (int i = 0; i < count; ++i) {
      std::vector<float> vector = RandomVector(random, kDimension);
      for (float& value : vector) value *= 20;
      const auto id = static_cast<PointId>(random() % 700);
      stored[id] = Rounded(spec, vector);
      points.push_back(MakePoint(id, std::move(vector)));
    }
    REQUIRE_OK(CommitOne(*store, "c", std::move(points)).status);
    const auto gone = static_cast<PointId>(random() % 700);
    stored.erase(gone);
    REQUIRE_OK(CommitOne(*store, "c", {}, {gone}).status);
  }
  // Exact searches find what the naive one does among the stored values, bit for bit, and others
  // most of it, at the same distance; Get tells those values.
  void Check() {
    const auto view = store->View("c");
    REQUIRE_OK(view);
    REQUIRE((*view)->points() == std::ssize(stored));
    int hits = 0;
    for (int round = 0; round < 20; ++round) {
      const std::vector<float> query = RandomVector(random, kDimension);
      std::vector<Neighbor> expected;
      const std::vector<float> prepared = Scaled(spec.metric, query);
      for (const auto& [id, vector] : stored) {
        expected.push_back({NaiveDistance(spec.metric, prepared, vector), id});
      }
      std::sort(expected.begin(), expected.end());
      expected.resize(10);
      REQUIRE(Search(**view, query, {.k = 10, .exact = true}) == expected);
      for (const Neighbor& neighbor : Search(**view, query, {.k = 10, .ef = 200, .nprobe = 16})) {
        hits += static_cast<int>(std::count(expected.begin(), expected.end(), neighbor));
      }
      // Several at once go another way to the same bits.
      const std::vector<std::vector<float>> queries(5, prepared);
      std::vector<std::vector<Neighbor>> found;
      REQUIRE_OK(SearchView(
          **view, queries, {.k = 10, .exact = true}, [] { return absl::OkStatus(); }, &found));
      REQUIRE(found.at(4) == expected);
    }
    REQUIRE(hits >= 190);
    std::vector<PointId> ids;
    for (const auto& [id, vector] : stored) ids.push_back(id);
    const auto points = store->Get("c", ids, true, false);
    REQUIRE_OK(points);
    REQUIRE(points->size() == ids.size());
    for (const Point& point : *points) REQUIRE(point.vector == stored.at(point.id));
  }

  const CollectionSpec spec;
  TempDir dir;
  Metrics metrics;
  VectorOptions options;
  std::unique_ptr<VectorStore> store;
  std::mt19937 random{17};
  Twin stored;
};

TEST_CASE("points are searched by what is stored of them, wherever that is") {
  const auto storage = GENERATE(VectorStorage::kF32, VectorStorage::kF16, VectorStorage::kBf16,
                                VectorStorage::kInt8);
  const auto metric = GENERATE(Metric::kCosine, Metric::kDot, Metric::kL2);
  const auto index = GENERATE(IndexKind::kHnsw, IndexKind::kIvfPq, IndexKind::kIvfSq);
  if (storage == VectorStorage::kF32 && metric == Metric::kCosine) return;  // Get tells it unscaled
  CAPTURE(static_cast<int>(storage), static_cast<int>(metric), static_cast<int>(index));
  Fixture f(StoredAs(storage, metric, index));
  f.Write(50);
  f.Check();  // in the growing buffer
  for (int i = 0; i < 30; ++i) f.Write(40);
  f.store->WaitUntilIdle();
  f.Check();  // sealed and merged
  f.Reopen();
  REQUIRE(f.store->Describe("c")->spec.storage == storage);
  f.Check();
  f.Write(40);
  f.options.graph_files = false;  // all of it in memory
  f.Reopen();
  f.store->WaitUntilIdle();
  f.Check();
}

TEST_CASE("a lost or damaged file's points come back as they were stored") {
  const auto storage = GENERATE(VectorStorage::kF16, VectorStorage::kBf16, VectorStorage::kInt8);
  Fixture f(StoredAs(storage, Metric::kCosine));
  for (int i = 0; i < 10; ++i) f.Write(40);
  f.store->WaitUntilIdle();
  f.store.reset();
  for (const auto& file : std::filesystem::directory_iterator(f.dir.path() + "/segments")) {
    std::filesystem::remove(file);
  }
  f.Reopen();
  f.store->WaitUntilIdle();
  f.Check();
  // A block of vectors is damaged: they are written again from the database, and not scaled anew.
  for (const auto& file : std::filesystem::directory_iterator(f.dir.path() + "/segments")) {
    FILE* const opened = std::fopen(file.path().c_str(), "r+b");
    std::fseek(opened, static_cast<long>(std::filesystem::file_size(file) / 2), SEEK_SET);
    std::fputc(std::fgetc(opened) ^ 1, opened);
    std::fclose(opened);
  }
  f.store->ScrubNow();
  f.store->WaitUntilIdle();
  f.Check();
  f.Reopen();
  f.Check();
}

// Of all files of segments, whose indices are as large whatever the type.
int64_t FileBytes(const Fixture& f) {
  int64_t bytes = 0;
  for (const auto& file : std::filesystem::directory_iterator(f.dir.path() + "/segments")) {
    bytes += static_cast<int64_t>(std::filesystem::file_size(file));
  }
  return bytes;
}

TEST_CASE("smaller types take less room") {
  constexpr int64_t kRows = 64;
  int64_t bytes_of_floats = 0;
  const struct {
    VectorStorage storage;
    int64_t row_bytes;
  } cases[] = {{VectorStorage::kF32, 4 * kDimension},
               {VectorStorage::kF16, 2 * kDimension},
               {VectorStorage::kBf16, 2 * kDimension},
               {VectorStorage::kInt8, kDimension + 4}};
  for (const auto& c : cases) {
    CAPTURE(static_cast<int>(c.storage));
    Fixture f(StoredAs(c.storage, Metric::kCosine, IndexKind::kIvfSq));
    std::vector<Point> points;
    for (int64_t i = 0; i < kRows + 2; ++i) {
      points.push_back(MakePoint(static_cast<PointId>(i), RandomVector(f.random, kDimension)));
    }
    REQUIRE_OK(CommitOne(*f.store, "c", std::move(points)).status);
    f.store->WaitUntilIdle();
    const auto view = f.store->View("c");
    REQUIRE_OK(view);
    REQUIRE((*view)->buffers().size() == 1);
    REQUIRE((*view)->segments().size() == 1);
    // Of a row in memory, and of one in the file that is mapped.
    const StoredRows buffered = (*view)->buffers()[0].buffer->Block(0, 2).vectors;
    const StoredRows sealed = (*view)->segments()[0].segment->data().vectors;
    REQUIRE(buffered.At(1) - buffered.At(0) == c.row_bytes);
    REQUIRE(sealed.At(1) - sealed.At(0) == c.row_bytes);
    const int64_t bytes = FileBytes(f);
    if (c.storage == VectorStorage::kF32) bytes_of_floats = bytes;
    // Parts are padded to 64 bytes.
    REQUIRE(std::abs(bytes_of_floats - bytes - kRows * (4 * kDimension - c.row_bytes)) <= 64);
  }
}

TEST_CASE("values that a type cannot hold are refused") {
  const struct {
    VectorStorage storage;
    Metric metric;
    float value;
    const char* says;
  } cases[] = {
      {VectorStorage::kInt8, Metric::kL2, 127.5f,
       "points[0].vector[3] is 127.5, allowed is -128 to 127: collection \"c\" stores int8"},
      {VectorStorage::kInt8, Metric::kDot, -129, "points[0].vector[3] is -129"},
      {VectorStorage::kF16, Metric::kL2, 65'505, "allowed is -65504 to 65504"},
      {VectorStorage::kF16, Metric::kDot, -1e6f, "stores f16"},
      {VectorStorage::kInt8, Metric::kCosine, 1e6f, nullptr},
      {VectorStorage::kF16, Metric::kCosine, 1e6f, nullptr},
      {VectorStorage::kBf16, Metric::kL2, 1e15f, nullptr},
      {VectorStorage::kInt8, Metric::kL2, 127, nullptr},
      {VectorStorage::kF16, Metric::kL2, 65'504, nullptr},
  };
  for (const auto& c : cases) {
    CAPTURE(static_cast<int>(c.storage), static_cast<int>(c.metric), c.value);
    Fixture f(StoredAs(c.storage, c.metric));
    std::vector<float> vector(kDimension, 1);
    vector[3] = c.value;
    const absl::Status status = CommitOne(*f.store, "c", {MakePoint(1, vector)}).status;
    if (c.says == nullptr) {
      REQUIRE_OK(status);
    } else {
      REQUIRE_STATUS(status, absl::StatusCode::kInvalidArgument, c.says);
    }
    // Queries may be anything.
    const auto view = f.store->View("c");
    vector[3] = 1e6f;
    REQUIRE(Search(**view, vector, {.k = 1}).size() == (c.says == nullptr ? 1 : 0));
  }
  CollectionSpec wrong = StoredAs(static_cast<VectorStorage>(9), Metric::kL2);
  const TempDir dir;
  Metrics metrics;
  REQUIRE_STATUS(Open(TestOptions(dir.path()), metrics)->CreateCollection(wrong, ""),
                 absl::StatusCode::kInvalidArgument, "storage 9 is not known");
}

TEST_CASE("stored vectors are clustered") {
  Fixture f(StoredAs(VectorStorage::kInt8, Metric::kL2));
  std::vector<Point> points;
  for (PointId id = 0; id < 100; ++id) {
    points.push_back(MakePoint(id, std::vector<float>(kDimension, 50.4f)));
  }
  REQUIRE_OK(CommitOne(*f.store, "c", std::move(points)).status);
  f.store->WaitUntilIdle();
  const auto view = f.store->View("c");
  const auto clusters = ClusterView(**view, {.k = 1, .metric = Metric::kL2}, int64_t{1} << 20,
                                    [] { return absl::OkStatus(); });
  REQUIRE_OK(clusters);
  REQUIRE(clusters->clusters.at(0).points == 100);
  REQUIRE(clusters->clusters.at(0).centroid == std::vector<float>(kDimension, 50));
  REQUIRE(clusters->mean_score == 0);
}

}  // namespace
}  // namespace baton
