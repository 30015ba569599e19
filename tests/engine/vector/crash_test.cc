// A process that is killed while it writes loses nothing that it acknowledged.

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <map>
#include <random>
#include <thread>
#include <vector>

#include "engine/vector/vector_store.h"
#include "engine/vector/view_queries.h"
#include "tests/engine/vector/vector_harness.h"

namespace baton {
namespace {

constexpr int kDimension = 32;
constexpr PointId kIdEnd = 2000;

// Such that a segment of a thousand rows is walked, not scanned.
CollectionSpec CrashSpec() {
  CollectionSpec spec = Spec("c", kDimension);
  spec.hnsw_m = 4;
  spec.hnsw_ef_construction = 40;
  return spec;
}
constexpr int32_t kEf = 32;

// What an id's vector is, so that nothing has to travel from the child but the acknowledgement.
// `version` counts the batches.
std::vector<float> VectorOf(PointId id, int version) {
  std::seed_seq seed = {static_cast<int>(id), version};
  std::mt19937 random(seed);
  return RandomVector(random, kDimension);
}

// What a batch gives its version beside what it writes.
std::vector<PointId> PatchedBy(int version) {
  std::mt19937 random(static_cast<uint32_t>(version));
  std::vector<PointId> ids;
  for (int i = 0; i < 20; ++i) ids.push_back(random() % kIdEnd);
  return ids;
}

struct Batch {
  PointId first = 0;
  PointId count = 0;
  int version = 0;
};

VectorOptions CrashOptions(const std::string& data_dir, const std::string& fsync) {
  VectorOptions options = TestOptions(data_dir);
  options.seal_points = 1024;
  options.fsync = fsync;
  return options;
}

// The child: a run of this program that executes only this. Upserts batch after batch and says so.
TEST_CASE("writes until it is killed", "[.crash-writer]") {
  const char* data_dir = std::getenv("CRASH_DATA_DIR");
  if (data_dir == nullptr) FAIL("only the test below runs this");
  const int pipe_fd = std::atoi(std::getenv("CRASH_PIPE"));
  int version = std::atoi(std::getenv("CRASH_VERSION"));
  Metrics metrics;
  auto store = VectorStore::Open(CrashOptions(data_dir, std::getenv("CRASH_FSYNC")), metrics);
  REQUIRE_OK(store);
  if ((*store)->List().empty()) {
    REQUIRE_OK((*store)->CreateCollection(CrashSpec(), ""));
  }
  if ((*store)->List().at(0).payload_indexes.empty()) {
    REQUIRE_OK((*store)->CreatePayloadIndex("c", {"version", PayloadIndexKind::kInteger}));
  }
  std::mt19937 random(static_cast<uint32_t>(std::atoi(std::getenv("CRASH_SEED"))));
  for (;; ++version) {
    const Batch batch{
        .first = random() % (kIdEnd - 200), .count = 1 + random() % 200, .version = version};
    std::vector<Point> points;
    for (PointId id = batch.first; id < batch.first + batch.count; ++id) {
      points.push_back(MakePoint(id, VectorOf(id, version), {{"version", int64_t{version}}}));
    }
    Write change{.collection = "c", .upserts = std::move(points)};
    // Others are patched in the same write, so that one acknowledgement is of both.
    PayloadPatch& patch = change.patches.emplace_back();
    patch.ids = PatchedBy(version);
    patch.set = {{"version", int64_t{version}}};
    std::vector<Write> writes;
    writes.push_back(std::move(change));
    const absl::Status written = (*store)->Commit(std::move(writes)).at(0).status;
    REQUIRE_OK(written);
    REQUIRE(write(pipe_fd, &batch, sizeof(batch)) == sizeof(batch));
  }
}

pid_t StartWriter(const VectorOptions& options, int pipe_fd, int version, uint32_t seed) {
  const pid_t child = fork();
  if (child != 0) return child;
  setenv("CRASH_DATA_DIR", options.data_dir.c_str(), 1);
  setenv("CRASH_FSYNC", options.fsync.c_str(), 1);
  setenv("CRASH_PIPE", std::to_string(pipe_fd).c_str(), 1);
  setenv("CRASH_VERSION", std::to_string(version).c_str(), 1);
  setenv("CRASH_SEED", std::to_string(seed % 1'000'000).c_str(), 1);
  dup2(open("/dev/null", O_WRONLY), STDERR_FILENO);
  execl("/proc/self/exe", "writer", "[.crash-writer]", static_cast<char*>(nullptr));
  _exit(1);
}

// The index tells of each point what its payload does.
void CheckIndex(const VectorStore& store, const CollectionView& view) {
  std::vector<PointId> all;
  for (PointId id = 0; id < kIdEnd; ++id) all.push_back(id);
  const auto points = store.Get("c", all, false, true);
  REQUIRE_OK(points);
  std::map<int64_t, std::vector<PointId>> by_version;
  for (const Point& point : *points) {
    by_version[std::get<int64_t>(point.payload.at("version"))].push_back(point.id);
  }
  for (const auto& [version, ids] : by_version) {
    Filter filter;
    filter.Add(Filter::kRoot, Filter::Clause::kMust,
               {.field = "version", .test = Match{.any = {version}}});
    auto found = MatchingIds(view, filter, static_cast<int64_t>(kIdEnd));
    REQUIRE_OK(found);
    std::sort(found->begin(), found->end());
    REQUIRE(*found == ids);
  }
}

void KillAndLook(int rounds) {
  const uint32_t seed = std::random_device()();
  std::mt19937 random(seed);
  CAPTURE(seed);
  const TempDir dir;
  const std::string fsync = GENERATE("always", "interval");
  const VectorOptions options = CrashOptions(dir.path(), fsync);
  CAPTURE(fsync);
  std::map<PointId, int> versions;  // of each id, the last one known to be stored
  for (int round = 0; round < rounds; ++round) {
    CAPTURE(round);
    int pipe_fds[2];
    REQUIRE(pipe(pipe_fds) == 0);
    const int first_version = round * 1'000'000;
    const pid_t child = StartWriter(options, pipe_fds[1], first_version, random());
    REQUIRE(child > 0);
    close(pipe_fds[1]);
    // The first acknowledgement, then any moment.
    Batch batch;
    REQUIRE(read(pipe_fds[0], &batch, sizeof(batch)) == sizeof(batch));
    std::this_thread::sleep_for(std::chrono::microseconds(random() % 200'000));
    REQUIRE(kill(child, SIGKILL) == 0);
    int status = 0;
    REQUIRE(waitpid(child, &status, 0) == child);
    REQUIRE(WIFSIGNALED(status));
    do {
      for (PointId id = batch.first; id < batch.first + batch.count; ++id) {
        versions[id] = batch.version;
      }
    } while (read(pipe_fds[0], &batch, sizeof(batch)) == sizeof(batch));
    close(pipe_fds[0]);
    REQUIRE(WalkPays(CrashSpec(), 1024, kEf));
    // This one may be stored as well: killed between storing and saying so.
    const int unacknowledged = batch.version + 1;

    Metrics metrics;
    auto store = VectorStore::Open(options, metrics);
    REQUIRE_OK(store);
    const auto view = (*store)->View("c");
    REQUIRE_OK(view);
    for (PointId id = 0; id < kIdEnd; ++id) {
      CAPTURE(id);
      const auto points = (*store)->Get("c", std::vector<PointId>{id}, true, false);
      REQUIRE_OK(points);
      if (!points->empty() && points->at(0).vector == VectorOf(id, unacknowledged)) {
        versions[id] = unacknowledged;
      }
      REQUIRE(points->size() == versions.count(id));
      if (points->empty()) continue;
      REQUIRE(points->at(0).vector == VectorOf(id, versions[id]));
      for (const bool exact : {false, true}) {
        const auto found =
            Search(**view, points->at(0).vector, {.k = 1, .exact = exact, .ef = kEf});
        REQUIRE(found == std::vector<Neighbor>{{0, id}});
      }
    }
    REQUIRE((*view)->points() == static_cast<int64_t>(versions.size()));
    CheckIndex(**store, **view);
  }
  WARN("seed " << seed << ", fsync " << fsync << ": " << rounds << " kills, " << versions.size()
               << " points");
}

TEST_CASE("after kill -9 every acknowledged point is found by exact and by graph search") {
  KillAndLook(5);
}

TEST_CASE("after many kill -9, too", "[.slow]") { KillAndLook(100); }

}  // namespace
}  // namespace baton
