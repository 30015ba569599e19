// When a write is on the disk, by fsync policy, and what of it stays in memory.

#include <algorithm>
#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <vector>

#include "tests/engine/vector/vector_harness.h"
#include "tests/support/eventually.h"
#include "tests/support/power_cut_files.h"

namespace baton {
namespace {

// What happens to write-ahead logs, in order.
class LogOps {
 public:
  explicit LogOps(PowerCutFiles& files) : files_(files) {
    files.SetFault([this](FileOp op, const std::string& path) {
      const std::lock_guard lock(mutex_);
      if (path.ends_with(".log")) ops_.push_back(op);
      return rocksdb::IOStatus::OK();
    });
  }
  ~LogOps() { files_.SetFault(nullptr); }
  int64_t syncs() const {
    const std::lock_guard lock(mutex_);
    return std::count(ops_.begin(), ops_.end(), FileOp::kSync);
  }
  bool writes_are_synced() const {
    const std::lock_guard lock(mutex_);
    const auto last = std::find_if(ops_.rbegin(), ops_.rend(), [](FileOp op) {
      return op == FileOp::kWrite || op == FileOp::kSync;
    });
    return last == ops_.rend() || *last == FileOp::kSync;
  }

 private:
  PowerCutFiles& files_;
  mutable std::mutex mutex_;
  std::vector<FileOp> ops_;
};

struct Fixture {
  explicit Fixture(const std::string& fsync, int64_t interval_ms = 60'000) {
    options = TestOptions(dir.path() + "/data");
    options.fsync = fsync;
    options.fsync_interval_ms = interval_ms;
    options.build_threads = 0;  // what segments sync is not the policy's
    Open();
    REQUIRE_OK(store->CreateCollection(Spec("c", 1), ""));
  }
  void Open() {
    auto opened = VectorStore::Open(options, metrics, files);
    REQUIRE_OK(opened);
    store = *std::move(opened);
  }
  void LosePower(std::mt19937& random) {
    files->CutPower();
    store.reset();
    files->SetFault(nullptr);
    files->Restart(random);
    Open();
  }
  std::vector<Write> Writes(PointId first, int count) const {
    std::vector<Write> writes;
    for (int i = 0; i < count; ++i) {
      writes.push_back(
          {.collection = "c", .upserts = {MakePoint(first + static_cast<PointId>(i), {1})}});
    }
    return writes;
  }

  TempDir dir;
  std::shared_ptr<PowerCutFiles> files = std::make_shared<PowerCutFiles>(dir.path());
  VectorOptions options;
  Metrics metrics;
  std::unique_ptr<VectorStore> store;
};

TEST_CASE("fsync always: one sync for all writes of a commit, before it returns") {
  const uint32_t seed = std::random_device{}();
  CAPTURE(seed);
  std::mt19937 random(seed);
  Fixture f("always");
  const LogOps log(*f.files);
  for (const int count : {1, 20, 7}) {
    const int64_t before = log.syncs();
    for (const WriteResult& result :
         f.store->Commit(f.Writes(100 * static_cast<PointId>(count), count))) {
      REQUIRE_OK(result.status);
    }
    CAPTURE(count);
    REQUIRE(log.syncs() == before + 1);
    REQUIRE(log.writes_are_synced());
  }
  f.LosePower(random);
  REQUIRE(f.store->Describe("c")->points == 28);
}

TEST_CASE("fsync interval: a commit does not sync, and closing does") {
  const uint32_t seed = std::random_device{}();
  CAPTURE(seed);
  std::mt19937 random(seed);
  Fixture f("interval");
  const LogOps log(*f.files);
  for (int i = 0; i < 10; ++i) {
    for (const WriteResult& result : f.store->Commit(f.Writes(static_cast<PointId>(i), 1))) {
      REQUIRE_OK(result.status);
    }
  }
  REQUIRE(log.syncs() == 0);
  f.store.reset();
  REQUIRE(log.writes_are_synced());
  f.LosePower(random);
  REQUIRE(f.store->Describe("c")->points == 10);
}

TEST_CASE("fsync interval: what was written is on the disk once the log was synced") {
  const uint32_t seed = std::random_device{}();
  CAPTURE(seed);
  std::mt19937 random(seed);
  Fixture f("interval", /*interval_ms=*/1);
  const LogOps log(*f.files);
  // A sync that is seen to begin has happened when the one after it begins.
  for (PointId id = 0; id < 2; ++id) {
    const int64_t before = log.syncs();
    REQUIRE_OK(CommitOne(*f.store, "c", {MakePoint(id, {1})}).status);
    REQUIRE(Eventually([&] { return log.syncs() > before; }));
  }
  const int64_t before = log.syncs();
  REQUIRE_OK(CommitOne(*f.store, "c", {MakePoint(2, {1})}).status);
  REQUIRE(Eventually([&] { return log.syncs() > before; }));
  f.LosePower(random);
  const auto found = f.store->Get("c", std::vector<PointId>{0, 1}, false, false);
  REQUIRE_OK(found);
  REQUIRE(found->size() == 2);
}

TEST_CASE("writes in no table yet take no more memory than is set, over all collections") {
  Fixture f("interval");
  f.store.reset();
  f.options.write_buffer_mb = 1;
  f.options.payload_bytes_max = 1 << 20;
  f.Open();
  REQUIRE_OK(f.store->CreateCollection(Spec("d", 1), ""));
  constexpr double kBudget = 1 << 20;
  constexpr size_t kPayloadBytes = 20'000;
  std::mt19937 random(5);
  double most = 0;
  for (PointId id = 0; id < 300; ++id) {
    std::string text(kPayloadBytes, 'x');
    for (char& c : text) c = static_cast<char>('a' + random() % 26);
    const std::string collection = id % 2 == 0 ? "c" : "d";
    REQUIRE_OK(CommitOne(*f.store, collection, {MakePoint(id, {1}, {{"text", PayloadValue(text)}})})
                   .status);
    f.store->TellUsage();
    most = std::max(most, f.metrics.Gauge(MetricId::kStoreWriteBufferBytes, {"used"}).Value());
  }
  REQUIRE(f.metrics.Gauge(MetricId::kStoreWriteBufferBytes, {"total"}).Value() == kBudget);
  // A part is full with the write that does not fit into it, which is all there.
  REQUIRE(most <= kBudget + 4 * kPayloadBytes + 256 * 1024);
  REQUIRE(most > kBudget / 4);
  REQUIRE(f.store->Describe("c")->points == 150);
  f.store.reset();
  f.Open();
  REQUIRE(f.store->Describe("d")->points == 150);
}

}  // namespace
}  // namespace baton
