// One large collection as the daemon keeps it: sealed, merged, with a keyword index, the last
// points still in the growing buffer. --rows N of 128 dimensions from the generator, which never
// holds them; figures at the smallest ef whose recall@10 is 0.95:
//   build.per_s                    points from the first write until all have a graph
//   build.memory_peak_mib          most memory of this process meanwhile, mapped files not counted
//   open.first_answer_ms           from opening, with no file in the page cache, to an answer
//   search.p50_us, search.p99_us   single searches in this process, one after the other
//   rpc.p50_us, rpc.p99_us         the same over gRPC on loopback
//   memory_mib                     when all that has been searched: this process, and the
//                                  segments' page cache
// --keep FOLDER keeps the collection there, and takes it from there; what an earlier run has not
// written yet is written now (then there is no build.per_s).

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "engine/base/metrics.h"
#include "engine/vector/collection.h"
#include "engine/vector/vector_store.h"
#include "engine/vector/view_search.h"
#include "tests/bench/bench_daemon.h"
#include "tests/bench/bench_tools.h"
#include "tests/bench/file_cache.h"
#include "tests/bench/hnswlib_peer.h"
#include "tests/bench/vector_sets.h"
#include "tests/support/bench_report.h"

namespace baton {
namespace {

constexpr int32_t kK = 10;
constexpr double kRecall = 0.95;
constexpr int64_t kDimension = 128;
constexpr int64_t kWritePoints = 1000;
constexpr int64_t kCheckedQueries = 200;
constexpr int64_t kTenants = 1000;

// MiB of `field` in /proc/self/status.
double StatusMib(const std::string& field) {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.rfind(field + ":", 0) == 0) return std::stod(line.substr(field.size() + 1)) / 1024;
  }
  return 0;
}

// The exact answers to the first queries, kept up to date while rows go by.
class Truth {
 public:
  Truth(const std::vector<float>& queries, int64_t count) : queries_(queries), nearest_(count) {}

  void See(int64_t first_row, const std::vector<float>& rows) {
    const auto count = static_cast<int64_t>(rows.size()) / kDimension;
    std::vector<float> distances(static_cast<size_t>(count));
    for (size_t q = 0; q < nearest_.size(); ++q) {
      PlainDistances(Metric::kL2, queries_.data() + static_cast<int64_t>(q) * kDimension,
                     rows.data(), count, kDimension, distances.data());
      auto& nearest = nearest_[q];
      for (int64_t i = 0; i < count; ++i) {
        if (nearest.size() == kK && distances[static_cast<size_t>(i)] >= nearest.front().first) {
          continue;
        }
        nearest.emplace_back(distances[static_cast<size_t>(i)], first_row + i);
        std::push_heap(nearest.begin(), nearest.end());
        if (nearest.size() <= kK) continue;
        std::pop_heap(nearest.begin(), nearest.end());
        nearest.pop_back();
      }
    }
  }

  size_t queries() const { return nearest_.size(); }
  int64_t Hits(size_t query, const std::vector<Neighbor>& found) const {
    int64_t hits = 0;
    for (const Neighbor& neighbor : found) {
      hits += std::any_of(nearest_[query].begin(), nearest_[query].end(), [&](const auto& near) {
        return near.second == static_cast<int64_t>(neighbor.id);
      });
    }
    return hits;
  }

 private:
  const std::vector<float>& queries_;
  std::vector<std::vector<std::pair<float, int64_t>>> nearest_;  // a heap each, farthest first
};

struct Search {
  std::shared_ptr<const CollectionView> view;
  SearchParams params{.k = kK};
  std::vector<float> query;
  std::vector<std::vector<Neighbor>> found;

  const std::vector<Neighbor>& Run(const std::vector<float>& queries, int64_t q) {
    query.assign(queries.begin() + q * kDimension, queries.begin() + (q + 1) * kDimension);
    OrDie(SearchView(
        *view, std::span(&query, 1), params, [] { return absl::OkStatus(); }, &found));
    return found.at(0);
  }
};

double Recall(Search& search, const std::vector<float>& queries, const Truth& truth) {
  int64_t hits = 0;
  for (size_t q = 0; q < truth.queries(); ++q) {
    hits += truth.Hits(q, search.Run(queries, static_cast<int64_t>(q)));
  }
  return static_cast<double>(hits) / (static_cast<double>(truth.queries()) * kK);
}

// Rows [begin, end) of the generator; those from `written` on are written.
void Fill(VectorStore& store, VectorGenerator& generator, Truth& truth, int64_t written,
          int64_t begin, int64_t end) {
  for (int64_t first = begin; first < end; first += kWritePoints) {
    const int64_t count = std::min(kWritePoints, end - first);
    const std::vector<float> rows = generator.Draw(count);
    truth.See(first, rows);
    if (first < written) continue;
    while (!store.CheckBacklog("c").ok()) {
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    std::vector<Write> writes(1);
    writes[0].collection = "c";
    for (int64_t i = 0; i < count; ++i) {
      Point point;
      point.id = static_cast<PointId>(first + i);
      point.vector.assign(rows.begin() + i * kDimension, rows.begin() + (i + 1) * kDimension);
      point.payload["tenant"] = "tenant-" + std::to_string((first + i) % kTenants);
      writes[0].upserts.push_back(std::move(point));
    }
    OrDie(store.Commit(std::move(writes)).at(0).status);
  }
}

// Until the builder has nothing to do, nor begins when nobody has written for a time.
void WaitUntilMerged(VectorStore& store, const VectorOptions& options) {
  int32_t segments = 0;
  do {
    store.WaitUntilIdle();
    segments = OrDie(store.Describe("c")).segments;
    std::this_thread::sleep_for(std::chrono::milliseconds(2 * options.merge_quiet_ms));
    store.WaitUntilIdle();
  } while (OrDie(store.Describe("c")).segments != segments);
}

void BenchRpc(const VectorOptions& options, const std::vector<float>& queries, int32_t ef,
              BenchReport& report) {
  BenchDaemon daemon(options);
  v1::SearchRequest request;
  request.set_collection("c");
  request.mutable_params()->set_k(kK);
  request.mutable_params()->set_ef(ef);
  const auto count = static_cast<int64_t>(queries.size()) / kDimension;
  const auto add = [&](const std::string& name, const std::string& what, const auto& call) {
    std::vector<double> us;
    for (int64_t q = 0; q < count; ++q) {
      const auto begin = SteadyClock::now();
      call(q);
      us.push_back(SecondsSince(begin) * 1e6);
    }
    report.Add(name + ".p50_us", Median(us), what);
    report.Add(name + ".p99_us", Quantile(us, 0.99), what);
  };
  const auto search = [&](int64_t q) {
    request.mutable_vector()->Clear();
    request.mutable_vector()->Add(queries.begin() + q * kDimension,
                                  queries.begin() + (q + 1) * kDimension);
    grpc::ClientContext context;
    v1::SearchResponse response;
    RpcOrDie(daemon.stub().Search(&context, request, &response));
  };
  add("rpc.first", "us over gRPC, of what opening left on disk", search);
  add("rpc", "us over gRPC on loopback", search);
  request.mutable_params()->set_with_payload(false);
  add("rpc.bare", "us without payloads", search);
  add("rpc.floor", "us of an RPC that needs no engine", [&](int64_t) { daemon.Describe(); });
}

int Main(int argc, char** argv) {
  std::string keep;
  std::string rows_text = "1000000";
  const BenchArgs args =
      ParseBenchArgs(argc, argv, {{"--rows", "N", &rows_text}, {"--keep", "FOLDER", &keep}});
  BenchReport report(args);
  const int64_t rows = args.tiny ? 3000 : std::stoll(rows_text);
  const TempDir dir;
  VectorOptions options;
  options.data_dir = keep.empty() ? dir.File("data") : keep;
  options.merge_quiet_ms = args.tiny ? 50 : 1000;
  if (args.tiny) options.seal_points = 256;
  const int64_t tail = SealPointsFor(options, kDimension) / 4 * 3;
  options.points_max = std::max(options.points_max, 2 * rows);

  VectorGenerator generator(Metric::kL2, kDimension, args.seed);
  const std::vector<float> queries = generator.Draw(args.tiny ? 50 : 10'000);
  Truth truth(queries, args.tiny ? 20 : kCheckedQueries);
  Metrics metrics;
  {
    const auto store = OrDie(VectorStore::Open(options, metrics));
    const auto known = store->Describe("c");
    const int64_t written = known.ok() ? known->points : 0;
    if (written > rows) OrDie(absl::InvalidArgumentError("--keep: holds more than --rows"));
    if (!known.ok()) {
      OrDie(store->CreateCollection({.name = "c", .dimension = kDimension, .metric = Metric::kL2},
                                    ""));
      OrDie(
          store->CreatePayloadIndex("c", {.field = "tenant", .kind = PayloadIndexKind::kKeyword}));
    }
    const auto begin = SteadyClock::now();
    Fill(*store, generator, truth, written, 0, rows - tail);
    WaitUntilMerged(*store, options);
    if (written == 0) {
      report.Add("build.per_s", static_cast<double>(rows - tail) / SecondsSince(begin),
                 "points/s, with the exact answers beside");
      report.Add("build.memory_peak_mib", StatusMib("VmHWM") - StatusMib("RssFile"), "MiB");
    }
    Fill(*store, generator, truth, written, rows - tail, rows);
    store->WaitUntilIdle();  // a full buffer is sealed: no thread builds beside what is timed
  }

  Search search;
  std::vector<double> first_answers_ms;
  std::unique_ptr<VectorStore> store;
  for (int round = 0; round < (args.tiny ? 1 : 3); ++round) {
    search.view.reset();
    store.reset();
    DropFileCache(options.data_dir);
    const auto begin = SteadyClock::now();
    store = OrDie(VectorStore::Open(options, metrics));
    search.view = OrDie(store->View("c"));
    search.Run(queries, round);
    first_answers_ms.push_back(SecondsSince(begin) * 1e3);
  }
  report.Add("open.first_answer_ms", Median(first_answers_ms), "ms, files not in the page cache");
  const CollectionInfo info = OrDie(store->Describe("c"));
  std::printf("%ld points, %ld segments, %ld points without a graph\n",
              static_cast<long>(info.points), static_cast<long>(info.segments),
              static_cast<long>(info.points_unindexed));

  int32_t ef = kK;
  for (; ef < 4096; ef += std::max(2, ef / 8)) {
    search.params.ef = ef;
    if (Recall(search, queries, truth) >= kRecall) break;
  }
  report.Add("search.ef", ef, "at recall@10 0.95");
  const auto count = static_cast<int64_t>(queries.size()) / kDimension;
  for (int64_t q = 0; q < count; ++q) search.Run(queries, q);  // reads what opening left on disk
  std::vector<double> us;
  for (int64_t q = 0; q < count; ++q) {
    const auto begin = SteadyClock::now();
    search.Run(queries, q);
    us.push_back(SecondsSince(begin) * 1e6);
  }
  report.Add("search.recall", Recall(search, queries, truth), "recall@10");
  report.Add("search.p50_us", Median(us), "us in this process");
  report.Add("search.p99_us", Quantile(us, 0.99), "us in this process");
  report.Add("memory_mib", StatusMib("VmRSS") + UnmappedCacheMib(options.data_dir + "/segments"),
             "MiB");
  search.view.reset();
  store.reset();
  BenchRpc(options, queries, ef, report);
  return report.Finish();
}

}  // namespace
}  // namespace baton

int main(int argc, char** argv) { return baton::Main(argc, argv); }
