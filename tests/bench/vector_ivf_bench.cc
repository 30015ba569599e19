// Inverted files on one thread beside FAISS's of the same parameters and training rows, and beside
// the graph, on the same vectors and queries in the same run: queries per second where recall@10
// reaches 0.95, at the fewest lists that each needs for that with the same number of candidates
// rescored. Rounds of all of them take turns, since the machine may not be alone.
//
// Sets: as of the vector bench. Figures of each SET, for KIND ivf_pq, ivf_pq8 (codes of 8 bits,
// beside those of 4 of FAISS) and ivf_sq:
//   SET.KIND.qps_at_095, SET.KIND.p99_us    ours
//   SET.KIND.qps_ratio_at_095               median over the rounds of ours / FAISS's
//   SET.KIND.qps_ratio_to_graph             of ours / the graph's
//   SET.KIND.bytes_per_vector               of the index, without the vectors on disk
//   SET.KIND.memory_ratio                   of the index's bytes / the graph's
//   SET.KIND.build_ratio                    of the graph's build time / ours

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "engine/vector/ivf_index.h"
#include "engine/vector/sealed_graph.h"
#include "tests/bench/bench_tools.h"
#include "tests/bench/faiss_peer.h"
#include "tests/bench/vector_sets.h"
#include "tests/support/bench_report.h"
#include "tests/support/shared_data.h"

namespace baton {
namespace {

constexpr int32_t kK = 10;
constexpr double kRecall = 0.95;
constexpr int kRounds = 5;
constexpr int64_t kEfMax = 2048;

class Engine {
 public:
  virtual ~Engine() = default;
  virtual std::string Name() const = 0;
  virtual int64_t EffortMax() const = 0;
  virtual void SetEffort(int64_t effort) = 0;
  virtual void Search(const float* query, std::vector<int64_t>* rows) = 0;
};

bool AllLive(int64_t) { return true; }

void KeepNearest(std::vector<GraphNeighbor>& found, std::vector<int64_t>* rows) {
  const auto count = std::min(found.size(), static_cast<size_t>(kK));
  std::partial_sort(found.begin(), found.begin() + static_cast<std::ptrdiff_t>(count), found.end(),
                    [](const auto& a, const auto& b) { return a.distance < b.distance; });
  rows->clear();
  for (size_t i = 0; i < count; ++i) rows->push_back(found[i].row);
}

// Effort: lists.
class Ivf final : public Engine {
 public:
  Ivf(std::string name, const IvfIndex& index, int32_t candidates)
      : name_(std::move(name)), index_(index), candidates_(candidates) {}
  std::string Name() const override { return name_; }
  int64_t EffortMax() const override { return index_.lists(); }
  void SetEffort(int64_t effort) override { nprobe_ = static_cast<int32_t>(effort); }
  void Search(const float* query, std::vector<int64_t>* rows) override {
    index_.Search({.vector = query, .nprobe = nprobe_, .candidates = candidates_, .wanted = kK},
                  AllLive, &found_);
    KeepNearest(found_, rows);
  }

 private:
  const std::string name_;
  const IvfIndex& index_;
  const int32_t candidates_;
  int32_t nprobe_ = 1;
  std::vector<GraphNeighbor> found_;
};

class Faiss final : public Engine {
 public:
  Faiss(std::string name, FaissPeer& peer, int32_t lists, int32_t candidates)
      : name_(std::move(name)), peer_(peer), lists_(lists), candidates_(candidates) {}
  std::string Name() const override { return name_; }
  int64_t EffortMax() const override { return lists_; }
  void SetEffort(int64_t effort) override {
    peer_.SetEffort(static_cast<int32_t>(effort), candidates_);
  }
  void Search(const float* query, std::vector<int64_t>* rows) override {
    peer_.Search(query, kK, rows);
  }

 private:
  const std::string name_;
  FaissPeer& peer_;
  const int32_t lists_;
  const int32_t candidates_;
};

// Effort: ef.
class Graph final : public Engine {
 public:
  explicit Graph(const SealedGraph& graph) : graph_(graph) {}
  std::string Name() const override { return "graph"; }
  int64_t EffortMax() const override { return kEfMax; }
  void SetEffort(int64_t effort) override { ef_ = effort; }
  void Search(const float* query, std::vector<int64_t>* rows) override {
    graph_.Search(query, std::max<int64_t>(ef_, kK), kK, AllLive, &found_);
    KeepNearest(found_, rows);
  }

 private:
  const SealedGraph& graph_;
  int64_t ef_ = kK;
  std::vector<GraphNeighbor> found_;
};

double RecallAt(const VectorSet& set, Engine& engine, int64_t effort) {
  engine.SetEffort(effort);
  std::vector<std::vector<int64_t>> found(set.limits.size());
  for (size_t q = 0; q < found.size(); ++q) {
    engine.Search(set.query(static_cast<int64_t>(q)), &found[q]);
  }
  return set.Recall(found, kK);
}

// The least effort that reaches the recall; the most where none does.
int64_t EffortForRecall(const VectorSet& set, Engine& engine) {
  int64_t low = 1;
  int64_t high = engine.EffortMax();
  while (low < high) {
    const int64_t effort =
        high == engine.EffortMax() && low * 8 < high ? low * 2 : (low + high) / 2;
    if (RecallAt(set, engine, effort) >= kRecall) {
      high = effort;
    } else {
      low = effort + 1;
    }
  }
  return high;
}

struct Timing {
  double qps = 0;
  double p99_us = 0;
};

Timing TimeQueries(const VectorSet& set, Engine& engine, int64_t effort) {
  engine.SetEffort(effort);
  std::vector<int64_t> rows;
  std::vector<double> us;
  const auto begin = SteadyClock::now();
  auto last = begin;
  for (int64_t q = 0; q < set.query_count(); ++q) {
    engine.Search(set.query(q), &rows);
    const auto now = SteadyClock::now();
    us.push_back(std::chrono::duration<double, std::micro>(now - last).count());
    last = now;
  }
  const double qps = static_cast<double>(us.size()) / SecondsSince(begin);
  std::sort(us.begin(), us.end());
  return {.qps = qps, .p99_us = us[us.size() * 99 / 100]};
}

struct Contender {
  Engine* engine = nullptr;
  int64_t effort = 0;
  std::vector<Timing> rounds;

  double MedianQps() const {
    std::vector<double> values;
    for (const Timing& timing : rounds) values.push_back(timing.qps);
    return Median(std::move(values));
  }
  double MedianP99() const {
    std::vector<double> values;
    for (const Timing& timing : rounds) values.push_back(timing.p99_us);
    return Median(std::move(values));
  }
};

double MedianRatio(const Contender& a, const Contender& b) {
  std::vector<double> ratios;
  for (size_t i = 0; i < a.rounds.size(); ++i) ratios.push_back(a.rounds[i].qps / b.rounds[i].qps);
  return Median(std::move(ratios));
}

struct Kind {
  std::string name;
  IvfCodes codes;
  int32_t candidates;
};

void BenchSet(const BenchArgs& args, const VectorSet& set, BenchReport& report) {
  std::printf("%s: %ld rows of %ld, %ld queries\n", set.name.c_str(), static_cast<long>(set.rows()),
              static_cast<long>(set.dimension), static_cast<long>(set.query_count()));
  const GraphRows rows{.vectors = set.base.data(),
                       .rows = set.rows(),
                       .dimension = static_cast<int32_t>(set.dimension),
                       .metric = set.metric,
                       .m = 16,
                       .ef_construction = 200};
  const auto never = [] { return false; };
  auto begin = SteadyClock::now();
  const auto sealed = OrDie(SealedGraph::Build(rows, never));
  const double graph_seconds = SecondsSince(begin);
  Graph graph(*sealed);
  for (const Kind& kind : {Kind{"ivf_pq", IvfCodes::kPq, 100}, Kind{"ivf_pq8", IvfCodes::kPq8, 100},
                           Kind{"ivf_sq", IvfCodes::kBytes, 36}}) {
    begin = SteadyClock::now();
    const auto index = OrDie(IvfIndex::Build(rows, {.codes = kind.codes}, never));
    const double seconds = SecondsSince(begin);
    begin = SteadyClock::now();
    const bool pq = HasProductCodes(kind.codes);
    FaissPeer peer({.metric = set.metric,
                    .dimension = set.dimension,
                    .lists = index->lists(),
                    .sub_quantizers = pq ? 2 * DefaultPqBytes(rows.dimension) : 0},
                   set.base.data(), set.rows());
    std::printf("%s %s: %d lists, built in %.1f s; FAISS %.1f s; graph %.1f s\n", set.name.c_str(),
                kind.name.c_str(), index->lists(), seconds, SecondsSince(begin), graph_seconds);
    std::fflush(stdout);
    Ivf ours("baton " + kind.name, *index, kind.candidates);
    Faiss faiss("FAISS " + kind.name, peer, index->lists(), kind.candidates);
    std::vector<Contender> contenders;
    for (Engine* engine : std::initializer_list<Engine*>{&ours, &faiss, &graph}) {
      contenders.push_back({.engine = engine, .effort = EffortForRecall(set, *engine)});
    }
    for (int round = 0; round < (args.tiny ? 1 : kRounds); ++round) {
      for (Contender& contender : contenders) {
        contender.rounds.push_back(TimeQueries(set, *contender.engine, contender.effort));
      }
    }
    for (const Contender& contender : contenders) {
      std::printf("%-12s %-14s effort %5ld: recall %.4f  %8.0f QPS  p99 %7.1f us\n",
                  set.name.c_str(), contender.engine->Name().c_str(),
                  static_cast<long>(contender.effort),
                  RecallAt(set, *contender.engine, contender.effort), contender.MedianQps(),
                  contender.MedianP99());
    }
    const std::string name = set.name + "." + kind.name;
    const auto bytes = static_cast<double>(index->bytes().size());
    report.Add(name + ".qps_at_095", contenders[0].MedianQps(), "queries/s");
    report.Add(name + ".p99_us", contenders[0].MedianP99(), "us");
    report.Add(name + ".qps_ratio_at_095", MedianRatio(contenders[0], contenders[1]),
               "times FAISS");
    report.Add(name + ".qps_ratio_to_graph", MedianRatio(contenders[0], contenders[2]),
               "times the graph");
    report.Add(name + ".bytes_per_vector", bytes / static_cast<double>(set.rows()), "bytes");
    report.Add(name + ".memory_ratio", bytes / static_cast<double>(sealed->bytes().size()),
               "of the graph");
    report.Add(name + ".build_ratio", graph_seconds / seconds, "times as fast as the graph");
    if (args.tiny) continue;
    for (const Contender& contender : {contenders[0], contenders[1]}) {
      for (const int64_t lists : {1, 2, 4, 8, 16, 32, 64}) {
        const double recall = RecallAt(set, *contender.engine, lists);
        const Timing timing = TimeQueries(set, *contender.engine, lists);
        std::printf("%-12s %-14s lists %4ld: recall %.4f  %8.0f QPS  p99 %7.1f us\n",
                    set.name.c_str(), contender.engine->Name().c_str(), static_cast<long>(lists),
                    recall, timing.qps, timing.p99_us);
      }
    }
  }
}

int Main(int argc, char** argv) {
  std::string sets_folder;
  std::string only;
  const BenchArgs args =
      ParseBenchArgs(argc, argv, {{"--sets", "FOLDER", &sets_folder}, {"--only", "SET", &only}});
  BenchReport report(args);
  const auto bench = [&](const std::string& name, const std::function<VectorSet()>& make) {
    if (only.empty() || only == name) BenchSet(args, make(), report);
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
    if (args.tiny) {
      set.dimension /= 8;
      set.rows = 2000;
      set.queries = 20;
    }
    bench(set.name, [&set] { return GenerateVectorSet(set, kK); });
  }
  return report.Finish();
}

}  // namespace
}  // namespace baton

int main(int argc, char** argv) { return baton::Main(argc, argv); }
