// Graphs whose links the GPU makes, on the host runtime for kernels.
#include "engine/exec/plugin_graph.h"

#include <algorithm>
#include <atomic>
#include <catch2/catch.hpp>
#include <future>
#include <memory>
#include <random>
#include <thread>
#include <utility>
#include <vector>

#include "engine/vector/distance.h"
#include "engine/vector/sealed_graph.h"
#include "engine/vector/top_k.h"
#include "tests/engine/exec/gpu/gpu_harness.h"
#include "tests/engine/vector/vector_harness.h"
#include "tests/support/cuda_host/cuda_host.h"
#include "tests/support/status_matchers.h"

namespace baton {
namespace {

constexpr int32_t kDimension = 12;

// Rows of few clusters, one cluster after another, which is how levels must not be chosen.
std::vector<float> Clustered(int64_t count, uint32_t seed) {
  constexpr int64_t kClusters = 9;
  std::mt19937 of_centers(7);
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> centers(kClusters * kDimension);
  for (float& value : centers) value = 4 * normal(of_centers);
  std::vector<float> vectors;
  for (int64_t i = 0; i < count; ++i) {
    const int64_t cluster = i * kClusters / count;
    for (int32_t j = 0; j < kDimension; ++j) {
      vectors.push_back(centers[cluster * kDimension + j] + normal(random));
    }
  }
  return vectors;
}

GraphRows RowsOf(const std::vector<float>& vectors, Metric metric = Metric::kL2) {
  return {.vectors = vectors.data(),
          .rows = std::ssize(vectors) / kDimension,
          .dimension = kDimension,
          .metric = metric,
          .m = 6,
          .ef_construction = 40};
}

bool Never() { return false; }

absl::StatusOr<std::unique_ptr<SealedGraph>> BuildOn(GraphSkill& skill, const GraphRows& rows) {
  return SealedGraph::BuildWith(
      rows, [&](const GraphNodes& nodes) { return skill.Link(rows, nodes, Never); }, Never);
}

double Recall(const SealedGraph& graph, const GraphRows& rows, const std::vector<float>& queries) {
  constexpr int32_t kNearest = 10;
  constexpr int64_t kEf = 24;
  const int64_t count = std::ssize(queries) / kDimension;
  int64_t found = 0;
  for (int64_t query = 0; query < count; ++query) {
    const float* const vector = queries.data() + query * kDimension;
    TopK exact(kNearest, rows.rows);
    for (int64_t row = 0; row < rows.rows; ++row) {
      float distance = 0;
      DistanceFor(rows.metric)(vector, rows.vectors + row * kDimension, 1, kDimension, &distance);
      exact.Add({distance, PointId(static_cast<uint64_t>(row))});
    }
    std::vector<GraphNeighbor> met;
    graph.Search(
        vector, kEf, kNearest, [](int64_t) { return true; }, &met);
    for (const Neighbor& neighbor : exact.Take()) {
      found += std::any_of(met.begin(), met.end(), [&](const GraphNeighbor& its) {
        return PointId(static_cast<uint64_t>(its.row)) == neighbor.id;
      });
    }
  }
  return static_cast<double>(found) / static_cast<double>(count * kNearest);
}

TEST_CASE("a graph that the GPU links is searched as well as the CPU's") {
  const std::vector<float> vectors = Clustered(400, 1);
  const std::vector<float> queries = Clustered(60, 2);
  PluginGraph gpu(OpenGpu(/*f32=*/false));
  for (const Metric metric : {Metric::kL2, Metric::kDot}) {
    CAPTURE(static_cast<int>(metric));
    const GraphRows rows = RowsOf(vectors, metric);
    const auto ours = BuildOn(gpu, rows);
    REQUIRE_OK(ours);
    const auto theirs = SealedGraph::Build(rows, Never);
    REQUIRE_OK(theirs);
    const double recall = Recall(**ours, rows, queries);
    INFO(recall);
    CHECK(recall >= Recall(**theirs, rows, queries) - 0.005);
    const auto again = BuildOn(gpu, rows);
    REQUIRE_OK(again);
    CHECK(std::ranges::equal((*again)->bytes(), (*ours)->bytes()));
  }
}

TEST_CASE("few rows and rows that are all one are linked") {
  PluginGraph gpu(OpenGpu(/*f32=*/false));
  const std::vector<float> vectors = Clustered(7, 3);
  for (const int64_t count : {1, 2, 7}) {
    GraphRows rows = RowsOf(vectors);
    rows.rows = count;
    const auto graph = BuildOn(gpu, rows);
    REQUIRE_OK(graph);
    CHECK(Recall(**graph, rows, vectors) == Approx(count / 10.0));
  }
  const std::vector<float> same(5 * kDimension, 1.5f);
  const auto graph = BuildOn(gpu, RowsOf(same));
  REQUIRE_OK(graph);
  CHECK((*graph)->nodes() == 1);
}

TEST_CASE("a graph is stopped and one without room says so") {
  struct Runtime {
    ~Runtime() {
      cuda_host::ForgetFailures();
      cuda_host::SetDeviceMemory(0);
    }
  } runtime;
  const std::vector<float> vectors = Clustered(50, 4);
  const GraphRows rows = RowsOf(vectors);
  const GraphNodes nodes(rows);
  PluginGraph gpu(OpenGpu(/*f32=*/false));
  int asked = 0;
  CHECK(absl::IsCancelled(gpu.Link(rows, nodes, [&] { return ++asked > 1; }).status()));
  cuda_host::SetDeviceMemory(100'000);
  const absl::Status full = gpu.Link(rows, nodes, Never).status();
  CHECK(absl::IsResourceExhausted(full));
  CHECK_THAT(std::string(full.message()), Catch::Contains("a graph needs"));
  cuda_host::SetDeviceMemory(0);
  REQUIRE_OK(gpu.Link(rows, nodes, Never));
  GraphRows many = rows;
  many.m = 400;
  CHECK(absl::IsInvalidArgument(gpu.Link(many, nodes, Never).status()));
}

// A store whose graphs are linked as `link` says, with so many points.
struct Linked {
  Linked(GraphMaker::Link link, uint64_t points) {
    auto opened = VectorStore::Open(TestOptions(dir.path()), metrics);
    REQUIRE_OK(opened);
    store = *std::move(opened);
    store->makers().graphs.Offer(std::move(link));
    REQUIRE_OK(store->CreateCollection(Spec("c", kDimension), ""));
    std::mt19937 random(6);
    std::vector<Point> all;
    for (uint64_t id = 0; id < points; ++id) {
      all.push_back(MakePoint(PointId(id), RandomVector(random, kDimension)));
    }
    REQUIRE_OK(CommitOne(*store, "c", std::move(all)).status);
  }
  double Count(const char* by) { return metrics.Counter(MetricId::kGraphsLinked, {by}).Value(); }

  TempDir dir;
  Metrics metrics;
  std::unique_ptr<VectorStore> store;
};

TEST_CASE("a store has its graphs linked by the GPU or, where that fails, by the CPU") {
  PluginGraph gpu(OpenGpu(/*f32=*/false));
  const auto link = [&](const GraphRows& rows, const GraphNodes& nodes,
                        absl::FunctionRef<bool()> stop) { return gpu.Link(rows, nodes, stop); };
  {
    Linked linked(link, 64);
    linked.store->WaitUntilIdle();
    CHECK(linked.Count("device") >= 1);
    CHECK(linked.Count("cpu") + linked.Count("cpu_fallback") == 0);
    CHECK(linked.store->List().at(0).points_unindexed == 0);
  }
  {
    Linked linked(
        [](const GraphRows&, const GraphNodes&,
           absl::FunctionRef<bool()>) -> absl::StatusOr<std::unique_ptr<GraphLinks>> {
          return absl::ResourceExhaustedError("no room");
        },
        64);
    linked.store->WaitUntilIdle();
    CHECK(linked.Count("cpu_fallback") >= 1);
    CHECK(linked.store->List().at(0).points_unindexed == 0);
  }
}

TEST_CASE("a device is withdrawn while it links and the CPU goes on") {
  std::promise<void> begun;
  Linked linked(
      [&begun, first = true](
          const GraphRows&, const GraphNodes&,
          absl::FunctionRef<bool()> stop) mutable -> absl::StatusOr<std::unique_ptr<GraphLinks>> {
        if (std::exchange(first, false)) begun.set_value();
        while (!stop()) std::this_thread::yield();
        return absl::CancelledError("stopped");
      },
      64);
  begun.get_future().wait();
  linked.store->makers().graphs.Withdraw();
  linked.store->WaitUntilIdle();
  CHECK(linked.Count("device") == 0);
  CHECK(linked.store->List().at(0).points_unindexed == 0);
}

}  // namespace
}  // namespace baton
