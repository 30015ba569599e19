#include "engine/vector/snapshot.h"

#include <filesystem>
#include <fstream>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "engine/vector/vector_store.h"
#include "tests/engine/vector/crash_workload.h"
#include "tests/support/power_cut_files.h"

namespace baton {
namespace {

VectorOptions Options(const std::string& data_dir) {
  VectorOptions options = TestOptions(data_dir);
  options.fsync = "always";
  return options;
}

std::unique_ptr<VectorStore> Restored(const std::string& from, const std::string& data_dir,
                                      Metrics& metrics) {
  VectorOptions options = Options(data_dir);
  options.restore = from;
  auto store = VectorStore::Open(options, metrics);
  REQUIRE_OK(store);
  return *std::move(store);
}

TEST_CASE("a snapshot has the store as it was, whatever was written and merged since") {
  const uint32_t seed = std::random_device{}();
  CAPTURE(seed);
  const TempDir dir;
  const TempDir restored;
  CrashWorkload work(seed);
  Metrics metrics;
  auto store = VectorStore::Open(Options(dir.path()), metrics);
  REQUIRE_OK(store);
  std::vector<CrashWorkload> then;
  for (int i = 0; i < 4; ++i) {
    for (int step = 0; step < 30; ++step) REQUIRE_OK(work.Step(**store));
    const auto info = (*store)->CreateSnapshot("s" + std::to_string(i));
    REQUIRE_OK(info);
    REQUIRE(info->bytes > 0);
    REQUIRE(info->collections == static_cast<int64_t>(work.acknowledged().size()));
    then.push_back(work);
  }
  (*store)->WaitUntilIdle();
  REQUIRE(work.Settle(**store) == "");
  const auto list = (*store)->ListSnapshots();
  REQUIRE_OK(list);
  REQUIRE(list->size() == 4);
  REQUIRE(list->at(1).sequence > list->at(0).sequence);
  for (int i = 0; i < 4; ++i) {
    CAPTURE(i);
    const std::string name = "s" + std::to_string(i);
    const auto report = (*store)->VerifySnapshot(name);
    REQUIRE_OK(report);
    REQUIRE(report->problems == std::vector<std::string>{});
    int64_t points = 0;
    for (const auto& [collection, twin] : then[i].acknowledged()) {
      points += static_cast<int64_t>(twin.size());
    }
    REQUIRE(report->points == points);
    Metrics other_metrics;
    const std::string target = restored.path() + "/" + name;
    auto other = Restored(dir.path() + "/snapshots/" + name, target, other_metrics);
    REQUIRE(then[i].Settle(*other) == "");
    for (int step = 0; step < 10; ++step) REQUIRE_OK(then[i].Step(*other));
    REQUIRE(then[i].Settle(*other) == "");
    other.reset();
    // Once only: what was written since would be lost.
    VectorOptions again = Options(target);
    again.restore = dir.path() + "/snapshots/" + name;
    REQUIRE_STATUS(VectorStore::Open(again, other_metrics), absl::StatusCode::kFailedPrecondition,
                   "has a store already");
  }
  // A snapshot is no part of the store that it was taken of.
  REQUIRE_OK((*store)->DeleteSnapshot("s1"));
  REQUIRE((*store)->ListSnapshots()->size() == 3);
  const auto whole = (*store)->Verify();
  REQUIRE_OK(whole);
  REQUIRE(whole->problems == std::vector<std::string>{});
  REQUIRE((*store)->ListSnapshots()->size() == 3);
  REQUIRE(work.Settle(**store) == "");
}

TEST_CASE("snapshots that cannot be are refused for their reason") {
  const TempDir dir;
  Metrics metrics;
  auto store = VectorStore::Open(Options(dir.path()), metrics);
  REQUIRE_OK(store);
  for (const std::string& name : {std::string(), std::string(".a"), std::string("a/b"),
                                  std::string("a.tmp"), std::string(129, 'a')}) {
    REQUIRE_STATUS((*store)->CreateSnapshot(name), absl::StatusCode::kInvalidArgument,
                   "1 to 128 characters");
  }
  REQUIRE((*store)->ListSnapshots()->empty());
  REQUIRE_OK((*store)->CreateSnapshot("a"));
  REQUIRE_STATUS((*store)->CreateSnapshot("a"), absl::StatusCode::kAlreadyExists, "\"a\"");
  REQUIRE_STATUS((*store)->DeleteSnapshot("b"), absl::StatusCode::kNotFound, "\"b\"");
  REQUIRE_STATUS((*store)->VerifySnapshot("b"), absl::StatusCode::kNotFound, "\"b\"");
  VectorOptions options = Options(dir.path() + "/other");
  options.restore = dir.path();
  REQUIRE_STATUS(VectorStore::Open(options, metrics), absl::StatusCode::kNotFound,
                 "is not a snapshot");
}

TEST_CASE("verifying names the file that is damaged") {
  const uint32_t seed = std::random_device{}();
  CAPTURE(seed);
  const TempDir dir;
  CrashWorkload work(seed);
  Metrics metrics;
  auto store = VectorStore::Open(Options(dir.path()), metrics);
  REQUIRE_OK(store);
  for (int step = 0; step < 60; ++step) REQUIRE_OK(work.Step(**store));
  (*store)->WaitUntilIdle();
  REQUIRE_OK((*store)->CreateSnapshot("a"));
  int damaged = 0;
  for (const auto& entry :
       std::filesystem::recursive_directory_iterator(dir.path() + "/snapshots/a")) {
    const std::string extension = entry.path().extension();
    if (extension != ".sst" && extension != ".segment") continue;
    CAPTURE(entry.path().string());
    const auto at = static_cast<std::streamoff>(entry.file_size() / 3);
    const auto flip = [&] {
      std::fstream file(entry.path(), std::ios::in | std::ios::out | std::ios::binary);
      file.seekg(at);
      const int byte = file.get();
      file.seekp(at);
      file.put(static_cast<char>(byte ^ 4));
    };
    flip();
    const auto report = (*store)->VerifySnapshot("a");
    REQUIRE_OK(report);
    REQUIRE(report->problems.size() >= 1);
    REQUIRE(report->problems[0].find(entry.path().filename().string()) != std::string::npos);
    flip();
    ++damaged;
  }
  REQUIRE(damaged >= 2);
  REQUIRE((*store)->VerifySnapshot("a")->problems.empty());
}

TEST_CASE("a power cut while a snapshot is made, deleted or restored leaves all of it or nothing") {
  const uint32_t seed = std::random_device{}();
  CAPTURE(seed);
  const TempDir dir;
  CrashWorkload work(seed);
  const auto files = std::make_shared<PowerCutFiles>(dir.path());
  const VectorOptions options = Options(dir.path() + "/data");
  Metrics metrics;
  int kept = 0;
  for (int round = 0; round < 12; ++round) {
    CAPTURE(round);
    auto store = VectorStore::Open(options, metrics, files);
    REQUIRE_OK(store);
    REQUIRE(work.Settle(**store) == "");
    const auto list = (*store)->ListSnapshots();
    REQUIRE_OK(list);
    for (const SnapshotInfo& info : *list) {
      REQUIRE((*store)->VerifySnapshot(info.name)->problems == std::vector<std::string>{});
      ++kept;
    }
    for (int step = 0; step < 12; ++step) REQUIRE_OK(work.Step(**store));
    files->CutPowerIn(work.random()() % 60, work.random()());
    const std::string name = "s" + std::to_string(round);
    const absl::Status created = (*store)->CreateSnapshot(name).status();
    if (created.ok() && round % 3 == 2) (*store)->DeleteSnapshot(name).IgnoreError();
    files->CutPower();
    store->reset();
    files->Restart(work.random());
    if (!created.ok() || round % 3 == 2) continue;
    // What was acknowledged is there, and can be restored, if not at once.
    VectorOptions restore = Options(dir.path() + "/restored-" + name);
    restore.restore = options.data_dir + "/snapshots/" + name;
    CrashWorkload then = work;
    for (;;) {
      Metrics other_metrics;
      files->CutPowerIn(work.random()() % 150, work.random()());
      const bool open = VectorStore::Open(restore, other_metrics, files).ok();
      const bool cut = files->power_is_cut();
      files->CutPower();
      files->Restart(work.random());
      if (!cut || open) break;
      if (std::filesystem::exists(restore.data_dir + "/points/CURRENT")) break;
    }
    restore.restore.clear();
    Metrics other_metrics;
    auto other = VectorStore::Open(restore, other_metrics, files);
    REQUIRE_OK(other);
    REQUIRE(then.Settle(**other) == "");
  }
  WARN("seed " << seed << ": " << kept << " times a snapshot was there after a power cut");
}

}  // namespace
}  // namespace baton
