// What opening a store reads: the manifest and what is pending, not the points.

#include <fcntl.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <map>
#include <random>
#include <set>
#include <string>

#include "engine/vector/vector_store.h"
#include "rocksdb/db.h"
#include "tests/engine/vector/crash_workload.h"

namespace baton {
namespace {

// All keys and values of a closed store's database.
std::map<std::string, std::string> Records(const std::string& data_dir) {
  rocksdb::DB* raw = nullptr;
  REQUIRE(rocksdb::DB::OpenForReadOnly({}, data_dir + "/points", &raw).ok());
  const std::unique_ptr<rocksdb::DB> db(raw);
  std::map<std::string, std::string> records;
  const std::unique_ptr<rocksdb::Iterator> it(db->NewIterator({}));
  for (it->SeekToFirst(); it->Valid(); it->Next()) {
    records[it->key().ToString()] = it->value().ToString();
  }
  return records;
}

int Count(const std::map<std::string, std::string>& records, char kind) {
  int count = 0;
  for (const auto& [key, value] : records) count += key[0] == kind ? 1 : 0;
  return count;
}

void Change(const std::string& data_dir, const std::string& key, const char* value) {
  rocksdb::DB* raw = nullptr;
  REQUIRE(rocksdb::DB::Open({}, data_dir + "/points", &raw).ok());
  const std::unique_ptr<rocksdb::DB> db(raw);
  REQUIRE((value == nullptr ? db->Delete({}, key) : db->Put({}, key, std::string(value, 8))).ok());
}

struct Fixture {
  Fixture() : work(std::random_device{}()), options(TestOptions(dir.path())) {
    options.fsync = "always";
  }
  void Open() {
    store.reset();
    auto opened = VectorStore::Open(options, metrics);
    REQUIRE_OK(opened);
    store = *std::move(opened);
  }
  void Work(int steps) {
    for (int i = 0; i < steps; ++i) REQUIRE_OK(work.Step(*store));
    store->WaitUntilIdle();
  }

  TempDir dir;
  CrashWorkload work;
  VectorOptions options;
  Metrics metrics;
  std::unique_ptr<VectorStore> store;
};

TEST_CASE("what is sealed is named by the manifest and pending no more") {
  Fixture f;
  f.Open();
  int64_t segments = 0;
  // What is drawn may end with collections that were just dropped.
  for (int tries = 0; tries < 20 && segments == 0; ++tries) {
    f.Work(80);
    for (const CollectionInfo& info : f.store->List()) segments += info.segments;
  }
  REQUIRE(segments > 0);
  f.store.reset();
  const auto records = Records(f.dir.path());
  REQUIRE(Count(records, 'G') >= segments);
  REQUIRE(Count(records, 'D') == Count(records, 'G'));
  std::set<std::string> named;
  for (const auto& entry : std::filesystem::directory_iterator(f.dir.path() + "/segments")) {
    if (entry.path().extension() == ".segment") named.insert(entry.path().filename());
  }
  REQUIRE(static_cast<int>(named.size()) == Count(records, 'G'));
  REQUIRE(Count(records, 'U') < 40);  // writes since the last seal
  for (int round = 0; round < 3; ++round) {
    f.Open();
    REQUIRE(f.work.Settle(*f.store) == "");
    f.Work(5);
  }
}

TEST_CASE("a database of the format without a manifest is brought to this one") {
  Fixture f;
  f.options.graph_files = false;  // as it was: points alone
  f.Open();
  f.Work(60);
  f.store.reset();
  REQUIRE(Count(Records(f.dir.path()), 'G') == 0);
  Change(f.dir.path(), "M", "\1\0\0\0\0\0\0\0");
  Change(f.dir.path(), "F", nullptr);
  f.options.graph_files = true;
  for (int round = 0; round < 3; ++round) {
    f.Open();
    REQUIRE(f.work.Settle(*f.store) == "");
    f.Work(20);
  }
  f.work.KeepCollections();
  f.Open();
  f.Work(200);
  f.store->WaitUntilIdle();
  f.store.reset();
  REQUIRE(Records(f.dir.path()).at("M") == std::string("\5\0\0\0\0\0\0\0", 8));
  REQUIRE(Count(Records(f.dir.path()), 'G') > 0);
  Change(f.dir.path(), "M", "\7\0\0\0\0\0\0\0");
  REQUIRE_STATUS(VectorStore::Open(f.options, f.metrics), absl::StatusCode::kFailedPrecondition,
                 "has format 7, this daemon reads formats 2 to 6");
}

TEST_CASE("types other than floats take their bytes, and a format that says so") {
  Fixture f;
  f.Open();
  REQUIRE_OK(f.store->CreateCollection(Spec("floats", 10), ""));
  REQUIRE_OK(CommitOne(*f.store, "floats", {MakePoint(7, std::vector<float>(10, 2))}).status);
  f.store.reset();
  REQUIRE(Records(f.dir.path()).at("M") == std::string("\2\0\0\0\0\0\0\0", 8));
  f.Open();
  CollectionSpec spec = Spec("bytes", 10, Metric::kCosine);
  spec.storage = VectorStorage::kInt8;
  REQUIRE_OK(f.store->CreateCollection(spec, ""));
  spec.name = "halves";
  spec.storage = VectorStorage::kF16;
  REQUIRE_OK(f.store->CreateCollection(spec, ""));
  for (const char* name : {"bytes", "halves"}) {
    REQUIRE_OK(CommitOne(*f.store, name, {MakePoint(7, std::vector<float>(10, 2))}).status);
  }
  f.store.reset();
  const auto records = Records(f.dir.path());
  REQUIRE(records.at("M") == std::string("\3\0\0\0\0\0\0\0", 8));
  std::vector<size_t> bytes;  // by collection
  for (const auto& [key, value] : records) {
    if (key[0] == 'V') bytes.push_back(value.size());
  }
  REQUIRE(bytes == std::vector<size_t>{8 + 40, 8 + 14, 8 + 20});
  f.Open();
  REQUIRE(f.store->Describe("bytes")->spec.storage == VectorStorage::kInt8);
  REQUIRE(f.store->Describe("halves")->spec.storage == VectorStorage::kF16);
  REQUIRE(f.store->Describe("floats")->spec.storage == VectorStorage::kF32);
}

TEST_CASE("product codes of 8 bits raise the format, and nothing lowers it") {
  Fixture f;
  f.Open();
  CollectionSpec spec = Spec("four", 4);
  spec.index = IndexKind::kIvfPq;
  REQUIRE_OK(f.store->CreateCollection(spec, ""));
  f.store.reset();
  REQUIRE(Records(f.dir.path()).at("M") == std::string("\2\0\0\0\0\0\0\0", 8));
  f.Open();
  if (GENERATE(false, true)) {
    spec.name = "eight";
    spec.ivf_pq_bits = 8;
    REQUIRE_OK(f.store->CreateCollection(spec, ""));
  } else {
    CollectionSpec named = Spec("eight", 0);
    spec.ivf_pq_bits = 8;
    spec.name = "v";
    spec.vector_name = "v";
    named.vectors = {spec};
    REQUIRE_OK(f.store->CreateCollection(named, ""));
  }
  REQUIRE_OK(f.store->CreatePayloadIndex("four", {"n", PayloadIndexKind::kInteger}));
  f.store.reset();
  REQUIRE(Records(f.dir.path()).at("M") == std::string("\6\0\0\0\0\0\0\0", 8));
  f.Open();
  REQUIRE(f.store->Describe("four")->spec.ivf_pq_bits == 4);
  const CollectionSpec eight = f.store->Describe("eight")->spec;
  REQUIRE((eight.vectors.empty() ? eight : eight.vectors.at(0)).ivf_pq_bits == 8);
}

TEST_CASE("UUIDs have keys of their own, and a format that says so") {
  Fixture f;
  f.Open();
  REQUIRE_OK(f.store->CreateCollection(Spec("c", 1), ""));
  REQUIRE_OK(CommitOne(*f.store, "c", {MakePoint(7, {1})}).status);
  f.store.reset();
  REQUIRE(Records(f.dir.path()).at("M") == std::string("\2\0\0\0\0\0\0\0", 8));
  f.Open();
  REQUIRE_OK(CommitOne(*f.store, "c", {MakePoint(MakePointId(8, 7), {1})}).status);
  f.store.reset();
  const auto records = Records(f.dir.path());
  REQUIRE(records.at("M") == std::string("\3\0\0\0\0\0\0\0", 8));
  for (const char kind : {'V', 'P', 'v', 'p'}) REQUIRE(Count(records, kind) == 1);
  f.Open();
  REQUIRE((*f.store->View("c"))->points() == 2);
}

TEST_CASE("nothing is left of a dropped collection, nor of one whose drop was cut short") {
  Fixture f;
  f.Open();
  REQUIRE_OK(f.store->CreateCollection(Spec("dropped", 3), ""));
  REQUIRE_OK(f.store->CreateCollection(Spec("kept", 3), ""));
  for (const char* const name : {"dropped", "kept"}) {
    REQUIRE_OK(CommitOne(*f.store, name, {MakePoint(1, {1, 2, 3})}).status);
  }
  REQUIRE_OK(f.store->DropCollection("dropped"));
  f.store.reset();
  REQUIRE(Count(Records(f.dir.path()), 'V') == 1);
  REQUIRE(Count(Records(f.dir.path()), 'P') == 1);
  const std::string left = std::string("\0\0\0\x63", 4) + std::string("\0\0\0\0\0\0\0\1", 8);
  for (const char* const kind : {"V", "P", "U"}) Change(f.dir.path(), kind + left, "leftover");
  f.Open();
  REQUIRE(f.store->Describe("kept")->points == 1);
  f.store.reset();
  const auto records = Records(f.dir.path());
  REQUIRE(Count(records, 'V') == 1);
  REQUIRE(Count(records, 'P') == 1);
  for (const auto& [key, value] : records) REQUIRE(value != "leftover");
}

TEST_CASE("files may be left out for a while: then all points are looked through once") {
  Fixture f;
  for (int round = 0; round < 6; ++round) {
    CAPTURE(round);
    f.options.graph_files = round % 2 == 0;
    f.Open();
    REQUIRE(f.work.Settle(*f.store) == "");
    f.Work(20);
    REQUIRE(f.work.Settle(*f.store) == "");
  }
}

TEST_CASE("a segment that is lost costs building it again, and resurrects nothing") {
  Fixture f;
  f.Open();
  for (int round = 0; round < 6; ++round) {
    CAPTURE(round);
    f.Work(30);
    f.store.reset();
    int damaged = 0;
    for (const auto& entry : std::filesystem::directory_iterator(f.dir.path() + "/segments")) {
      if (entry.path().extension() != ".segment" || damaged > 0) continue;
      ++damaged;
      if (round % 2 == 0) {
        std::filesystem::resize_file(entry.path(), entry.file_size() / 2);
      } else {
        std::filesystem::remove(entry.path());
      }
    }
    f.Open();
    REQUIRE(f.work.Settle(*f.store) == "");
    f.Open();  // and is whole from then on
    REQUIRE(f.work.Settle(*f.store) == "");
  }
}

// Nothing of the directory's files is in memory any more.
void ForgetPages(const std::string& path) {
  for (const auto& entry : std::filesystem::recursive_directory_iterator(path)) {
    const int fd = open(entry.path().c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0) continue;
    fsync(fd);
    posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    close(fd);
  }
}

TEST_CASE("a million points are there a second after the daemon begins", "[.slow]") {
  constexpr PointId kPoints = 1'000'000;
  constexpr int kTail = 8000;  // not sealed
  TempDir dir;
  VectorOptions options = TestOptions(dir.path());
  options.seal_points = 250'000;
  CollectionSpec spec = Spec("c", 128);
  spec.hnsw_ef_construction = 8;  // a graph as large as any, sooner
  std::mt19937 random(9);
  std::vector<float> query;
  {
    Metrics metrics;
    auto store = VectorStore::Open(options, metrics);
    REQUIRE_OK(store);
    REQUIRE_OK((*store)->CreateCollection(spec, ""));
    for (PointId id = 0; id < kPoints + kTail;) {
      std::vector<Point> points;
      for (int i = 0; i < 2000; ++i, ++id) {
        points.push_back(MakePoint(id, RandomVector(random, 128)));
      }
      query = points.back().vector;
      REQUIRE_OK(CommitOne(**store, "c", std::move(points)).status);
    }
    (*store)->WaitUntilIdle();
    REQUIRE((*store)->Describe("c")->points_unindexed == kTail);
  }
  for (const bool cold : {true, false}) {
    if (cold) ForgetPages(dir.path());
    const auto begin = std::chrono::steady_clock::now();
    Metrics metrics;
    auto store = VectorStore::Open(options, metrics);
    REQUIRE_OK(store);
    const auto opened = std::chrono::steady_clock::now();
    const auto view = (*store)->View("c");
    REQUIRE_OK(view);
    const auto found = Search(**view, query, {.k = 10});
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
    const std::chrono::duration<double> open_seconds = opened - begin;
    REQUIRE(found.at(0) == Neighbor{0, kPoints + kTail - 1});
    REQUIRE((*view)->points() == static_cast<int64_t>(kPoints) + kTail);
    WARN((cold ? "cold: " : "warm: ") << seconds.count() << " s to the first answer, of that "
                                      << open_seconds.count() << " s to open");
    REQUIRE(seconds.count() < 5);  // 1 on a machine that does nothing else
  }
}

}  // namespace
}  // namespace baton
