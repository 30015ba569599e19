#include "engine/vector/sealed_graph.h"

#include <algorithm>
#include <cmath>
#include <random>
#include <span>
#include <vector>

#include "engine/vector/distance.h"
#include "engine/vector/filter_nodes.h"
#include "engine/vector/segment.h"
#include "tests/engine/vector/vector_harness.h"

namespace baton {
namespace {

SegmentRows RandomRows(std::mt19937& random, int64_t count, int32_t dimension) {
  SegmentRows rows;
  for (int64_t i = 0; i < count; ++i) {
    rows.ids.push_back(static_cast<PointId>(i));
    rows.sequences.push_back(1);
  }
  rows.vectors = RandomVector(random, static_cast<int>(count) * dimension);
  return rows;
}

bool Never() { return false; }

std::vector<int64_t> RowsOf(std::vector<GraphNeighbor> neighbors) {
  std::vector<int64_t> rows;
  for (const GraphNeighbor& neighbor : neighbors) rows.push_back(neighbor.row);
  std::sort(rows.begin(), rows.end());
  return rows;
}

std::vector<GraphNeighbor> SearchGraph(const SealedGraph& graph, const float* query, int64_t ef,
                                       int64_t wanted) {
  std::vector<GraphNeighbor> found;
  graph.Search(
      query, ef, wanted, [](int64_t) { return true; }, &found);
  return found;
}

HugeBuffer Copy(std::span<const std::byte> bytes) {
  HugeBuffer copy(bytes.size());
  std::copy(bytes.begin(), bytes.end(), copy.data());
  return copy;
}

bool Equal(std::span<const std::byte> a, std::span<const std::byte> b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end());
}

// 8 values are walked by vectors, 40 by codes.
TEST_CASE("a graph survives its bytes and finds the same rows") {
  std::mt19937 random(3);
  const int dimension = GENERATE(8, 40);
  const Metric metric = GENERATE(Metric::kL2, Metric::kDot);
  const bool whole = GENERATE(false, true);
  const CollectionSpec spec = Spec("c", dimension, metric);
  for (const int64_t count : {1, 2, 700}) {
    CAPTURE(count, dimension);
    SegmentRows rows = RandomRows(random, count, dimension);
    for (float& value : rows.vectors) value = whole ? std::round(value * 20) : value;
    auto graph = SealedGraph::Build(GraphRowsOf(spec, rows), Never);
    REQUIRE_OK(graph);
    REQUIRE((*graph)->has_codes() == (dimension == 40));
    REQUIRE((*graph)->codes_are_exact() == (whole && dimension == 40));
    std::vector<float> vector(static_cast<size_t>(dimension));
    for (int64_t row = 0; row < count && (*graph)->codes_are_exact(); ++row) {
      (*graph)->DecodeRow(row, vector.data());
      REQUIRE(std::equal(vector.begin(), vector.end(), rows.vectors.begin() + row * dimension));
    }
    auto again = SealedGraph::Load(GraphRowsOf(spec, rows), Copy((*graph)->bytes()));
    REQUIRE_OK(again);
    REQUIRE(Equal((*again)->bytes(), (*graph)->bytes()));
    for (int i = 0; i < 20; ++i) {
      const std::vector<float> query = RandomVector(random, dimension);
      const auto found = SearchGraph(**graph, query.data(), 20, 20);
      REQUIRE(static_cast<int64_t>(found.size()) == std::min<int64_t>(count, 20));
      REQUIRE(RowsOf(found) == RowsOf(SearchGraph(**again, query.data(), 20, 20)));
    }
  }
}

// What a plain HNSW graph does not promise: in random vectors, and far more so among copies and far
// from the others, some rows are on no walk's way.
TEST_CASE("every row is found by a walk for its own vector, outliers and copies too") {
  std::mt19937 random(6);
  const int copies = GENERATE(0, 1, 2);  // none, one vector of many rows, many of a few
  CollectionSpec spec = Spec("c", 32);
  spec.hnsw_m = 3;
  spec.hnsw_ef_construction = 12;
  SegmentRows rows = RandomRows(random, 1500, 32);
  for (int64_t row = 0; row < rows.count() && copies > 0; ++row) {
    if (copies == 1 && row % 2 == 0) {
      std::fill_n(rows.vectors.begin() + row * 32, 32, 9.0f);
    } else if (copies == 2) {
      std::copy_n(rows.vectors.begin() + row % 40 * 32, 32, rows.vectors.begin() + row * 32);
    }
  }
  auto graph = SealedGraph::Build(GraphRowsOf(spec, rows), Never);
  REQUIRE_OK(graph);
  for (int64_t row = 0; row < rows.count(); ++row) {
    const float* const vector = rows.vectors.data() + row * 32;
    const auto found = SearchGraph(**graph, vector, 32, rows.count());
    REQUIRE(std::any_of(found.begin(), found.end(), [row](const GraphNeighbor& neighbor) {
      return neighbor.row == row && neighbor.distance == 0;
    }));
  }
}

TEST_CASE("building a graph stops when told to") {
  std::mt19937 random(4);
  const SegmentRows rows = RandomRows(random, 100, 4);
  int calls = 0;
  const auto graph =
      SealedGraph::Build(GraphRowsOf(Spec("c", 4), rows), [&calls] { return ++calls == 10; });
  REQUIRE_STATUS(graph, absl::StatusCode::kCancelled, "stopped");
  REQUIRE(calls == 10);
}

TEST_CASE("damaged graph bytes are refused or harmless") {
  std::mt19937 random(5);
  const int dimension = GENERATE(4, 20);
  const CollectionSpec spec = Spec("c", dimension);
  const SegmentRows rows = RandomRows(random, 120, dimension);
  auto graph = SealedGraph::Build(GraphRowsOf(spec, rows), Never);
  REQUIRE_OK(graph);
  const std::span<const std::byte> bytes = (*graph)->bytes();
  for (size_t size = 0; size < bytes.size(); size += 41) {
    REQUIRE_STATUS(SealedGraph::Load(GraphRowsOf(spec, rows), Copy(bytes.first(size))),
                   absl::StatusCode::kDataLoss, "damaged");
  }
  const std::vector<float> query = RandomVector(random, dimension);
  for (int round = 0; round < 2000; ++round) {
    HugeBuffer damaged = Copy(bytes);
    const size_t end = round % 2 == 0 ? 100 : damaged.size();  // the header is worth more tries
    for (int i = 0; i < 3; ++i) damaged.data()[random() % end] = static_cast<std::byte>(random());
    auto hostile = SealedGraph::Load(GraphRowsOf(spec, rows), std::move(damaged));
    // Where the bytes still are a graph, searching it stays inside the rows.
    if (!hostile.ok()) continue;
    for (const GraphNeighbor& neighbor : SearchGraph(**hostile, query.data(), 50, 50)) {
      REQUIRE(neighbor.row < rows.count());
    }
  }
}

// Neighbors whose codes are all the same, since one row lies far away, must still be told apart.
TEST_CASE("rows that codes cannot tell apart are walked by their vectors") {
  std::mt19937 random(9);
  const CollectionSpec spec = Spec("c", 24);
  SegmentRows rows = RandomRows(random, 900, 24);
  REQUIRE((*SealedGraph::Build(GraphRowsOf(spec, rows), Never))->has_codes());
  std::fill_n(rows.vectors.begin(), 24, 1e6f);
  auto graph = SealedGraph::Build(GraphRowsOf(spec, rows), Never);
  REQUIRE_OK(graph);
  REQUIRE_FALSE((*graph)->has_codes());
  const float* const vector = rows.vectors.data() + 77 * 24;
  const auto found = SearchGraph(**graph, vector, 32, 1);
  REQUIRE(std::any_of(found.begin(), found.end(), [](const GraphNeighbor& neighbor) {
    return neighbor.row == 77 && neighbor.distance == 0;
  }));
}

// Of long codes a part is looked at first. Where the first values say little about a distance,
// nothing at all, or about near rows and far ones differently, that must not lose rows.
TEST_CASE("walks and scans of long codes find what comparing all rows does") {
  constexpr int kCount = 1500;
  constexpr int kLatent = 10;
  constexpr int kClusters = 8;
  constexpr int kQueries = 40;
  constexpr int kWanted = 10;
  const int dimension = GENERATE(100, 128, 384, 450, 768);
  enum class First { kLikeOthers, kConstant, kOfNearRows };
  const First first = GENERATE(First::kLikeOthers, First::kConstant, First::kOfNearRows);
  CAPTURE(dimension, static_cast<int>(first));
  std::mt19937 random(13);
  const std::vector<float> matrix = RandomVector(random, kLatent * dimension);
  const std::vector<float> centers = RandomVector(random, kClusters * dimension);
  const auto draw = [&] {
    const std::vector<float> latent = RandomVector(random, kLatent);
    const auto center = static_cast<int>(random() % kClusters);
    std::vector<float> vector(static_cast<size_t>(dimension));
    for (int j = 0; j < dimension; ++j) {
      for (int i = 0; i < kLatent; ++i) vector[j] += latent[i] * matrix[i * dimension + j];
      const bool is_first = j < std::max(dimension / 3, 64);
      if (first == First::kConstant && is_first) vector[j] = 1;
      // Clusters are told by the other values, rows of a cluster mostly by these.
      if (first == First::kOfNearRows && !is_first) {
        vector[j] = vector[j] / 4 + 8 * centers[center * dimension + j];
      }
    }
    return vector;
  };
  SegmentRows rows = RandomRows(random, kCount, dimension);
  rows.vectors.clear();
  for (int i = 0; i < kCount; ++i) {
    const std::vector<float> vector = draw();
    rows.vectors.insert(rows.vectors.end(), vector.begin(), vector.end());
  }
  const CollectionSpec spec = Spec("c", dimension);
  auto graph = SealedGraph::Build(GraphRowsOf(spec, rows), Never);
  REQUIRE_OK(graph);
  REQUIRE((*graph)->has_codes());
  const std::vector<uint32_t> row_nodes = (*graph)->RowNodes();
  std::vector<uint32_t> some;
  for (uint32_t row = 0; row < kCount; row += 1 + row % 3) some.push_back(row);
  std::vector<uint32_t> listed;
  for (const uint32_t row : some) listed.push_back(row_nodes[row]);
  const NodeSet nodes(listed, kCount);
  std::sort(listed.begin(), listed.end());
  const auto is_some = [&some](int64_t row) {
    return std::binary_search(some.begin(), some.end(), static_cast<uint32_t>(row));
  };
  const auto want_nothing = [](int64_t) {};

  int64_t walked = 0;
  int64_t scanned = 0;
  int64_t scanned_bits = 0;
  int64_t scanned_list = 0;
  for (int q = 0; q < kQueries; ++q) {
    const std::vector<float> query = draw();
    std::vector<float> distances(kCount);
    DistanceFor(Metric::kL2)(query.data(), rows.vectors.data(), kCount, dimension,
                             distances.data());
    const auto count_right = [](std::vector<float> of, const std::vector<GraphNeighbor>& found) {
      std::nth_element(of.begin(), of.begin() + kWanted - 1, of.end());
      return std::count_if(
          found.begin(), found.end(),
          [limit = of[kWanted - 1]](const GraphNeighbor& near) { return near.distance <= limit; });
    };
    walked += count_right(distances, SearchGraph(**graph, query.data(), 48, kWanted));
    std::vector<float> some_distances;
    for (const uint32_t row : some) some_distances.push_back(distances[row]);
    std::vector<GraphNeighbor> found;
    (*graph)->SearchRows(query.data(), kWanted, some, row_nodes, &found);
    scanned += count_right(some_distances, found);
    SealedGraph::Matching matching = {.live = is_some,
                                      .want = want_nothing,
                                      .share = 0.5,
                                      .seeds = {},
                                      .row_nodes = row_nodes,
                                      .nodes = nodes.bits,
                                      .all_live = q % 2 == 0};
    (*graph)->SearchAllMatching(query.data(), kWanted, matching, &found);
    scanned_bits += count_right(some_distances, found);
    matching.listed = listed;
    (*graph)->SearchAllMatching(query.data(), kWanted, matching, &found);
    scanned_list += count_right(some_distances, found);
  }
  REQUIRE(walked >= kQueries * kWanted * 97 / 100);
  REQUIRE(scanned >= kQueries * kWanted * 97 / 100);
  REQUIRE(scanned_bits >= kQueries * kWanted * 97 / 100);
  REQUIRE(scanned_list >= kQueries * kWanted * 97 / 100);
}

}  // namespace
}  // namespace baton
