#include "cuda_kernels/graph_links.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <memory>
#include <random>
#include <span>

#include "cuda_kernels/distance_top_k.h"
#include "cuda_kernels/key_collector.h"
#include "engine/vector/distance.h"
#include "engine/vector/sealed_graph.h"
#include "engine/vector/top_k.h"
#include "tests/cuda_kernels/kernel_suite.h"

namespace baton::cuda {
namespace {

struct Shape {
  int64_t all_nodes = 60;
  int64_t nodes = 5;
  int64_t first_node = 3;
  int64_t dimension = 6;
  int32_t candidates = 40;
  int32_t others = 0;
  int32_t wanted = 8;
  VectorMetric metric = VectorMetric::kL2;
};

// Whole numbers, so that distances are exact.
std::vector<float> WholeVectors(const Shape& s) {
  std::vector<float> vectors = RandomFloats(static_cast<size_t>(s.all_nodes * s.dimension), 51);
  for (float& x : vectors) x = std::nearbyint(x * 9);
  return vectors;
}

float NaiveDistance(const Shape& s, const std::vector<float>& vectors, int64_t a, int64_t b) {
  double sum = 0;
  for (int64_t i = 0; i < s.dimension; ++i) {
    const double x = vectors[a * s.dimension + i];
    const double y = vectors[b * s.dimension + i];
    sum += s.metric == VectorMetric::kL2 ? (x - y) * (x - y) : -x * y;
  }
  return static_cast<float>(sum);
}

// Some twice, some the node itself, some none; distances that are wrong by a little.
std::vector<uint64_t> Candidates(const Shape& s, int32_t count, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<uint64_t> keys;
  for (int64_t i = 0; i < s.nodes * count; ++i) {
    const auto row = static_cast<uint32_t>(random() % static_cast<uint64_t>(s.all_nodes));
    keys.push_back(random() % 6 == 0 ? kNoKey : KeyOf(static_cast<float>(i % 5), row));
  }
  return keys;
}

// The rule as graph_linker.cc has it.
std::vector<uint64_t> NaivePrune(const Shape& s, const std::vector<float>& vectors, int64_t node,
                                 const std::vector<uint64_t>& candidates) {
  std::vector<uint64_t> options;
  for (const uint64_t key : candidates) {
    if (key == kNoKey || RowOf(key) == node) continue;
    options.push_back(KeyOf(NaiveDistance(s, vectors, node, RowOf(key)), RowOf(key)));
  }
  std::sort(options.begin(), options.end());
  options.erase(std::unique(options.begin(), options.end()), options.end());
  const bool all = std::ssize(options) < s.wanted;
  std::vector<uint64_t> kept;
  for (const uint64_t option : options) {
    if (std::ssize(kept) == s.wanted) break;
    const bool nearer = std::any_of(kept.begin(), kept.end(), [&](uint64_t other) {
      return NaiveDistance(s, vectors, RowOf(other), RowOf(option)) < DistanceOf(option);
    });
    if (all || !nearer) kept.push_back(option);
  }
  kept.resize(static_cast<size_t>(s.wanted), kNoKey);
  return kept;
}

std::string RunPrune(const Shape& s) {
  const std::vector<float> vectors = WholeVectors(s);
  const std::vector<uint64_t> candidates = Candidates(s, s.candidates, 4);
  const std::vector<uint64_t> others = Candidates(s, s.others, 5);
  std::vector<uint64_t> want;
  std::vector<uint32_t> want_links;
  for (int64_t i = 0; i < s.nodes; ++i) {
    std::vector<uint64_t> its(candidates.begin() + i * s.candidates,
                              candidates.begin() + (i + 1) * s.candidates);
    its.insert(its.end(), others.begin() + i * s.others, others.begin() + (i + 1) * s.others);
    for (const uint64_t key : NaivePrune(s, vectors, s.first_node + i, its)) {
      want.push_back(key);
      want_links.push_back(key == kNoKey ? kNoRow : RowOf(key));
    }
  }
  const DeviceArray<float> device_vectors(vectors);
  const DeviceArray<uint64_t> device_candidates(candidates);
  const DeviceArray<uint64_t> device_others(others);
  const DeviceArray<uint64_t> kept(want.size());
  const DeviceArray<uint32_t> links(want.size());
  const std::string failure =
      Failure(PruneLinks({.vectors = device_vectors.data(),
                          .candidates = device_candidates.data(),
                          .others = s.others > 0 ? device_others.data() : nullptr,
                          .kept = kept.data(),
                          .links = links.data(),
                          .nodes = s.nodes,
                          .first_node = s.first_node,
                          .dimension = s.dimension,
                          .metric = s.metric,
                          .candidate_count = s.candidates,
                          .other_count = s.others,
                          .wanted = s.wanted},
                         nullptr));
  if (!failure.empty()) return failure;
  const std::string difference = DifferenceExact("kept", kept.Read(), want);
  return difference.empty() ? DifferenceExact("links", links.Read(), want_links) : difference;
}

std::string RunReverse(int64_t nodes, int32_t wanted, int32_t room) {
  std::mt19937_64 random(6);
  std::vector<uint64_t> kept;
  for (int64_t i = 0; i < nodes * wanted; ++i) {
    const auto to = static_cast<uint32_t>(random() % 3 == 0 ? 0 : random() % nodes);
    const auto distance = static_cast<float>(random() % 9);
    kept.push_back(random() % 5 == 0 ? kNoKey : KeyOf(distance, to));
  }
  std::vector<uint64_t> want(static_cast<size_t>(nodes * room), kNoKey);
  for (int64_t i = 0; i < nodes * wanted; ++i) {
    if (kept[i] == kNoKey) continue;
    const auto from = static_cast<uint32_t>(i / wanted);
    uint64_t& place = want[int64_t{RowOf(kept[i])} * room + from % room];
    place = std::min(place, KeyOf(DistanceOf(kept[i]), from));
  }
  const DeviceArray<uint64_t> device_kept(kept);
  const DeviceArray<uint64_t> reverse(want.size());
  const std::string failure = Failure(ReverseLinks({.kept = device_kept.data(),
                                                    .reverse = reverse.data(),
                                                    .nodes = nodes,
                                                    .wanted = wanted,
                                                    .room = room},
                                                   nullptr));
  return failure.empty() ? DifferenceExact("reverse", reverse.Read(), want) : failure;
}

TEST_CASE("links are kept that are nearer to their node than to each other") {
  std::vector<KernelCase> cases;
  const auto with = [&](const std::string& name, const Shape& shape) {
    cases.push_back({name, [=] { return RunPrune(shape); }});
  };
  with("L2", {});
  with("inner product", {.metric = VectorMetric::kInnerProduct});
  with("two lists", {.nodes = 4, .dimension = 40, .candidates = 33, .others = 37, .wanted = 16});
  with("many candidates", {.all_nodes = 3000, .nodes = 1, .dimension = 3, .candidates = 600});
  with("fewer than wanted", {.candidates = 5});
  with("as many as are wanted, or nearly", {.nodes = 30, .candidates = 9});
  with("one link", {.wanted = 1});
  with("no candidates", {.candidates = 0});
  with("no nodes", {.nodes = 0});
  CheckKernel(cases, Barriers::kAll);
}

TEST_CASE("links lead back to the nearest that lead here") {
  std::vector<KernelCase> cases;
  for (const int64_t nodes : {0, 1, 7, 90}) {
    for (const int32_t room : {1, 4, 32}) {
      cases.push_back({std::to_string(nodes) + " nodes, room " + std::to_string(room),
                       [=] { return RunReverse(nodes, 5, room); }});
    }
  }
  CheckKernel(cases, Barriers::kNone);
}

// ---- The three steps, and what the engine makes of them

struct Links {
  int32_t room = 0;
  std::vector<uint32_t> links;  // [nodes, room]
};

std::string LinkOnDevice(const std::vector<float>& vectors, int64_t dimension, int32_t wanted,
                         int32_t room, Links* links) {
  constexpr int32_t kCandidates = 48;
  const int64_t nodes = std::ssize(vectors) / dimension;
  const int64_t cols = PackedColumns(dimension);
  const DeviceArray<float> device(vectors);
  const DeviceArray<__nv_bfloat16> packed(static_cast<size_t>(nodes * cols));
  const DeviceArray<float> terms(static_cast<size_t>(nodes));
  const DeviceArray<uint64_t> nearest(static_cast<size_t>(nodes * kCandidates));
  const DeviceArray<uint64_t> forward(static_cast<size_t>(nodes * wanted));
  const DeviceArray<uint64_t> reverse(static_cast<size_t>(nodes * room));
  const DeviceArray<uint32_t> both(static_cast<size_t>(nodes * room));
  const DeviceArray<uint64_t> workspace(static_cast<size_t>(
      DistanceTopKWorkspaceBytes({.query_count = nodes, .k = kCandidates, .splits = 1}) / 8));
  std::string failure = Failure(PackVectors({.vectors = device.data(),
                                             .packed = packed.data(),
                                             .terms = terms.data(),
                                             .rows = nodes,
                                             .dimension = dimension,
                                             .metric = VectorMetric::kL2},
                                            nullptr));
  if (!failure.empty()) return failure;
  failure = Failure(DistanceTopK({.queries = packed.data(),
                                  .query_terms = terms.data(),
                                  .rows = packed.data(),
                                  .row_terms = terms.data(),
                                  .live = nullptr,
                                  .live_stride = 0,
                                  .keys = nearest.data(),
                                  .distances = nullptr,
                                  .nearest = nullptr,
                                  .workspace = workspace.data(),
                                  .query_count = nodes,
                                  .row_count = nodes,
                                  .cols = cols,
                                  .metric = VectorMetric::kL2,
                                  .k = kCandidates,
                                  .splits = 1},
                                 nullptr));
  if (!failure.empty()) return failure;
  PruneLinksArgs prune = {.vectors = device.data(),
                          .candidates = nearest.data(),
                          .others = nullptr,
                          .kept = forward.data(),
                          .links = nullptr,
                          .nodes = nodes,
                          .first_node = 0,
                          .dimension = dimension,
                          .metric = VectorMetric::kL2,
                          .candidate_count = kCandidates,
                          .other_count = 0,
                          .wanted = wanted};
  failure = Failure(PruneLinks(prune, nullptr));
  if (!failure.empty()) return failure;
  failure = Failure(ReverseLinks({.kept = forward.data(),
                                  .reverse = reverse.data(),
                                  .nodes = nodes,
                                  .wanted = wanted,
                                  .room = room},
                                 nullptr));
  if (!failure.empty()) return failure;
  prune.candidates = forward.data();
  prune.candidate_count = wanted;
  prune.others = reverse.data();
  prune.other_count = room;
  prune.kept = nullptr;
  prune.links = both.data();
  prune.wanted = room;
  failure = Failure(PruneLinks(prune, nullptr));
  *links = {room, both.Read()};
  return failure;
}

// Levels of a sixteenth of the nodes each: the first ones of the level below.
class DeviceLinks final : public GraphLinks {
 public:
  DeviceLinks(const GraphRows& rows, const GraphNodes& nodes) {
    for (uint32_t count = nodes.count(); count > 0; count /= 16) {
      std::vector<float> vectors;
      for (uint32_t node = 0; node < count; ++node) {
        const float* const its = rows.vectors + int64_t{nodes.first_row[node]} * rows.dimension;
        vectors.insert(vectors.end(), its, its + rows.dimension);
      }
      const int32_t room = levels_.empty() ? 2 * rows.m : rows.m;
      levels_.emplace_back();
      counts_.push_back(count);
      failure_ = LinkOnDevice(vectors, rows.dimension, rows.m, room, &levels_.back());
      if (!failure_.empty()) return;
    }
  }
  const std::string& failure() const { return failure_; }

  uint32_t entry() const override { return 0; }
  int LevelOf(uint32_t node) const override {
    int level = 0;
    while (level + 1 < std::ssize(counts_) && node < counts_[level + 1]) ++level;
    return level;
  }
  std::span<const uint32_t> Links(uint32_t node, int level) const override {
    const cuda::Links& all = levels_[level];
    const std::span its(all.links.data() + size_t{node} * all.room, all.room);
    return its.first(std::find(its.begin(), its.end(), kNoRow) - its.begin());
  }

 private:
  std::vector<cuda::Links> levels_;
  std::vector<uint32_t> counts_;
  std::string failure_;
};

double Recall(const SealedGraph& graph, const GraphRows& rows, const std::vector<float>& queries,
              int64_t ef) {
  constexpr int32_t kNearest = 10;
  const int64_t count = std::ssize(queries) / rows.dimension;
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
    std::vector<GraphNeighbor> met;
    graph.Search(
        vector, ef, kNearest, [](int64_t) { return true; }, &met);
    for (const Neighbor& neighbor : exact.Take()) {
      found += std::any_of(met.begin(), met.end(), [&](const GraphNeighbor& its) {
        return PointId(static_cast<uint64_t>(its.row)) == neighbor.id;
      });
    }
  }
  return static_cast<double>(found) / static_cast<double>(count * kNearest);
}

TEST_CASE("a graph that the kernels link is one that the engine searches as well as its own") {
  constexpr int64_t kRows = 500;
  constexpr int32_t kDimension = 24;
  constexpr int64_t kClusters = 7;
  constexpr int64_t kEf = 32;
  const auto clustered = [](int64_t count, uint64_t seed) {
    std::vector<float> vectors = RandomFloats(static_cast<size_t>(count * kDimension), seed);
    const std::vector<float> centers = RandomFloats(kClusters * kDimension, 90);
    for (int64_t i = 0; i < count * kDimension; ++i) {
      const int64_t cluster = i / kDimension % kClusters;
      vectors[i] = vectors[i] * 0.4f + centers[cluster * kDimension + i % kDimension];
    }
    return vectors;
  };
  const std::vector<float> vectors = clustered(kRows, 91);
  const std::vector<float> queries = clustered(100, 92);
  const GraphRows rows = {.vectors = vectors.data(),
                          .rows = kRows,
                          .dimension = kDimension,
                          .metric = Metric::kL2,
                          .m = 8,
                          .ef_construction = 64};
  const auto never = [] { return false; };
  const auto link = [&](const GraphNodes& nodes) -> absl::StatusOr<std::unique_ptr<GraphLinks>> {
    auto links = std::make_unique<DeviceLinks>(rows, nodes);
    if (!links->failure().empty()) return absl::InternalError(links->failure());
    return links;
  };
  const auto ours = SealedGraph::BuildWith(rows, link, never);
  REQUIRE(ours.ok());
  const auto theirs = SealedGraph::Build(rows, never);
  REQUIRE(theirs.ok());
  const double recall = Recall(**ours, rows, queries, kEf);
  INFO(recall);
  CHECK(recall >= Recall(**theirs, rows, queries, kEf) - 0.005);
  CHECK(recall > 0.9);
}

TEST_CASE("links that cannot be pruned are refused") {
  PruneLinksArgs args = {};
  args.nodes = 1;
  args.wanted = 8;
  args.candidate_count = 20;
  const auto refused = [](PruneLinksArgs with, auto change) {
    change(with);
    return PruneLinks(with, nullptr) == cudaErrorInvalidValue;
  };
  CHECK(refused(args, [](auto& a) { a.wanted = 0; }));
  CHECK(refused(args, [](auto& a) { a.candidate_count = kPruneCandidatesMax + 1; }));
  CHECK(refused(args, [](auto& a) { a.candidate_count = -1; }));
  CHECK(refused(args, [](auto& a) { a.metric = VectorMetric::kCosine; }));
  CHECK(ReverseLinks({.nodes = 1, .wanted = 1, .room = 0}, nullptr) == cudaErrorInvalidValue);
}

}  // namespace
}  // namespace baton::cuda
