// The power fails at any moment: nothing that was acknowledged is lost, nothing deleted is back.

#include <memory>
#include <random>
#include <string>

#include "engine/vector/vector_store.h"
#include "tests/engine/vector/crash_workload.h"
#include "tests/support/power_cut_files.h"

namespace baton {
namespace {

struct Disk {
  bool lies_about_files = false;
  bool lies_about_directories = false;
};

// Operations from one power cut to the next, at most.
constexpr uint32_t kOperationsMax = 600;

struct Outcome {
  std::string wrong;  // "" where nothing is
  int rounds = 0;
  int cuts_while_opening = 0;
  double recall_lost = 0;  // per round; negative: gained
};

// A round: works until the power is cut, opens the store again, perhaps cut again, and compares.
Outcome RunRounds(uint32_t seed, int rounds, const Disk& disk,
                  const std::string& fsync = "always") {
  const TempDir dir;
  CrashWorkload work(seed, fsync != "always");
  std::mt19937& random = work.random();
  const auto files = std::make_shared<PowerCutFiles>(dir.path());
  VectorOptions options = TestOptions(dir.path() + "/data");
  options.fsync = fsync;
  options.fsync_interval_ms = 3;
  Metrics metrics;
  Outcome outcome;
  for (; outcome.rounds < rounds; ++outcome.rounds) {
    files->set_lies(disk.lies_about_files, disk.lies_about_directories);
    auto store = VectorStore::Open(options, metrics, files);
    if (!store.ok()) {
      outcome.wrong = store.status().ToString();
      return outcome;
    }
    files->CutPowerIn(random() % kOperationsMax, random());
    while (work.Step(**store).ok()) {
    }
    if (!files->power_is_cut()) {
      outcome.wrong = "a write failed with the power on";
      return outcome;
    }
    const double recall = work.Recall(**store);
    store->reset();
    files->Restart(random);
    while (random() % 3 == 0) {  // again, before it is open
      files->CutPowerIn(random() % 60, random());
      store = VectorStore::Open(options, metrics, files);
      if (store.ok()) store->reset();
      files->CutPower();
      files->Restart(random);
      ++outcome.cuts_while_opening;
    }
    files->set_lies(false, false);
    store = VectorStore::Open(options, metrics, files);
    outcome.wrong = store.ok() ? work.Settle(**store) : store.status().ToString();
    if (!outcome.wrong.empty()) return outcome;
    (*store)->WaitUntilIdle();
    outcome.wrong = work.Settle(**store);
    if (!outcome.wrong.empty()) return outcome;
    outcome.recall_lost += (recall - work.Recall(**store)) / rounds;
    if (random() % 2 == 0) files->CutPower();  // closed in order, or not
    store->reset();
    files->Restart(random);
  }
  return outcome;
}

void RequireNothingIsLost(int rounds) {
  const uint32_t seed = std::random_device{}();
  const std::string fsync = GENERATE("always", "interval");
  CAPTURE(seed, fsync);
  const Outcome outcome = RunRounds(seed, rounds, {}, fsync);
  CAPTURE(outcome.rounds);
  REQUIRE(outcome.wrong == "");
  REQUIRE(outcome.recall_lost < 0.01);
  WARN("seed " << seed << ", fsync " << fsync << ": " << outcome.rounds << " power cuts, "
               << outcome.cuts_while_opening << " more while opening");
}

TEST_CASE("after a power cut every acknowledged write is there, and nothing else") {
  RequireNothingIsLost(10);
}

TEST_CASE("after many power cuts, too", "[.slow]") { RequireNothingIsLost(150); }

TEST_CASE("the test sees a disk that does not keep what it was told to") {
  const uint32_t seed = std::random_device{}();
  CAPTURE(seed);
  REQUIRE(RunRounds(seed, 50, {.lies_about_files = true}).wrong != "");
  REQUIRE(RunRounds(seed, 50, {.lies_about_directories = true}).wrong != "");
}

}  // namespace
}  // namespace baton
