// Files that changed on the disk: what is damaged is named, what is whole is served.

#include <algorithm>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "engine/vector/checksum.h"
#include "engine/vector/log_check.h"
#include "engine/vector/segment.h"
#include "engine/vector/vector_store.h"
#include "tests/engine/vector/vector_harness.h"

namespace baton {
namespace {

VectorOptions Options(const std::string& data_dir) {
  VectorOptions options = TestOptions(data_dir);
  options.fsync = "always";
  return options;
}

// Files of the database whose name has `part`, the largest first.
std::vector<std::string> DatabaseFiles(const std::string& data_dir, const std::string& part) {
  std::vector<std::string> files;
  for (const auto& entry : std::filesystem::directory_iterator(data_dir + "/points")) {
    if (entry.path().filename().string().find(part) == std::string::npos) continue;
    files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end(), [](const auto& a, const auto& b) {
    return std::filesystem::file_size(a) > std::filesystem::file_size(b);
  });
  return files;
}

void Overwrite(const std::string& path, int64_t at, const std::string& bytes) {
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(at);
  file << bytes;
  REQUIRE(file.good());
}

std::vector<float> VectorOf(PointId id) { return {static_cast<float>(id), 1, 2}; }

// Points from 0, a write each, so that each is one record of the log. The last 20 are the end of
// it: nothing is sealed after them.
void Write(const std::string& data_dir, PointId points) {
  Metrics metrics;
  auto store = VectorStore::Open(Options(data_dir), metrics);
  REQUIRE_OK(store);
  REQUIRE_OK((*store)->CreateCollection(Spec("c", 3), ""));
  for (PointId id = 0; id < points; ++id) {
    if (id + 20 == points) (*store)->WaitUntilIdle();
    REQUIRE_OK(CommitOne(**store, "c", {MakePoint(id, VectorOf(id))}).status);
  }
}

std::vector<PointId> IdsOf(const VectorStore& store) {
  const auto view = store.View("c");
  REQUIRE_OK(view);
  std::vector<PointId> ids;
  for (const Neighbor& found : Search(**view, {0, 1, 2}, {.k = 10'000, .exact = true})) {
    ids.push_back(found.id);  // nearer ones have smaller ids
  }
  std::vector<PointId> all(20'000);
  for (size_t i = 0; i < all.size(); ++i) all[i] = i;
  const auto points = store.Get("c", all, true, true);
  REQUIRE_OK(points);
  REQUIRE(points->size() == ids.size());
  return ids;
}

TEST_CASE("what a crash tore off the end of the log is forgotten") {
  for (const int64_t torn : {2, 15, 30, 33}) {
    CAPTURE(torn);
    const TempDir dir;
    Write(dir.path(), 20);
    const std::string log = DatabaseFiles(dir.path(), ".log").at(0);
    const auto size = static_cast<int64_t>(std::filesystem::file_size(log));
    if (torn % 2 == 0) {
      std::filesystem::resize_file(log, static_cast<uint64_t>(size - torn));
    } else {  // room that was there before the bytes were
      Overwrite(log, size - torn, std::string(static_cast<size_t>(torn), '\0'));
    }
    Metrics metrics;
    auto store = VectorStore::Open(Options(dir.path()), metrics);
    REQUIRE_OK(store);
    REQUIRE_OK((*store)->writable());
    REQUIRE(IdsOf(**store).size() == 19);
    REQUIRE_OK(CommitOne(**store, "c", {MakePoint(19, VectorOf(19))}).status);
    REQUIRE(IdsOf(**store).size() == 20);
  }
}

TEST_CASE("a log that was torn from its beginning is no damage once others were written") {
  const TempDir dir;
  Write(dir.path(), 20);
  Metrics metrics;
  const auto write = [&](PointId id) {
    auto store = VectorStore::Open(Options(dir.path()), metrics);
    REQUIRE_OK(store);
    REQUIRE_OK((*store)->writable());
    REQUIRE_OK(CommitOne(**store, "c", {MakePoint(id, VectorOf(id))}).status);
  };
  write(20);  // alone in a log
  const std::string log = DatabaseFiles(dir.path(), ".log").at(0);
  REQUIRE(std::filesystem::file_size(log) < 150);
  Overwrite(log, 0, "\xff\xff\xff\xff\xff\xff\xff\xff");
  write(21);
  write(22);
  auto store = VectorStore::Open(Options(dir.path()), metrics);
  REQUIRE_OK(store);
  REQUIRE_OK((*store)->writable());
  REQUIRE(IdsOf(**store).size() == 22);
}

TEST_CASE("the empty write that a log begins with is no sign of damage before it") {
  const TempDir dir;
  Write(dir.path(), 20);
  const std::string directory = dir.path() + "/points";
  const std::string log = DatabaseFiles(dir.path(), ".log").at(0);
  std::filesystem::resize_file(log, std::filesystem::file_size(log) - 15);
  // As RocksDB writes it: a checksum, masked, of type and data, the data's size, the type, the
  // data.
  const auto record = [](const std::string& data) {
    const std::string summed = '\1' + data;
    const uint32_t crc = Crc32c(summed);
    const uint32_t masked = ((crc >> 15) | (crc << 17)) + 0xa282ead8u;
    const auto size = static_cast<uint16_t>(data.size());
    std::string bytes(6, '\0');
    std::memcpy(bytes.data(), &masked, sizeof(masked));
    std::memcpy(bytes.data() + 4, &size, sizeof(size));
    return bytes + summed;
  };
  const std::string nothing = record(std::string(12, '\0'));
  const auto damage_before = [&](const std::string& bytes) {
    std::ofstream(directory + "/999999.log", std::ios::binary) << bytes;
    const auto damage = FindLogDamage(*SystemFiles(), directory, /*all_synced=*/true);
    REQUIRE_OK(damage);
    return damage->has_value();
  };
  REQUIRE_FALSE(damage_before(""));
  REQUIRE_FALSE(damage_before(nothing));
  REQUIRE(damage_before(nothing + nothing));
  REQUIRE(damage_before(record(std::string(20, 'x'))));
}

TEST_CASE("a log damaged before its end makes the store read-only until it is repaired") {
  const uint32_t seed = std::random_device{}();
  CAPTURE(seed);
  std::mt19937 random(seed);
  for (int round = 0; round < 6; ++round) {
    const TempDir dir;
    Write(dir.path(), 800);
    const std::string log = DatabaseFiles(dir.path(), ".log").at(0);
    const auto size = static_cast<int64_t>(std::filesystem::file_size(log));
    REQUIRE(size > 65'536);  // several blocks
    // In the last block, too, where RocksDB takes a wrong size for the end.
    const int64_t at = round % 2 == 0 ? size / 4 + static_cast<int64_t>(random() % (size / 2))
                                      : size - 500 - static_cast<int64_t>(random() % 200);
    CAPTURE(at);
    Overwrite(log, at, "\xff\xff\xff\xff\xff\xff\xff\xff");
    Metrics metrics;
    VectorOptions options = Options(dir.path());
    std::vector<PointId> readable;
    for (int opened = 0; opened < 2; ++opened) {
      auto store = VectorStore::Open(options, metrics);
      REQUIRE_OK(store);
      readable = IdsOf(**store);
      REQUIRE(readable.size() >= 400);  // a wrong size costs the rest of its block
      REQUIRE(readable.size() <= 800);  // all, where it was a change of the manifest
      for (const absl::Status& status :
           {(*store)->writable(), CommitOne(**store, "c", {MakePoint(1, VectorOf(1))}).status,
            (*store)->CreateCollection(Spec("d", 3), ""), (*store)->DropCollection("c")}) {
        REQUIRE_STATUS(status, absl::StatusCode::kFailedPrecondition, log);
        REQUIRE_STATUS(status, absl::StatusCode::kFailedPrecondition, "--vector.repair=true");
      }
      REQUIRE(IdsOf(**store) == readable);
    }
    options.repair = true;
    auto store = VectorStore::Open(options, metrics);
    REQUIRE_OK(store);
    REQUIRE(IdsOf(**store) == readable);
    REQUIRE_OK(CommitOne(**store, "c", {MakePoint(5000, VectorOf(5000))}).status);
    REQUIRE(std::filesystem::file_size(dir.path() + "/damaged/" +
                                       std::filesystem::path(log).filename().string()) ==
            static_cast<uint64_t>(size));
    store->reset();
    options.repair = false;
    store = VectorStore::Open(options, metrics);
    REQUIRE_OK(store);
    REQUIRE_OK((*store)->writable());
    REQUIRE(IdsOf(**store).size() == readable.size() + 1);
  }
}

TEST_CASE("a database whose manifest or table is damaged is refused, the file named") {
  const std::string what = GENERATE("MANIFEST", "CURRENT", "missing MANIFEST", ".sst");
  CAPTURE(what);
  const TempDir dir;
  Write(dir.path(), 300);
  if (what == ".sst") {  // opening again moves what is in the log to a table
    Metrics metrics;
    REQUIRE_OK(VectorStore::Open(Options(dir.path()), metrics));
  }
  const bool missing = what == "missing MANIFEST";
  const std::string path = DatabaseFiles(dir.path(), missing ? "MANIFEST" : what).at(0);
  if (missing) {
    std::filesystem::remove(path);
  } else {
    const auto size = static_cast<int64_t>(std::filesystem::file_size(path));
    Overwrite(path, size / 3, std::string(8, '\x5A'));
  }
  Metrics metrics;
  const auto store = VectorStore::Open(Options(dir.path()), metrics);
  REQUIRE(store.status().code() == absl::StatusCode::kDataLoss);
  const std::string name = std::filesystem::path(path).filename().string();
  CAPTURE(store.status().ToString());
  REQUIRE(store.status().message().find(name) != std::string::npos);
}

// A store whose points are sealed, all but a few, in files with vectors.
std::unique_ptr<VectorStore> Sealed(const std::string& data_dir, Twin* twin, Metrics& metrics) {
  auto store = VectorStore::Open(Options(data_dir), metrics);
  REQUIRE_OK(store);
  CollectionSpec spec = Spec("c", 32);
  spec.hnsw_m = 4;
  REQUIRE_OK((*store)->CreateCollection(spec, ""));
  std::mt19937 random(5);
  std::vector<Point> points;
  for (PointId id = 0; id < 3000; ++id) {
    (*twin)[id] = RandomVector(random, 32);
    points.push_back(MakePoint(id, (*twin)[id], {{"id", static_cast<int64_t>(id)}}));
  }
  REQUIRE_OK(CommitOne(**store, "c", points).status);
  (*store)->WaitUntilIdle();
  return *std::move(store);
}

std::vector<std::string> SegmentFiles(const std::string& data_dir) {
  std::vector<std::string> files;
  for (const auto& entry : std::filesystem::directory_iterator(data_dir + "/segments")) {
    if (entry.path().extension() == ".segment") files.push_back(entry.path());
  }
  return files;
}

void RequireAllFound(const VectorStore& store, const Twin& twin) {
  std::mt19937 random(6);
  const auto view = store.View("c");
  REQUIRE_OK(view);
  REQUIRE((*view)->points() == static_cast<int64_t>(twin.size()));
  for (int i = 0; i < 5; ++i) {
    const std::vector<float> query = RandomVector(random, 32);
    REQUIRE(Search(**view, query, {.k = 100, .exact = true}) ==
            NaiveSearch(twin, Metric::kL2, query, 100));
  }
}

TEST_CASE("scrubbing finds damaged vectors and takes them from the database") {
  const TempDir dir;
  Metrics metrics;
  Twin twin;
  auto store = Sealed(dir.path(), &twin, metrics);
  const bool reopened = GENERATE(false, true);
  if (reopened) store.reset();
  for (const std::string& path : SegmentFiles(dir.path())) {
    // Behind header, ids and sequences; the file is mapped: the same bytes.
    const auto rows = static_cast<int64_t>(std::filesystem::file_size(path) / 300);
    Overwrite(path, 64 + rows * 16 + rows * 40, std::string(1000, '\x7f'));
  }
  if (reopened) {
    auto opened = VectorStore::Open(Options(dir.path()), metrics);
    REQUIRE_OK(opened);
    store = *std::move(opened);
  }
  store->ScrubNow();
  RequireAllFound(*store, twin);
  const auto points = store->Get("c", std::vector<PointId>{7, 2999}, true, true);
  REQUIRE_OK(points);
  REQUIRE(points->at(0).vector == twin[7]);
  REQUIRE(points->at(1).payload == Payload{{"id", int64_t{2999}}});
  store->WaitUntilIdle();
  RequireAllFound(*store, twin);
  store.reset();
  auto opened = VectorStore::Open(Options(dir.path()), metrics);
  REQUIRE_OK(opened);
  RequireAllFound(**opened, twin);
}

TEST_CASE("a page that the disk does not give costs a search, not the process") {
  const TempDir dir;
  Metrics metrics;
  Twin twin;
  auto store = Sealed(dir.path(), &twin, metrics);
  // Cut while mapped: touching what is gone is what a bad sector is, SIGBUS.
  for (const std::string& path : SegmentFiles(dir.path())) std::filesystem::resize_file(path, 4096);
  const auto view = store->View("c");
  REQUIRE_OK(view);
  std::vector<std::vector<float>> query = {std::vector<float>(32, 0.5f)};
  std::vector<std::vector<Neighbor>> neighbors;
  const SearchParams params{.k = 10, .exact = true};
  const auto search = [&](const CollectionView& of) {
    return SearchView(
        of, query, params, [] { return absl::OkStatus(); }, &neighbors);
  };
  REQUIRE_STATUS(search(**view), absl::StatusCode::kUnavailable, "try again");
  // Asked so, the rest is searched, and what is not is counted. This view keeps what is damaged.
  Twin rest = twin;
  int64_t unreadable = 0;
  for (const CollectionView::SegmentPart& part : (*view)->segments()) {
    unreadable += part.live;
    for (const PointId id : part.segment->data().ids) rest.erase(id);
  }
  REQUIRE(unreadable + static_cast<int64_t>(rest.size()) == (*view)->points());
  SearchParams partial = params;
  partial.allow_partial = true;
  for (const bool exact : {true, false}) {
    partial.exact = exact;
    int64_t unsearched = 0;
    REQUIRE_OK(SearchView(
        **view, query, partial, [] { return absl::OkStatus(); }, &neighbors, &unsearched));
    REQUIRE(unsearched == unreadable);
    REQUIRE(neighbors.front() == NaiveSearch(rest, Metric::kL2, query.front(), 10));
  }
  for (int tries = 0; tries < 500; ++tries) {
    if (search(*store->View("c").value()).ok()) break;
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  RequireAllFound(*store, twin);
  store->WaitUntilIdle();
  RequireAllFound(*store, twin);
  int64_t unsearched = -1;
  REQUIRE_OK(SearchView(
      **store->View("c"), query, partial, [] { return absl::OkStatus(); }, &neighbors,
      &unsearched));
  REQUIRE(unsearched == 0);
}

}  // namespace
}  // namespace baton
