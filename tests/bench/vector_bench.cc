// Graph search on one thread beside hnswlib, compiled for this machine, on the same vectors and
// queries in the same run: queries per second where recall@10 reaches 0.95, at the ef that each
// needs for that, the peer at its best M. Rounds of all of them take turns, since the machine may
// not be alone.
//
// Sets: siftlike128 and cifar768 where the test data is there (or those of --sets FOLDER), and two
// of the generator's. Figures of each SET:
//   SET.qps_at_095, SET.p99_us     ours, at the smallest ef that reaches the recall
//   SET.qps_ratio_at_095           median over the rounds of ours / the peer's
//   SET.memory_ratio               ours / the peer's: memory that indexing adds to the process and
//                                  the page cache of its files; ours once all queries were run
// --keep FOLDER keeps indices there, and takes them from there: building takes most of the time.

#include <malloc.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "engine/base/metrics.h"
#include "engine/vector/vector_store.h"
#include "engine/vector/view_search.h"
#include "tests/bench/bench_tools.h"
#include "tests/bench/file_cache.h"
#include "tests/bench/hnswlib_peer.h"
#include "tests/bench/vector_sets.h"
#include "tests/support/bench_report.h"
#include "tests/support/shared_data.h"

namespace baton {
namespace {

constexpr int32_t kK = 10;
constexpr double kRecall = 0.95;
constexpr int64_t kEfMax = 2048;
constexpr int32_t kEfConstruction = 200;
constexpr int kRounds = 7;

// ---- memory
// --------------------------------------------------------------------------------------

// MiB of the process, shared pages by their share.
double ProcessMib() {
  malloc_trim(0);
  std::ifstream smaps("/proc/self/smaps_rollup");
  for (std::string line; std::getline(smaps, line);) {
    if (line.rfind("Pss:", 0) == 0) return std::strtod(line.c_str() + 4, nullptr) / 1024;
  }
  return 0;
}

// ---- the engines
// ---------------------------------------------------------------------------------

class Engine {
 public:
  virtual ~Engine() = default;
  virtual std::string Name() const = 0;
  virtual void SetEf(int64_t ef) = 0;
  virtual void Search(int64_t query, std::vector<int64_t>* rows) = 0;
};

// An own store in `folder`, with one segment. What is there already is used.
class Ours final : public Engine {
 public:
  Ours(const VectorSet& set, std::string folder) : set_(set), folder_(std::move(folder)) {
    Open();
    if (IsComplete()) return;
    const auto begin = SteadyClock::now();
    OrDie(store_->CreateCollection({.name = "c",
                                    .dimension = static_cast<int32_t>(set.dimension),
                                    .metric = set.metric,
                                    .hnsw_ef_construction = kEfConstruction},
                                   ""));
    constexpr int64_t kWritePoints = 1000;
    for (int64_t first = 0; first < set.rows(); first += kWritePoints) {
      std::vector<Write> writes(1);
      writes[0].collection = "c";
      for (int64_t i = first; i < std::min(first + kWritePoints, set.rows()); ++i) {
        Point point;
        point.id = static_cast<PointId>(i);
        point.vector.assign(set.row(i), set.row(i) + set.dimension);
        writes[0].upserts.push_back(std::move(point));
      }
      OrDie(store_->Commit(std::move(writes)).at(0).status);
    }
    store_->WaitUntilIdle();
    std::printf("%s: baton, M = 16, built in %.1f s\n", set.name.c_str(), SecondsSince(begin));
    std::fflush(stdout);
  }

  // Whether the store was kept with all rows in it; what a run left unfinished goes.
  bool IsComplete() {
    if (!store_->View("c").ok()) return false;
    store_->WaitUntilIdle();
    const auto view = OrDie(store_->View("c"));
    if (view->points() == set_.rows() && view->buffers().empty()) return true;
    OrDie(store_->DropCollection("c"));
    return false;
  }

  // Without what building left in memory and in the page cache.
  void Open() {
    view_.reset();
    store_.reset();
    std::filesystem::create_directories(folder_);
    DropFileCache(folder_);
    VectorOptions options;
    options.data_dir = folder_;
    options.fsync = "interval";
    options.seal_points = std::max<int64_t>(16, set_.rows());
    store_ = OrDie(VectorStore::Open(options, metrics_));
  }
  void Close() {
    view_.reset();
    store_.reset();
  }
  void TakeView() { view_ = OrDie(store_->View("c")); }
  double MibOfCache() const { return UnmappedCacheMib(folder_ + "/segments"); }

  std::string Name() const override { return "baton M=16"; }
  void SetEf(int64_t ef) override { params_.ef = static_cast<int32_t>(ef); }
  void Search(int64_t query, std::vector<int64_t>* rows) override {
    query_.assign(set_.query(query), set_.query(query) + set_.dimension);
    OrDie(SearchView(
        *view_, std::span(&query_, 1), params_, [] { return absl::OkStatus(); }, &found_));
    rows->clear();
    for (const Neighbor& neighbor : found_.at(0)) {
      rows->push_back(static_cast<int64_t>(neighbor.id));
    }
  }

 private:
  const VectorSet& set_;
  const std::string folder_;
  Metrics metrics_;
  std::unique_ptr<VectorStore> store_;
  std::shared_ptr<const CollectionView> view_;
  SearchParams params_{.k = kK};
  std::vector<float> query_;
  std::vector<std::vector<Neighbor>> found_;
};

class Peer final : public Engine {
 public:
  Peer(const VectorSet& set, int32_t m, const std::string& path) : set_(set), m_(m) {
    if (std::filesystem::exists(path)) {
      peer_ = std::make_unique<HnswlibPeer>(set.metric, set.dimension, path);
      return;
    }
    const auto begin = SteadyClock::now();
    peer_ =
        std::make_unique<HnswlibPeer>(set.metric, set.dimension, set.rows(), m, kEfConstruction);
    peer_->Add(0, set.row(0));
    std::vector<std::thread> threads;
    std::atomic<int64_t> next = 1;
    for (unsigned i = 0; i < std::thread::hardware_concurrency(); ++i) {
      threads.emplace_back([&] {
        for (int64_t row = next++; row < set.rows(); row = next++) peer_->Add(row, set.row(row));
      });
    }
    for (std::thread& thread : threads) thread.join();
    peer_->Save(path);
    std::printf("%s: hnswlib, M = %d, built in %.1f s on all cores\n", set.name.c_str(), m,
                SecondsSince(begin));
    std::fflush(stdout);
  }

  std::string Name() const override { return "hnswlib M=" + std::to_string(m_); }
  void SetEf(int64_t ef) override { peer_->SetEf(ef); }
  void Search(int64_t query, std::vector<int64_t>* rows) override {
    peer_->Search(set_.query(query), kK, rows);
  }

 private:
  const VectorSet& set_;
  const int32_t m_;
  std::unique_ptr<HnswlibPeer> peer_;
};

// ---- measuring
// -----------------------------------------------------------------------------------

struct Timing {
  double qps = 0;
  double p50_us = 0;
  double p99_us = 0;
};

// All queries, one after the other.
Timing TimeQueries(const VectorSet& set, Engine& engine, int64_t ef) {
  engine.SetEf(ef);
  std::vector<int64_t> rows;
  std::vector<double> us;
  us.reserve(static_cast<size_t>(set.query_count()));
  const auto begin = SteadyClock::now();
  auto last = begin;
  for (int64_t q = 0; q < set.query_count(); ++q) {
    engine.Search(q, &rows);
    const auto now = SteadyClock::now();
    us.push_back(std::chrono::duration<double, std::micro>(now - last).count());
    last = now;
  }
  const double qps = static_cast<double>(us.size()) / SecondsSince(begin);
  std::sort(us.begin(), us.end());
  return {.qps = qps, .p50_us = us[us.size() / 2], .p99_us = us[us.size() * 99 / 100]};
}

double RecallAt(const VectorSet& set, Engine& engine, int64_t ef) {
  engine.SetEf(ef);
  std::vector<std::vector<int64_t>> found(set.limits.size());
  for (size_t q = 0; q < found.size(); ++q) engine.Search(static_cast<int64_t>(q), &found[q]);
  return set.Recall(found, kK);
}

// The smallest ef that reaches the recall; kEfMax where none does.
int64_t EfForRecall(const VectorSet& set, Engine& engine) {
  int64_t low = kK;
  int64_t high = kEfMax;
  while (low < high) {
    const int64_t ef = low < kEfMax / 16 && high == kEfMax ? low * 2 : (low + high) / 2;
    if (RecallAt(set, engine, ef) >= kRecall) {
      high = ef;
    } else {
      low = ef + 1;
    }
  }
  return high;
}

void PrintCurve(const VectorSet& set, Engine& engine) {
  for (const int64_t ef : {10, 20, 40, 80, 160, 320}) {
    const double recall = RecallAt(set, engine, ef);
    const Timing timing = TimeQueries(set, engine, ef);
    std::printf("%-12s %-13s ef %4ld: recall %.4f  %8.0f QPS  p50 %7.1f us  p99 %7.1f us\n",
                set.name.c_str(), engine.Name().c_str(), static_cast<long>(ef), recall, timing.qps,
                timing.p50_us, timing.p99_us);
  }
}

struct Contender {
  Engine* engine = nullptr;
  int64_t ef = 0;
  std::vector<Timing> rounds;

  double MedianOf(double Timing::*field) const {
    std::vector<double> values;
    for (const Timing& timing : rounds) values.push_back(timing.*field);
    return Median(std::move(values));
  }
};

void BenchSet(const BenchArgs& args, const VectorSet& set, const std::string& folder,
              BenchReport& report) {
  std::filesystem::create_directories(folder);
  std::printf("%s: %ld rows of %ld, %ld queries\n", set.name.c_str(), static_cast<long>(set.rows()),
              static_cast<long>(set.dimension), static_cast<long>(set.query_count()));
  Ours ours(set, folder + "/baton");
  ours.Close();

  std::vector<std::unique_ptr<Engine>> engines;
  double peer_mib = 0;
  for (const int32_t m : {16, 32}) {
    const double before = ProcessMib();
    engines.push_back(std::make_unique<Peer>(set, m, folder + "/hnswlib-" + std::to_string(m)));
    if (m == 16) peer_mib = ProcessMib() - before;
  }

  const double before = ProcessMib();
  ours.Open();
  ours.TakeView();
  std::vector<Contender> contenders;
  contenders.push_back({.engine = &ours, .ef = EfForRecall(set, ours)});
  TimeQueries(set, ours, contenders[0].ef);
  const double ours_mib = ProcessMib() - before + ours.MibOfCache();
  for (const auto& engine : engines) {
    contenders.push_back({.engine = engine.get(), .ef = EfForRecall(set, *engine)});
  }

  for (int round = 0; round < (args.tiny ? 1 : kRounds); ++round) {
    for (Contender& contender : contenders) {
      contender.rounds.push_back(TimeQueries(set, *contender.engine, contender.ef));
    }
  }
  const Contender* best = &contenders[1];
  for (const Contender& contender : contenders) {
    const double qps = contender.MedianOf(&Timing::qps);
    std::printf("%-12s %-13s ef %4ld: recall %.4f  %8.0f QPS  p50 %7.1f us  p99 %7.1f us\n",
                set.name.c_str(), contender.engine->Name().c_str(), static_cast<long>(contender.ef),
                RecallAt(set, *contender.engine, contender.ef), qps,
                contender.MedianOf(&Timing::p50_us), contender.MedianOf(&Timing::p99_us));
    if (contender.engine != &ours && qps > best->MedianOf(&Timing::qps)) best = &contender;
  }
  std::vector<double> ratios;
  for (size_t round = 0; round < best->rounds.size(); ++round) {
    ratios.push_back(contenders[0].rounds[round].qps / best->rounds[round].qps);
  }
  report.Add(set.name + ".qps_at_095", contenders[0].MedianOf(&Timing::qps), "queries/s");
  report.Add(set.name + ".p99_us", contenders[0].MedianOf(&Timing::p99_us), "us");
  report.Add(set.name + ".qps_ratio_at_095", Median(ratios), "times " + best->engine->Name());
  report.Add(set.name + ".memory_mib", ours_mib, "MiB");
  report.Add(set.name + ".memory_ratio", ours_mib / peer_mib, "of hnswlib M=16");
  if (args.tiny) return;
  PrintCurve(set, ours);
  PrintCurve(set, *best->engine);
}

int Main(int argc, char** argv) {
  std::string sets_folder;
  std::string keep;
  std::string only;
  const BenchArgs args = ParseBenchArgs(
      argc, argv,
      {{"--sets", "FOLDER", &sets_folder}, {"--keep", "FOLDER", &keep}, {"--only", "SET", &only}});
  BenchReport report(args);
  std::string folder = keep;
  if (keep.empty()) {
    folder = (std::filesystem::temp_directory_path() / "baton-bench-XXXXXX").string();
    if (mkdtemp(folder.data()) == nullptr) OrDie(absl::ErrnoToStatus(errno, folder));
  }
  const auto bench = [&](const std::string& name, const std::function<VectorSet()>& make) {
    if (only.empty() || only == name) BenchSet(args, make(), folder + "/" + name, report);
  };
  if (!args.tiny) {
    if (sets_folder.empty()) {
      if (const auto found = SharedData("vectors")) sets_folder = *found;
    }
    for (const std::string name : {"siftlike128", "cifar768"}) {
      if (sets_folder.empty()) continue;
      bench(name, [&] { return ReadVectorSet(sets_folder, name, kK); });
    }
  }
  for (GeneratedSet set : {GeneratedSet{"l2-128", Metric::kL2, 128, 100'000},
                           GeneratedSet{"cosine-768", Metric::kCosine, 768, 50'000}}) {
    set.queries = 10'000;
    set.seed = args.seed;
    set.spread = kHardSpread;
    if (args.tiny) {
      set.dimension /= 8;
      set.rows = 2000;
      set.queries = 20;
    }
    bench(set.name, [&set] { return GenerateVectorSet(set, kK); });
  }
  if (keep.empty()) std::filesystem::remove_all(folder);
  return report.Finish();
}

}  // namespace
}  // namespace baton

int main(int argc, char** argv) { return baton::Main(argc, argv); }
