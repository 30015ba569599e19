#include "engine/vector/graph_linker.h"

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

#include "engine/vector/distance.h"
#include "engine/vector/sealed_graph.h"
#include "engine/vector/segment.h"
#include "engine/vector/vector_checks.h"
#include "tests/engine/vector/vector_harness.h"

namespace baton {
namespace {

bool Never() { return false; }

// Clusters, so that links matter: in even noise everything is a neighbor.
SegmentRows ClusteredRows(std::mt19937& random, int64_t count, int32_t dimension) {
  const std::vector<float> centers = RandomVector(random, 20 * dimension);
  SegmentRows rows;
  rows.vectors = RandomVector(random, static_cast<int>(count) * dimension);
  for (int64_t i = 0; i < count; ++i) {
    rows.ids.push_back(static_cast<PointId>(i));
    rows.sequences.push_back(1);
    const float* const center = centers.data() + random() % 20 * dimension;
    for (int32_t j = 0; j < dimension; ++j) {
      float& value = rows.vectors[static_cast<size_t>(i * dimension + j)];
      value = value * 0.5f + center[j];
    }
  }
  return rows;
}

// The share of the 10 nearest that searches for other vectors of the same kind find.
double Recall(const SealedGraph& graph, const GraphRows& rows, int64_t ef) {
  std::mt19937 random(99);
  const DistanceFn distance = DistanceFor(rows.metric);
  std::vector<float> distances(static_cast<size_t>(rows.rows));
  int found_count = 0;
  constexpr int kQueries = 100;
  for (int q = 0; q < kQueries; ++q) {
    std::vector<float> query = RandomVector(random, rows.dimension);
    const float* const near = rows.vectors + random() % rows.rows * rows.dimension;
    for (int32_t j = 0; j < rows.dimension; ++j) query[j] = query[j] * 0.3f + near[j];
    distance(query.data(), rows.vectors, rows.rows, rows.dimension, distances.data());
    std::vector<float> sorted = distances;
    std::nth_element(sorted.begin(), sorted.begin() + 9, sorted.end());
    std::vector<GraphNeighbor> found;
    graph.Search(
        query.data(), ef, 10, [](int64_t) { return true; }, &found);
    found_count += static_cast<int>(std::min<int64_t>(
        10, std::count_if(found.begin(), found.end(),
                          [&sorted](const auto& n) { return n.distance <= sorted[9]; })));
  }
  return found_count / (10.0 * kQueries);
}

bool Same(const SealedGraph& a, const SealedGraph& b) {
  return std::equal(a.bytes().begin(), a.bytes().end(), b.bytes().begin(), b.bytes().end());
}

// 12 values are compared as they are, 48 by codes.
TEST_CASE("links lead where hnswlib's lead") {
  std::mt19937 random(11);
  const int dimension = GENERATE(12, 48);
  const Metric metric = GENERATE(Metric::kL2, Metric::kCosine, Metric::kDot);
  CollectionSpec spec = Spec("c", dimension, metric);
  spec.hnsw_m = 8;
  spec.hnsw_ef_construction = 60;
  SegmentRows rows = ClusteredRows(random, 3000, dimension);
  if (metric == Metric::kCosine) {
    for (int64_t row = 0; row < rows.count(); ++row) {
      Normalize(rows.vectors.data() + row * dimension, dimension);
    }
  }
  const GraphRows graph_rows = GraphRowsOf(spec, rows);
  const auto ours = SealedGraph::Build(graph_rows, Never);
  const auto twin = SealedGraph::BuildByHnswlib(graph_rows, Never);
  REQUIRE_OK(ours);
  REQUIRE_OK(twin);
  const double ours_recall = Recall(**ours, graph_rows, 20);
  const double twin_recall = Recall(**twin, graph_rows, 20);
  CAPTURE(dimension, metric, ours_recall, twin_recall);
  REQUIRE(ours_recall >= twin_recall - 0.02);
  REQUIRE(ours_recall > 0.5);
  const auto again = SealedGraph::Build(graph_rows, Never);
  REQUIRE_OK(again);
  REQUIRE(Same(**again, **ours));
}

TEST_CASE("lists are within their room and name nodes of the level") {
  std::mt19937 random(12);
  CollectionSpec spec = Spec("c", 24);
  spec.hnsw_m = 2;  // many levels
  spec.hnsw_ef_construction = 10;
  const SegmentRows rows = ClusteredRows(random, 800, 24);
  const GraphRows graph_rows = GraphRowsOf(spec, rows);
  const GraphNodes nodes(graph_rows);
  const auto graph = GraphLinker::Build(graph_rows, nodes, GraphSeed(), Never);
  REQUIRE_OK(graph);
  int top = 0;
  for (uint32_t node = 0; node < nodes.count(); ++node) {
    top = std::max(top, (*graph)->LevelOf(node));
    for (int level = 0; level <= (*graph)->LevelOf(node); ++level) {
      const std::span<const uint32_t> links = (*graph)->Links(node, level);
      REQUIRE(links.size() <= (level == 0 ? 4 : 2));
      std::vector<uint32_t> sorted(links.begin(), links.end());
      std::sort(sorted.begin(), sorted.end());
      REQUIRE(std::adjacent_find(sorted.begin(), sorted.end()) == sorted.end());
      for (const uint32_t link : links) {
        REQUIRE(link < nodes.count());
        REQUIRE(link != node);
        REQUIRE((*graph)->LevelOf(link) >= level);
      }
    }
  }
  REQUIRE(top >= 4);
  REQUIRE((*graph)->LevelOf((*graph)->entry()) == top);
}

// 3000 rows in all, of which a graph over 2000 is there already; every so many of those are gone.
TEST_CASE("a graph that starts from another finds as much as one from nothing") {
  std::mt19937 random(13);
  const int dimension = GENERATE(12, 48);
  const int gone_every = GENERATE(0, 2, 10);
  CollectionSpec spec = Spec("c", dimension);
  spec.hnsw_m = 8;
  spec.hnsw_ef_construction = 60;
  const SegmentRows all = ClusteredRows(random, 3000, dimension);
  SegmentRows older;
  SegmentRows rows;
  GraphSeed seed;
  for (int64_t i = 0; i < all.count(); ++i) {
    const float* const vector = all.vectors.data() + i * dimension;
    const bool in_older = i % 3 != 0;
    const bool gone = in_older && gone_every != 0 && random() % gone_every == 0;
    if (in_older) {
      older.ids.push_back(all.ids[i]);
      older.sequences.push_back(1);
      older.vectors.insert(older.vectors.end(), vector, vector + dimension);
      seed.rows.push_back(gone ? -1 : rows.count());
    }
    if (gone) continue;
    rows.ids.push_back(all.ids[i]);
    rows.sequences.push_back(1);
    rows.vectors.insert(rows.vectors.end(), vector, vector + dimension);
  }
  const auto from = SealedGraph::Build(GraphRowsOf(spec, older), Never);
  REQUIRE_OK(from);
  seed.graph = from->get();
  const GraphRows graph_rows = GraphRowsOf(spec, rows);
  const auto grown = SealedGraph::Build(graph_rows, seed, Never);
  const auto fresh = SealedGraph::Build(graph_rows, Never);
  REQUIRE_OK(grown);
  REQUIRE_OK(fresh);
  const double grown_recall = Recall(**grown, graph_rows, 20);
  const double fresh_recall = Recall(**fresh, graph_rows, 20);
  CAPTURE(dimension, gone_every, grown_recall, fresh_recall);
  REQUIRE(grown_recall >= fresh_recall - 0.03);
  std::vector<GraphNeighbor> found;
  for (int64_t row = 0; row < rows.count(); ++row) {
    (*grown)->Search(
        rows.vectors.data() + row * dimension, 32, rows.count(), [](int64_t) { return true; },
        &found);
    REQUIRE(std::any_of(found.begin(), found.end(),
                        [row](const GraphNeighbor& n) { return n.row == row; }));
  }
}

TEST_CASE("a graph may start from one of which nothing is left") {
  std::mt19937 random(14);
  const CollectionSpec spec = Spec("c", 20);
  const SegmentRows older = ClusteredRows(random, 50, 20);
  const SegmentRows rows = ClusteredRows(random, 60, 20);
  const auto from = SealedGraph::Build(GraphRowsOf(spec, older), Never);
  REQUIRE_OK(from);
  const GraphSeed seed{.graph = from->get(), .rows = std::vector<int64_t>(50, -1)};
  const auto grown = SealedGraph::Build(GraphRowsOf(spec, rows), seed, Never);
  const auto fresh = SealedGraph::Build(GraphRowsOf(spec, rows), Never);
  REQUIRE_OK(grown);
  REQUIRE_OK(fresh);
  REQUIRE(Same(**grown, **fresh));
}

}  // namespace
}  // namespace baton
