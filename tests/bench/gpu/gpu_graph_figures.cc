// Building a graph: links by the device, and what searches over it find, beside the CPU's builder
// on all of this machine's cores, each with its share of the rows, as it builds segments. Clustered
// vectors, the same for the same seed.

#include <cuda_bf16.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "cuda_kernels/distance_top_k.h"
#include "cuda_kernels/graph_links.h"
#include "engine/vector/distance.h"
#include "engine/vector/sealed_graph.h"
#include "engine/vector/top_k.h"
#include "tests/bench/bench_tools.h"
#include "tests/bench/gpu/bench_kernels.h"
#include "tests/bench/gpu/gpu_bench.h"

namespace baton::gpu_bench {
namespace {

constexpr int32_t kM = 16;
constexpr int32_t kEfConstruction = 128;
constexpr int32_t kCandidates = 64;
constexpr int64_t kEf = 64;
constexpr int32_t kNearest = 10;

struct Level {
  int32_t room = 0;
  std::vector<uint32_t> links;  // [nodes, room]
};

// Links of one level: of the first `nodes` of the vectors.
Error LinkLevel(const Bench& bench, const float* vectors, int64_t nodes, int64_t dimension,
                Level* level) {
  constexpr int64_t kChunk = 1 << 17;  // queries at a time: their lists take some GB
  const int64_t cols = cuda::PackedColumns(dimension);
  Buffer packed;
  Buffer terms;
  Buffer nearest;
  Buffer forward;
  Buffer reverse;
  Buffer links;
  Buffer workspace;
  GPU_BENCH_TRY(packed.Allocate(nodes * cols * 2));
  GPU_BENCH_TRY(terms.Allocate(nodes * 4));
  GPU_BENCH_TRY(nearest.Allocate(nodes * kCandidates * 8));
  GPU_BENCH_TRY(forward.Allocate(nodes * kM * 8));
  GPU_BENCH_TRY(reverse.Allocate(nodes * level->room * 8));
  GPU_BENCH_TRY(links.Allocate(nodes * level->room * 4));
  GPU_BENCH_TRY(ErrorOf(cuda::PackVectors({.vectors = vectors,
                                           .packed = packed.as<__nv_bfloat16>(),
                                           .terms = terms.as<float>(),
                                           .rows = nodes,
                                           .dimension = dimension,
                                           .metric = cuda::VectorMetric::kL2},
                                          bench.stream),
                        "packing"));
  const int32_t splits = cuda::DistanceTopKSplits({.query_count = std::min(nodes, kChunk),
                                                   .row_count = nodes,
                                                   .multiprocessors = bench.multiprocessors});
  GPU_BENCH_TRY(workspace.Allocate(cuda::DistanceTopKWorkspaceBytes(
      {.query_count = std::min(nodes, kChunk), .k = kCandidates, .splits = splits})));
  for (int64_t first = 0; first < nodes; first += kChunk) {
    const int64_t count = std::min(kChunk, nodes - first);
    // Of few queries the last chunk may be, and so have other tiles.
    const int32_t its_splits = std::min(
        splits,
        cuda::DistanceTopKSplits(
            {.query_count = count, .row_count = nodes, .multiprocessors = bench.multiprocessors}));
    GPU_BENCH_TRY(ErrorOf(cuda::DistanceTopK({.queries = packed.as<__nv_bfloat16>() + first * cols,
                                              .query_terms = terms.as<float>() + first,
                                              .rows = packed.as<__nv_bfloat16>(),
                                              .row_terms = terms.as<float>(),
                                              .live = nullptr,
                                              .live_stride = 0,
                                              .keys = nearest.as<uint64_t>() + first * kCandidates,
                                              .distances = nullptr,
                                              .nearest = nullptr,
                                              .workspace = workspace.as<void>(),
                                              .query_count = count,
                                              .row_count = nodes,
                                              .cols = cols,
                                              .metric = cuda::VectorMetric::kL2,
                                              .k = kCandidates,
                                              .splits = its_splits},
                                             bench.stream),
                          "searching"));
  }
  cuda::PruneLinksArgs prune = {.vectors = vectors,
                                .candidates = nearest.as<uint64_t>(),
                                .others = nullptr,
                                .kept = forward.as<uint64_t>(),
                                .links = nullptr,
                                .nodes = nodes,
                                .first_node = 0,
                                .dimension = dimension,
                                .metric = cuda::VectorMetric::kL2,
                                .candidate_count = kCandidates,
                                .other_count = 0,
                                .wanted = kM};
  GPU_BENCH_TRY(ErrorOf(cuda::PruneLinks(prune, bench.stream), "pruning"));
  GPU_BENCH_TRY(ErrorOf(cuda::ReverseLinks({.kept = forward.as<uint64_t>(),
                                            .reverse = reverse.as<uint64_t>(),
                                            .nodes = nodes,
                                            .wanted = kM,
                                            .room = level->room},
                                           bench.stream),
                        "reversing"));
  prune.candidates = forward.as<uint64_t>();
  prune.candidate_count = kM;
  prune.others = reverse.as<uint64_t>();
  prune.other_count = level->room;
  prune.kept = nullptr;
  prune.links = links.as<uint32_t>();
  prune.wanted = level->room;
  GPU_BENCH_TRY(ErrorOf(cuda::PruneLinks(prune, bench.stream), "pruning"));
  GPU_BENCH_TRY(ErrorOf(cudaStreamSynchronize(bench.stream), "linking"));
  level->links.resize(static_cast<size_t>(nodes * level->room));
  return ErrorOf(cudaMemcpy(level->links.data(), links.as<void>(), level->links.size() * 4,
                            cudaMemcpyDeviceToHost),
                 "copying links");
}

// Levels of a sixteenth of the nodes each: the first ones of the level below.
class DeviceLinks final : public GraphLinks {
 public:
  Error Make(const Bench& bench, const GraphRows& rows) {
    const int64_t bytes = rows.rows * rows.dimension * 4;
    Buffer vectors;
    GPU_BENCH_TRY(vectors.Allocate(bytes));
    GPU_BENCH_TRY(ErrorOf(cudaMemcpy(vectors.as<void>(), rows.vectors, static_cast<size_t>(bytes),
                                     cudaMemcpyHostToDevice),
                          "copying vectors"));
    for (int64_t count = rows.rows; count > 0; count /= 16) {
      levels_.push_back({.room = levels_.empty() ? 2 * rows.m : rows.m, .links = {}});
      counts_.push_back(count);
      GPU_BENCH_TRY(LinkLevel(bench, vectors.as<float>(), count, rows.dimension, &levels_.back()));
    }
    return "";
  }

  uint32_t entry() const override { return 0; }
  int LevelOf(uint32_t node) const override {
    int level = 0;
    while (level + 1 < std::ssize(counts_) && node < counts_[level + 1]) ++level;
    return level;
  }
  std::span<const uint32_t> Links(uint32_t node, int level) const override {
    const Level& all = levels_[level];
    const std::span its(all.links.data() + size_t{node} * all.room, all.room);
    return its.first(std::find(its.begin(), its.end(), cuda::kNoRow) - its.begin());
  }

 private:
  std::vector<Level> levels_;
  std::vector<int64_t> counts_;
};

using Graph = std::unique_ptr<SealedGraph>;

bool Never() { return false; }

Error BuildOnDevice(const Bench& bench, const GraphRows& rows, Graph* graph, double* link_seconds) {
  auto built = SealedGraph::BuildWith(
      rows,
      [&](const GraphNodes& nodes) -> absl::StatusOr<std::unique_ptr<GraphLinks>> {
        if (nodes.count() != rows.rows) return absl::InternalError("two random vectors are equal");
        const auto begin = SteadyClock::now();
        auto links = std::make_unique<DeviceLinks>();
        const Error error = links->Make(bench, rows);
        *link_seconds = SecondsSince(begin);
        if (!error.empty()) return absl::InternalError(error);
        return links;
      },
      Never);
  if (!built.ok()) return std::string(built.status().message());
  *graph = *std::move(built);
  return "";
}

// How many rows a second all cores build, each a graph of its own; the first core's graph.
Error BuildOnCores(const GraphRows& rows, int64_t cores, double* rate, Graph* first) {
  std::vector<absl::StatusOr<Graph>> built(static_cast<size_t>(cores));
  std::vector<std::thread> threads;
  const int64_t share = rows.rows / cores;
  const auto begin = SteadyClock::now();
  for (int64_t core = 0; core < cores; ++core) {
    threads.emplace_back([&, core] {
      GraphRows its = rows;
      its.vectors += core * share * rows.dimension;
      its.rows = share;
      built[static_cast<size_t>(core)] = SealedGraph::Build(its, Never);
    });
  }
  for (std::thread& thread : threads) thread.join();
  *rate = static_cast<double>(share * cores) / SecondsSince(begin);
  for (const auto& graph : built) {
    if (!graph.ok()) return std::string(graph.status().message());
  }
  *first = *std::move(built[0]);
  return "";
}

struct Quality {
  double recall = 0;
  double qps = 0;  // on one core
};

Quality Search(const SealedGraph& graph, const GraphRows& rows, std::span<const float> queries,
               const SustainedGoal& goal) {
  const int64_t count = std::ssize(queries) / rows.dimension;
  const auto all = [](int64_t) { return true; };
  std::vector<GraphNeighbor> met;
  int64_t found = 0;
  for (int64_t query = 0; query < count; ++query) {
    const float* const vector = queries.data() + query * rows.dimension;
    TopK exact(kNearest, rows.rows);
    for (int64_t row = 0; row < rows.rows; ++row) {
      float distance = 0;
      DistanceFor(Metric::kL2)(vector, rows.vectors + row * rows.dimension, 1, rows.dimension,
                               &distance);
      exact.Add({distance, PointId(static_cast<uint64_t>(row))});
    }
    met.clear();
    graph.Search(vector, kEf, kNearest, all, &met);
    for (const Neighbor& neighbor : exact.Take()) {
      found += std::any_of(met.begin(), met.end(), [&](const GraphNeighbor& its) {
        return PointId(static_cast<uint64_t>(its.row)) == neighbor.id;
      });
    }
  }
  const Sustained measured = MeasureSustained(goal, [&](int64_t calls) {
    const auto begin = SteadyClock::now();
    for (int64_t call = 0; call < calls; ++call) {
      for (int64_t query = 0; query < count; ++query) {
        met.clear();
        graph.Search(queries.data() + query * rows.dimension, kEf, kNearest, all, &met);
      }
    }
    return SecondsSince(begin);
  });
  return {static_cast<double>(found) / static_cast<double>(count * kNearest),
          static_cast<double>(count) / measured.call_seconds};
}

Error Draw(const Bench& bench, const FillClustered& how, std::vector<float>* vectors) {
  Buffer made;
  vectors->resize(static_cast<size_t>(how.rows * how.dimension));
  GPU_BENCH_TRY(made.Allocate(std::ssize(*vectors) * 4));
  GPU_BENCH_TRY(ErrorOf(Fill(made.as<float>(), how, bench.stream), "filling"));
  GPU_BENCH_TRY(ErrorOf(cudaStreamSynchronize(bench.stream), "filling"));
  return ErrorOf(
      cudaMemcpy(vectors->data(), made.as<void>(), vectors->size() * 4, cudaMemcpyDeviceToHost),
      "copying vectors");
}

}  // namespace

Error MeasureGraph(Bench& bench) {
  const auto dimension = static_cast<int32_t>(bench.Size(128, 16));
  FillClustered how = {.rows = bench.Size(1'000'000, 100),
                       .dimension = dimension,
                       .clusters = bench.Size(1000, 5),
                       .spread = 0.5f,
                       .center_seed = bench.seed,
                       .seed = bench.seed + 1};
  std::vector<float> vectors;
  GPU_BENCH_TRY(Draw(bench, how, &vectors));
  std::vector<float> queries;
  how.rows = bench.Size(500, 20);
  how.seed = bench.seed + 2;
  GPU_BENCH_TRY(Draw(bench, how, &queries));
  GraphRows rows = {.vectors = vectors.data(),
                    .rows = std::ssize(vectors) / dimension,
                    .dimension = dimension,
                    .metric = Metric::kL2,
                    .m = kM,
                    .ef_construction = kEfConstruction};
  Graph graph;
  double link_seconds = 0;
  const auto begin = SteadyClock::now();
  GPU_BENCH_TRY(BuildOnDevice(bench, rows, &graph, &link_seconds));
  const double rate = static_cast<double>(rows.rows) / SecondsSince(begin);
  graph.reset();
  bench.report->Add("graph.1m_128", rate, "vectors/s");
  bench.report->Add("graph.1m_128.links", static_cast<double>(rows.rows) / link_seconds,
                    "vectors/s");

  const int64_t cores =
      bench.tiny ? 1 : std::max(int64_t{1}, int64_t{std::thread::hardware_concurrency()});
  double cpu_rate = 0;
  Graph by_cpu;
  GPU_BENCH_TRY(BuildOnCores(rows, cores, &cpu_rate, &by_cpu));
  bench.report->Add("graph.cpu", cpu_rate, "vectors/s");
  bench.report->Add("graph.over_cpu", rate / cpu_rate, "times");

  rows.rows /= cores;
  GPU_BENCH_TRY(BuildOnDevice(bench, rows, &graph, &link_seconds));
  const Quality ours = Search(*graph, rows, queries, bench.goal);
  const Quality theirs = Search(*by_cpu, rows, queries, bench.goal);
  bench.report->Add("graph.recall", ours.recall, "");
  bench.report->Add("graph.recall_loss", theirs.recall - ours.recall, "");
  bench.report->Add("graph.qps_over_cpu", ours.qps / theirs.qps, "times");
  return "";
}

}  // namespace baton::gpu_bench
