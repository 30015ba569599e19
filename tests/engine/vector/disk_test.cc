// Directories that cannot be used, and disks without room.

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <iostream>
#include <random>
#include <string>
#include <vector>

#include "engine/vector/durable_file.h"
#include "engine/vector/vector_store.h"
#include "tests/engine/vector/vector_harness.h"

namespace baton {
namespace {

TEST_CASE("a data directory that cannot be used is refused for its reason") {
  const TempDir dir;
  Metrics metrics;
  REQUIRE_STATUS(VectorStore::Open(TestOptions(""), metrics), absl::StatusCode::kInvalidArgument,
                 "vector.data_dir is empty");
  const std::string file = dir.path() + "/file";
  std::ofstream(file) << "not a directory";
  REQUIRE_STATUS(VectorStore::Open(TestOptions(file + "/data"), metrics),
                 absl::StatusCode::kFailedPrecondition, file + "/data");
  REQUIRE_STATUS(VectorStore::Open(TestOptions(file), metrics),
                 absl::StatusCode::kFailedPrecondition, file);
}

// Runs `body` in a child process; its result is the exit status.
int InChild(const std::function<int()>& body) {
  const pid_t child = fork();
  if (child == 0) _exit(body());
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  REQUIRE(WIFEXITED(status));
  return WEXITSTATUS(status);
}

TEST_CASE("an unwritable data directory is refused") {
  const TempDir dir;
  REQUIRE(chmod(dir.path().c_str(), 0555) == 0);
  const int result = InChild([&dir] {
    if (geteuid() == 0 && setuid(65'534) != 0) return 77;  // root may write anywhere
    Metrics metrics;
    const auto existing = VectorStore::Open(TestOptions(dir.path()), metrics);
    const auto below = VectorStore::Open(TestOptions(dir.path() + "/data"), metrics);
    const bool named = existing.status().message().find(dir.path()) != std::string::npos &&
                       below.status().message().find(dir.path() + "/data") != std::string::npos;
    return absl::IsPermissionDenied(existing.status()) &&
                   absl::IsPermissionDenied(below.status()) && named
               ? 0
               : 1;
  });
  REQUIRE(result == 0);
}

TEST_CASE("one process at a time has a data directory") {
  const TempDir dir;
  int ready[2];
  int done[2];
  REQUIRE(pipe(ready) == 0);
  REQUIRE(pipe(done) == 0);
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    close(done[1]);
    const auto lock = DirectoryLock::Take(dir.path());
    char byte = lock.ok() ? 1 : 0;
    if (write(ready[1], &byte, 1) != 1) _exit(1);
    _exit(read(done[0], &byte, 1) == 0 ? 0 : 1);  // ends when the parent closes its end
  }
  close(done[0]);
  char locked = 0;
  REQUIRE(read(ready[0], &locked, 1) == 1);
  REQUIRE(locked == 1);
  Metrics metrics;
  REQUIRE_STATUS(VectorStore::Open(TestOptions(dir.path()), metrics),
                 absl::StatusCode::kFailedPrecondition,
                 dir.path() + " is in use by another process (process " + std::to_string(child));
  close(done[1]);
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  REQUIRE_OK(VectorStore::Open(TestOptions(dir.path()), metrics));
  close(ready[0]);
  close(ready[1]);
}

// A small file system in memory; nothing where mounting is not allowed.
class SmallDisk {
 public:
  explicit SmallDisk(const char* size) {
    mounted_ = mount("tmpfs", dir_.path().c_str(), "tmpfs", 0, size) == 0;
    if (!mounted_) std::cerr << "SKIPPED: full disk: mounting a tmpfs is not allowed here\n";
  }
  ~SmallDisk() {
    if (mounted_) umount2(dir_.path().c_str(), MNT_DETACH);
  }
  bool mounted() const { return mounted_; }
  std::string path() const { return dir_.path(); }

 private:
  TempDir dir_;
  bool mounted_;
};

// Takes all the room that is left.
void FillUp(const std::string& path) {
  const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0644);
  REQUIRE(fd >= 0);
  const std::string block(4096, 'x');
  while (write(fd, block.data(), block.size()) > 0) {
  }
  close(fd);
}

Payload BigPayload() { return {{"text", std::string(8000, 'x')}}; }

void RequireHolds(const VectorStore& store, const Twin& twin, std::mt19937& random) {
  const auto view = store.View("c");
  REQUIRE_OK(view);
  REQUIRE((*view)->points() == static_cast<int64_t>(twin.size()));
  const std::vector<float> query = RandomVector(random, 8);
  REQUIRE(Search(**view, query, {.k = 10'000, .exact = true}) ==
          NaiveSearch(twin, Metric::kL2, query, 10'000));
  for (const auto& [id, vector] : twin) {
    const auto points = store.Get("c", std::vector<PointId>{id}, true, true);
    REQUIRE_OK(points);
    REQUIRE(points->size() == 1);
    REQUIRE(points->at(0).vector == vector);
  }
}

TEST_CASE("on a full disk what is stored stays, and writing resumes once there is room") {
  const SmallDisk disk("size=48m");
  if (!disk.mounted()) return;
  VectorOptions options = TestOptions(disk.path() + "/data");
  options.fsync = "always";
  // With a reserve, the store refuses before RocksDB runs into the end; without, RocksDB does.
  options.disk_reserve_mb = GENERATE(0, 8);
  CAPTURE(options.disk_reserve_mb);
  Metrics metrics;
  auto opened = VectorStore::Open(options, metrics);
  REQUIRE_OK(opened);
  std::unique_ptr<VectorStore> store = std::move(*opened);
  REQUIRE_OK(store->CreateCollection(Spec("c", 8), ""));
  std::mt19937 random(41);
  Twin twin;
  PointId id = 0;
  const auto upsert_some = [&] {
    std::vector<Point> points;
    for (int i = 0; i < 20; ++i) {
      points.push_back(MakePoint(++id, RandomVector(random, 8), BigPayload()));
    }
    const absl::Status status = CommitOne(*store, "c", points).status;
    if (status.ok()) {
      for (const Point& point : points) twin[point.id] = point.vector;
    }
    return status;
  };
  for (int i = 0; i < 20; ++i) REQUIRE_OK(upsert_some());
  FillUp(disk.path() + "/ballast");
  for (int attempt = 0; attempt < 3; ++attempt) {
    absl::Status status;
    for (int i = 0; i < 100 && status.ok(); ++i) status = upsert_some();
    REQUIRE_STATUS(status, absl::StatusCode::kResourceExhausted, "disk full");
    RequireHolds(*store, twin, random);
  }
  // What RocksDB gives up of writes that failed is room for a few collections.
  absl::Status created;
  size_t collections = 1;
  for (; collections < 100; ++collections) {
    FillUp(disk.path() + "/ballast");
    created = store->CreateCollection(Spec("c" + std::to_string(collections), 8), "");
    if (!created.ok()) break;
  }
  REQUIRE_STATUS(created, absl::StatusCode::kResourceExhausted, "disk full");
  REQUIRE(store->List().size() == collections);
  // Room again: in the same process, and in the next.
  std::filesystem::remove(disk.path() + "/ballast");
  REQUIRE_OK(upsert_some());
  REQUIRE_OK(store->CreateCollection(Spec("d", 8), ""));
  RequireHolds(*store, twin, random);
  store.reset();
  opened = VectorStore::Open(options, metrics);
  REQUIRE_OK(opened);
  RequireHolds(**opened, twin, random);
}

TEST_CASE("deletes are accepted within the disk's reserve") {
  const SmallDisk disk("size=48m");
  if (!disk.mounted()) return;
  VectorOptions options = TestOptions(disk.path() + "/data");
  Metrics metrics;
  auto store = VectorStore::Open(options, metrics);
  REQUIRE_OK(store);
  REQUIRE_OK((*store)->CreateCollection(Spec("c", 1), ""));
  REQUIRE_OK(CommitOne(**store, "c", {MakePoint(1, {1}), MakePoint(2, {2})}).status);
  store->reset();
  options.disk_reserve_mb = 100;
  store = VectorStore::Open(options, metrics);
  REQUIRE_OK(store);
  REQUIRE_STATUS(CommitOne(**store, "c", {MakePoint(3, {1})}).status,
                 absl::StatusCode::kResourceExhausted, "vector.disk_reserve_mb is 100");
  REQUIRE(CommitOne(**store, "c", {}, {1}).deleted == 1);
  REQUIRE_OK((*store)->DropCollection("c"));
}

}  // namespace
}  // namespace baton
