// Searches while points come and go: 500 a second at set times, whether the last one is done or not
// (an open loop, so that waiting counts), beside 1,500 upserts and 200 deletes a second while
// segments are sealed and merged; and the same without writes, before and after. In this process,
// fsync: always. --seconds N of writing: 300 is what the project's figure means. --seal_points N:
// vector.seal_points, by default the daemon's.
//
//   search.p99_ratio        p99 while writing / p99 of quiet
//   search.busy_slow_*_us   where the slowest hundredth of these spent their time, on average: late
//                           (before the thread ran), on a processor, and waiting for one
//   deleted_half.*          a collection half of which is deleted, vacuum off, beside itself before
//   index.*                 a payload index of points that are there, made beside writes

#include <sys/resource.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "engine/base/metrics.h"
#include "engine/vector/distance.h"
#include "engine/vector/vector_store.h"
#include "engine/vector/view_search.h"
#include "tests/bench/bench_tools.h"
#include "tests/bench/vector_sets.h"
#include "tests/support/bench_report.h"
#include "tests/support/temp_dir.h"

namespace baton {
namespace {

constexpr int32_t kK = 10;
constexpr double kSearchesPerS = 500;
constexpr double kUpsertsPerS = 1500;
constexpr double kDeletesPerS = 200;
constexpr double kWritesPerS = 100;

SteadyClock::time_point After(SteadyClock::time_point begin, double seconds) {
  return begin +
         std::chrono::duration_cast<SteadyClock::duration>(std::chrono::duration<double>(seconds));
}

double MicrosSince(SteadyClock::time_point begin) { return SecondsSince(begin) * 1e6; }

// One search: from when it was due, and of that what passed before it began, and what the thread
// had a processor for.
struct Latency {
  double us = 0;
  double late_us = 0;
  double cpu_us = 0;
  double faults = 0;  // pages that were not there
};

struct Latencies {
  std::vector<Latency> searches;

  void Sort() {
    std::sort(searches.begin(), searches.end(),
              [](const Latency& a, const Latency& b) { return a.us < b.us; });
  }
  // Sorted.
  size_t Place(double share) const {
    return std::min(searches.size() - 1,
                    static_cast<size_t>(share * static_cast<double>(searches.size())));
  }
  double Percentile(double share) const { return searches[Place(share)].us; }
  // The mean of those at or above a percentile.
  Latency MeanFrom(double share) const {
    Latency mean;
    const double count = static_cast<double>(searches.size() - Place(share));
    for (size_t i = Place(share); i < searches.size(); ++i) {
      mean.us += searches[i].us / count;
      mean.late_us += searches[i].late_us / count;
      mean.cpu_us += searches[i].cpu_us / count;
      mean.faults += searches[i].faults / count;
    }
    return mean;
  }
};

double ThreadCpuUs() {
  timespec now;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) * 1e6 + static_cast<double>(now.tv_nsec) / 1e3;
}

double ThreadFaults() {
  rusage usage;
  getrusage(RUSAGE_THREAD, &usage);
  return static_cast<double>(usage.ru_minflt + usage.ru_majflt);
}

class Mixed {
 public:
  Mixed(const VectorSet& set, int64_t base_rows, int64_t seal_points, uint64_t seed)
      : set_(set), base_rows_(base_rows), random_(seed) {
    VectorOptions options;
    options.data_dir = dir_.File("data");
    options.seal_points = seal_points;
    store_ = OrDie(VectorStore::Open(options, metrics_));
    OrDie(store_->CreateCollection(
        {.name = "c", .dimension = static_cast<int32_t>(set.dimension), .metric = set.metric}, ""));
    for (int64_t first = 0; first < base_rows; first += 1000) {
      Commit(first, std::min<int64_t>(1000, base_rows - first), {});
    }
    store_->WaitUntilIdle();
    next_row_ = base_rows;
  }

  // Latencies from the time a search was due. Two threads take turns, as a server's would.
  Latencies Search(double seconds) {
    constexpr int64_t kThreads = 2;
    Latencies latencies[kThreads];
    const auto begin = SteadyClock::now();
    const auto run = [&](int64_t thread) {
      std::vector<std::vector<Neighbor>> found;
      for (int64_t i = thread;; i += kThreads) {
        const auto due = After(begin, static_cast<double>(i) / kSearchesPerS);
        if (due >= After(begin, seconds)) return;
        std::this_thread::sleep_until(due);
        const double late_us = MicrosSince(due);
        const double cpu_us = ThreadCpuUs();
        const double faults = ThreadFaults();
        SearchOnce(i % set_.query_count(), &found);
        latencies[thread].searches.push_back({.us = MicrosSince(due),
                                              .late_us = late_us,
                                              .cpu_us = ThreadCpuUs() - cpu_us,
                                              .faults = ThreadFaults() - faults});
      }
    };
    std::thread other([&run] { run(1); });
    run(0);
    other.join();
    latencies[0].searches.insert(latencies[0].searches.end(), latencies[1].searches.begin(),
                                 latencies[1].searches.end());
    return std::move(latencies[0]);
  }

  Latencies SearchWhileWriting(double seconds) {
    std::atomic<bool> over = false;
    std::thread writer([&] {
      const auto begin = SteadyClock::now();
      for (int64_t i = 0; !over; ++i) {
        std::this_thread::sleep_until(After(begin, static_cast<double>(i) / kWritesPerS));
        std::vector<PointId> deletes;
        for (double n = 0; n < kDeletesPerS / kWritesPerS; ++n) {
          deletes.push_back(random_() % static_cast<uint64_t>(next_row_));
        }
        const auto count = static_cast<int64_t>(kUpsertsPerS / kWritesPerS);
        Commit(next_row_, count, std::move(deletes));
        next_row_ += count;
      }
    });
    Latencies latencies = Search(seconds);
    over = true;
    writer.join();
    written_per_s_ = static_cast<double>(next_row_ - base_rows_) / seconds;
    return latencies;
  }

  double Built(const char* kind) {
    return metrics_.Counter(MetricId::kSegmentsBuilt, {kind}).Value();
  }
  double written_per_s() const { return written_per_s_; }
  int64_t unindexed() const { return OrDie(store_->Describe("c")).points_unindexed; }

 private:
  void SearchOnce(int64_t query, std::vector<std::vector<Neighbor>>* found) {
    const auto view = OrDie(store_->View("c"));
    const std::vector<float> vector(set_.query(query), set_.query(query) + set_.dimension);
    OrDie(SearchView(
        *view, std::span(&vector, 1), {.k = kK}, [] { return absl::OkStatus(); }, found));
  }

  void Commit(int64_t first, int64_t count, std::vector<PointId> deletes) {
    std::vector<Write> writes(1);
    writes[0].collection = "c";
    writes[0].deletes = std::move(deletes);
    for (int64_t i = first; i < first + count; ++i) {
      Point point;
      point.id = static_cast<PointId>(i);
      point.vector.assign(set_.row(i % set_.rows()), set_.row(i % set_.rows()) + set_.dimension);
      point.vector[0] += static_cast<float>(i / set_.rows());
      point.payload["tenant"] = "tenant-" + std::to_string(i % 1000);
      writes[0].upserts.push_back(std::move(point));
    }
    OrDie(store_->Commit(std::move(writes)).at(0).status);
  }

  const VectorSet& set_;
  const int64_t base_rows_;
  std::mt19937_64 random_;
  const TempDir dir_;
  Metrics metrics_;
  std::unique_ptr<VectorStore> store_;
  int64_t next_row_ = 0;
  double written_per_s_ = 0;
};

void BenchMixed(const BenchArgs& args, const VectorSet& set, double seconds, int64_t seal_points,
                BenchReport& report) {
  Mixed mixed(set, set.rows() / 2, seal_points, args.seed);
  Latencies quiet = mixed.Search(seconds / 2);
  const double seals = mixed.Built("seal");
  const double merges = mixed.Built("merge");
  Latencies busy = mixed.SearchWhileWriting(seconds);
  const double new_seals = mixed.Built("seal") - seals;
  const double new_merges = mixed.Built("merge") - merges;
  const int64_t unindexed = mixed.unindexed();
  const Latencies after = mixed.Search(args.tiny ? seconds / 2 : 0);
  quiet.searches.insert(quiet.searches.end(), after.searches.begin(), after.searches.end());
  quiet.Sort();
  busy.Sort();
  const double quiet_p99 = quiet.Percentile(0.99);
  const double busy_p99 = busy.Percentile(0.99);
  std::printf(
      "%.0f s of writing: %.0f upserts/s, %.0f seals, %.0f merges, %ld points without a graph at "
      "the end\n",
      seconds, mixed.written_per_s(), new_seals, new_merges, static_cast<long>(unindexed));
  if (new_seals < 3 || new_merges < 1) {
    std::printf("TOO SHORT: less than 3 seals and 1 merge; the ratio says little\n");
  }
  report.Add("search.quiet_p50_us", quiet.Percentile(0.5), "us");
  report.Add("search.quiet_p99_us", quiet_p99, "us");
  report.Add("search.busy_p50_us", busy.Percentile(0.5), "us");
  report.Add("search.busy_p99_us", busy_p99, "us");
  report.Add("search.p99_ratio", busy_p99 / quiet_p99, "times quiet");
  const Latency slow = busy.MeanFrom(0.99);
  report.Add("search.busy_slow_late_us", slow.late_us, "us of the slowest hundredth");
  report.Add("search.busy_slow_cpu_us", slow.cpu_us, "us of the slowest hundredth");
  report.Add("search.busy_slow_waiting_us", slow.us - slow.late_us - slow.cpu_us,
             "us of the slowest hundredth");
  report.Add("search.busy_slow_faults", slow.faults, "page faults of the slowest hundredth");
  report.Add("seals", new_seals, "while writing");
  report.Add("merges", new_merges, "while writing");
}

// ---- Half deleted
// ------------------------------------------------------------------------------

struct Searched {
  double us = 0;  // median over rounds
  double recall = 0;
};

Searched SearchAll(const VectorSet& set, const CollectionView& view, int rounds) {
  const int64_t checked = std::min<int64_t>(set.query_count(), 500);
  std::vector<std::vector<Neighbor>> found;
  Searched searched;
  double hits = 0;
  for (int64_t q = 0; q < checked; ++q) {
    const std::vector<float> vector(set.query(q), set.query(q) + set.dimension);
    const auto search = [&](bool exact) {
      OrDie(SearchView(
          view, std::span(&vector, 1), {.k = kK, .exact = exact}, [] { return absl::OkStatus(); },
          &found));
    };
    search(true);
    const float farthest = found[0].back().distance;
    const size_t right = found[0].size();
    search(false);
    for (const Neighbor& neighbor : found[0]) {
      hits += neighbor.distance <= farthest ? 1.0 / static_cast<double>(right) : 0;
    }
  }
  searched.recall = hits / static_cast<double>(checked);
  std::vector<double> us;
  for (int round = 0; round < rounds; ++round) {
    const auto begin = SteadyClock::now();
    for (int64_t q = 0; q < set.query_count(); ++q) {
      const std::vector<float> vector(set.query(q), set.query(q) + set.dimension);
      OrDie(SearchView(
          view, std::span(&vector, 1), {.k = kK}, [] { return absl::OkStatus(); }, &found));
    }
    us.push_back(SecondsSince(begin) * 1e6 / static_cast<double>(set.query_count()));
  }
  std::sort(us.begin(), us.end());
  searched.us = us[us.size() / 2];
  return searched;
}

void BenchDeletedHalf(const BenchArgs& args, const VectorSet& set, BenchReport& report) {
  const int64_t rows = set.rows() / 2;
  const TempDir dir;
  Metrics metrics;
  VectorOptions options;
  options.data_dir = dir.File("data");
  options.fsync = "interval";
  options.seal_points = std::max<int64_t>(16, rows);
  options.vacuum_deleted_percent = 0;
  const auto store = OrDie(VectorStore::Open(options, metrics));
  OrDie(store->CreateCollection(
      {.name = "c", .dimension = static_cast<int32_t>(set.dimension), .metric = set.metric}, ""));
  const auto commit = [&](Write write) {
    std::vector<Write> writes;
    writes.push_back(std::move(write));
    OrDie(store->Commit(std::move(writes)).at(0).status);
  };
  for (int64_t first = 0; first < rows; first += 1000) {
    Write write{.collection = "c", .upserts = {}, .deletes = {}};
    for (int64_t i = first; i < std::min(first + 1000, rows); ++i) {
      Point point;
      point.id = static_cast<PointId>(i);
      point.vector.assign(set.row(i), set.row(i) + set.dimension);
      write.upserts.push_back(std::move(point));
    }
    commit(std::move(write));
  }
  store->WaitUntilIdle();
  const auto whole = OrDie(store->View("c"));
  Write write{.collection = "c", .upserts = {}, .deletes = {}};
  std::mt19937_64 random(args.seed);
  for (int64_t i = 0; i < rows; ++i) {
    if (random() % 2 == 0) write.deletes.push_back(static_cast<PointId>(i));
    if (write.deletes.size() == 1000 || (i + 1 == rows && !write.deletes.empty())) {
      commit(std::exchange(write, {.collection = "c", .upserts = {}, .deletes = {}}));
    }
  }
  store->WaitUntilIdle();
  const auto half = OrDie(store->View("c"));
  const int rounds = args.tiny ? 1 : 5;
  Searched before = SearchAll(set, *whole, rounds);
  const Searched deleted = SearchAll(set, *half, rounds);
  before.us = (before.us + SearchAll(set, *whole, rounds).us) / 2;
  report.Add("deleted_half.recall", deleted.recall, "recall@10 of what is left");
  report.Add("deleted_half.recall_before", before.recall, "recall@10");
  report.Add("deleted_half.latency_ratio", deleted.us / before.us, "times before");
}

// ---- A late payload index
// ------------------------------------------------------------------------------

void BenchIndex(const VectorSet& set, BenchReport& report) {
  const TempDir dir;
  Metrics metrics;
  VectorOptions options;
  options.data_dir = dir.File("data");
  const auto store = OrDie(VectorStore::Open(options, metrics));
  OrDie(store->CreateCollection(
      {.name = "c", .dimension = static_cast<int32_t>(set.dimension), .metric = set.metric}, ""));
  const auto upsert = [&](int64_t first, int64_t end) {
    std::vector<Write> writes(1);
    writes[0].collection = "c";
    for (int64_t i = first; i < end; ++i) {
      Point& point = writes[0].upserts.emplace_back();
      point.id = static_cast<PointId>(i);
      point.vector.assign(set.row(i), set.row(i) + set.dimension);
      point.payload = {{"n", i % 1000}, {"tag", "tag " + std::to_string(i % 100)}};
    }
    OrDie(store->Commit(std::move(writes)).at(0).status);
  };
  for (int64_t first = 0; first < set.rows(); first += 1000) {
    upsert(first, std::min(first + 1000, set.rows()));
  }
  store->WaitUntilIdle();
  std::atomic<bool> stop = false;
  double longest_us = 0;
  int64_t commits = 0;
  std::thread writer([&] {
    std::mt19937_64 random(1);
    while (!stop) {
      const auto first = static_cast<int64_t>(random() % static_cast<uint64_t>(set.rows() - 15));
      const auto begin = SteadyClock::now();
      upsert(first, first + 15);
      longest_us = std::max(longest_us, SecondsSince(begin) * 1e6);
      ++commits;
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
  });
  const auto begin = SteadyClock::now();
  OrDie(store->CreatePayloadIndex("c", {.field = "n", .kind = PayloadIndexKind::kInteger}));
  const double seconds = SecondsSince(begin);
  stop = true;
  writer.join();
  report.Add("index.points_per_s", static_cast<double>(set.rows()) / seconds,
             "points a second that came into an index");
  report.Add("index.make_ms", seconds * 1e3, "ms that it took");
  report.Add("index.commit_max_ms", longest_us / 1e3, "ms, the longest of the commits beside it");
  report.Add("index.commits", static_cast<double>(commits), "commits beside it");
}

int Main(int argc, char** argv) {
  std::string seconds = "30";
  std::string rows = "200000";
  std::string only;
  std::string seal_points = "0";
  const BenchArgs args = ParseBenchArgs(argc, argv,
                                        {{"--seconds", "N", &seconds},
                                         {"--rows", "N", &rows},
                                         {"--only", "PART", &only},
                                         {"--seal_points", "N", &seal_points}});
  BenchReport report(args);
  GeneratedSet wanted{"l2-128", Metric::kL2, 128, std::stoll(rows)};
  wanted.queries = 2000;
  wanted.seed = args.seed;
  if (args.tiny) {
    wanted.dimension = 16;
    wanted.rows = 2000;
    wanted.queries = 20;
  }
  const VectorSet set = GenerateVectorSet(wanted, kK);
  if (only.empty() || only == "deleted") BenchDeletedHalf(args, set, report);
  if (only.empty() || only == "index") BenchIndex(set, report);
  if (only.empty() || only == "mixed") {
    BenchMixed(args, set, args.tiny ? 0.3 : std::stod(seconds),
               args.tiny ? 64 : std::stoll(seal_points), report);
  }
  return report.Finish();
}

}  // namespace
}  // namespace baton

int main(int argc, char** argv) { return baton::Main(argc, argv); }
