#include "engine/vector/hnsw_graph.h"

#include <algorithm>
#include <random>
#include <string>
#include <vector>

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

TEST_CASE("a graph survives serialising and finds the same rows") {
  std::mt19937 random(3);
  const CollectionSpec spec = Spec("c", 8);
  for (const int64_t count : {1, 2, 700}) {
    CAPTURE(count);
    const SegmentRows rows = RandomRows(random, count, 8);
    auto graph = HnswGraph::Build(GraphRowsOf(spec, rows), Never);
    REQUIRE_OK(graph);
    const std::string bytes = (*graph)->Serialize();
    auto again = HnswGraph::Deserialize(GraphRowsOf(spec, rows), bytes);
    REQUIRE_OK(again);
    REQUIRE((*again)->Serialize() == bytes);
    for (int i = 0; i < 20; ++i) {
      const std::vector<float> query = RandomVector(random, 8);
      auto found = (*graph)->Search(query.data(), 20);
      auto found_again = (*again)->Search(query.data(), 20);
      REQUIRE_OK(found);
      REQUIRE_OK(found_again);
      REQUIRE(static_cast<int64_t>(found->size()) == std::min<int64_t>(count, 20));
      REQUIRE(RowsOf(*found) == RowsOf(*found_again));
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
  auto graph = HnswGraph::Build(GraphRowsOf(spec, rows), Never);
  REQUIRE_OK(graph);
  for (int64_t row = 0; row < rows.count(); ++row) {
    const auto found = (*graph)->Search(rows.vectors.data() + row * 32, 32);
    REQUIRE_OK(found);
    REQUIRE(std::any_of(found->begin(), found->end(), [row](const GraphNeighbor& neighbor) {
      return neighbor.row == row && neighbor.distance == 0;
    }));
  }
}

TEST_CASE("building a graph stops when told to") {
  std::mt19937 random(4);
  const SegmentRows rows = RandomRows(random, 100, 4);
  int calls = 0;
  const auto graph =
      HnswGraph::Build(GraphRowsOf(Spec("c", 4), rows), [&calls] { return ++calls == 10; });
  REQUIRE_STATUS(graph, absl::StatusCode::kCancelled, "stopped");
  REQUIRE(calls == 10);
}

TEST_CASE("damaged graph bytes are refused or harmless") {
  std::mt19937 random(5);
  const CollectionSpec spec = Spec("c", 4);
  const SegmentRows rows = RandomRows(random, 120, 4);
  auto graph = HnswGraph::Build(GraphRowsOf(spec, rows), Never);
  REQUIRE_OK(graph);
  const std::string bytes = (*graph)->Serialize();
  for (size_t size = 0; size < bytes.size(); size += 41) {
    REQUIRE_STATUS(HnswGraph::Deserialize(GraphRowsOf(spec, rows), bytes.substr(0, size)),
                   absl::StatusCode::kDataLoss, "damaged");
  }
  REQUIRE_STATUS(HnswGraph::Deserialize(GraphRowsOf(spec, rows), bytes + "1234"),
                 absl::StatusCode::kDataLoss, "unreached node");
  const std::vector<float> query = RandomVector(random, 4);
  for (int round = 0; round < 2000; ++round) {
    std::string damaged = bytes;
    for (int i = 0; i < 3; ++i) damaged[random() % damaged.size()] = static_cast<char>(random());
    auto hostile = HnswGraph::Deserialize(GraphRowsOf(spec, rows), damaged);
    // Where the bytes still are a graph, searching it stays inside the rows.
    if (!hostile.ok()) continue;
    const auto found = (*hostile)->Search(query.data(), 50);
    if (!found.ok()) continue;
    for (const GraphNeighbor& neighbor : *found) REQUIRE(neighbor.row < rows.count());
  }
}

}  // namespace
}  // namespace baton
