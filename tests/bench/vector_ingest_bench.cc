// How fast points come in. Figures:
//   build.SET.rate_ratio           graphs built per core beside hnswlib, compiled for this machine
//   build.rate_ratio               the least of them
//   ingest.acknowledged_per_s      a burst of --points with a keyword each through UpsertStream
//   into a
//                                  daemon in this process, builder paused, fsync: always
//   ingest.probe_ratio             of what plain RocksDB takes of the same
//   sustained.acknowledged_per_s   for --seconds while one thread builds and holds writers back

#include <algorithm>
#include <cstdio>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "tests/bench/build_rate.h"
#include "tests/bench/ingest_rate.h"
#include "tests/bench/vector_sets.h"
#include "tests/support/bench_report.h"
#include "tests/support/shared_data.h"

namespace baton {
namespace {

constexpr int32_t kK = 10;

// The least ratio of all sets.
void BenchBuild(const BenchArgs& args, const std::string& sets_folder, const std::string& only,
                int rounds, BenchReport& report) {
  constexpr double kNone = std::numeric_limits<double>::infinity();
  double least = kNone;
  const auto bench = [&](const std::string& name, const std::function<VectorSet()>& make) {
    if (!only.empty() && only != name) return;
    const VectorSet set = make();
    const BuildRate rate = MeasureBuildRate(set, args.tiny ? 1 : rounds);
    std::printf(
        "%s: %ld rows of %ld: %.0f/s, hnswlib %.0f/s; recall@10 at ef 64: %.4f, with hnswlib's "
        "links %.4f, hnswlib %.4f\n",
        set.name.c_str(), static_cast<long>(set.rows()), static_cast<long>(set.dimension),
        rate.ours_per_s, rate.peer_per_s, rate.ours_recall, rate.twin_recall, rate.peer_recall);
    std::fflush(stdout);
    report.Add("build." + set.name + ".per_s", rate.ours_per_s, "rows/s of one core");
    report.Add("build." + set.name + ".recall_difference", rate.ours_recall - rate.peer_recall,
               "recall@10 less hnswlib's");
    report.Add("build." + set.name + ".rate_ratio", rate.ratio, "times hnswlib");
    least = std::min(least, rate.ratio);
  };
  if (!args.tiny && !sets_folder.empty()) {
    bench("siftlike128", [&] { return ReadVectorSet(sets_folder, "siftlike128", kK); });
  }
  for (GeneratedSet set : {GeneratedSet{"l2-128", Metric::kL2, 128, 50'000},
                           GeneratedSet{"cosine-768", Metric::kCosine, 768, 20'000}}) {
    set.queries = 1000;
    set.seed = args.seed;
    if (args.tiny) {
      set.dimension /= 8;
      set.rows = 1000;
      set.queries = 20;
    }
    bench(set.name, [&set] { return GenerateVectorSet(set, kK); });
  }
  if (least == kNone) return;
  report.Add("build.rate_ratio", least, "times hnswlib, the least of all sets");
}

void BenchIngest(const BenchArgs& args, int64_t points, double seconds, int rounds,
                 BenchReport& report) {
  GeneratedSet wanted{"l2-128", Metric::kL2, 128, args.tiny ? 2000 : points};
  wanted.queries = 1;
  wanted.seed = args.seed;
  const VectorSet set = GenerateVectorSet(wanted, 0);
  std::vector<double> bursts;
  std::vector<double> ratios;
  for (int round = 0; round < (args.tiny ? 1 : rounds); ++round) {
    const double probe = MeasureProbe(set, 1000);
    bursts.push_back(MeasureIngest(set, {}).acknowledged_per_s);
    ratios.push_back(bursts.back() / probe);
    std::printf("burst: %.0f/s, plain RocksDB %.0f/s\n", bursts.back(), probe);
    std::fflush(stdout);
  }
  std::sort(bursts.begin(), bursts.end());
  std::sort(ratios.begin(), ratios.end());
  report.Add("ingest.acknowledged_per_s", bursts[bursts.size() / 2], "points/s, builder paused");
  report.Add("ingest.probe_ratio", ratios[ratios.size() / 2], "of plain RocksDB's");
  const double run_s = args.tiny ? 0.5 : seconds;
  const IngestRun sustained =
      MeasureIngest(set, {.build_threads = 1,
                          .unindexed_points_max = args.tiny ? 20'000 : 65'536,
                          .seconds = run_s,
                          .warm_seconds = run_s / 4});
  report.Add("sustained.acknowledged_per_s", sustained.acknowledged_per_s,
             "points/s while one thread builds");
  report.Add("sustained.unindexed_max", sustained.unindexed_max, "points without a graph");
}

int Main(int argc, char** argv) {
  std::string sets_folder;
  std::string only;
  std::string rounds = "3";
  std::string points = "1000000";
  std::string seconds = "60";
  const BenchArgs args = ParseBenchArgs(argc, argv,
                                        {{"--sets", "FOLDER", &sets_folder},
                                         {"--only", "SET-or-ingest", &only},
                                         {"--rounds", "N", &rounds},
                                         {"--points", "N", &points},
                                         {"--seconds", "N", &seconds}});
  BenchReport report(args);
  if (sets_folder.empty()) {
    if (const auto found = SharedData("vectors")) sets_folder = *found;
  }
  if (only != "ingest") BenchBuild(args, sets_folder, only, std::stoi(rounds), report);
  if (only.empty() || only == "ingest") {
    BenchIngest(args, std::stoll(points), std::stod(seconds), std::stoi(rounds), report);
  }
  return report.Finish();
}

}  // namespace
}  // namespace baton

int main(int argc, char** argv) { return baton::Main(argc, argv); }
