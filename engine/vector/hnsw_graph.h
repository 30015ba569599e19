#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/request/vector_request.h"

namespace baton {

// The rows a graph is over.
struct GraphRows {
  const float* vectors = nullptr;  // [rows, dimension], row-major; outlive the graph, never move
  int64_t rows = 0;                // 1 to 2^31 - 1
  int32_t dimension = 0;
  Metric metric = Metric::kCosine;
  int32_t m = 0;
  int32_t ef_construction = 0;
};

// The rows of each distinct vector, which are one node. Copies would not do as nodes of their own:
// a node's links would all lead to its copies, and to nowhere else.
struct GraphNodes {
  explicit GraphNodes(const GraphRows& rows);
  uint32_t count() const { return static_cast<uint32_t>(first_row.size()); }

  std::vector<uint32_t> first_row;                              // [nodes]
  absl::flat_hash_map<uint32_t, std::vector<uint32_t>> copies;  // node -> the other rows
};

// A hierarchical navigable small world graph as hnswlib builds it: what a SealedGraph is made from.
// The only file that includes hnswlib, whose header can be compiled into one translation unit only;
// its exceptions end there.
class HnswGraph {
 public:
  // Takes about rows * ef_construction * m distances of time. CANCELLED once `stop` says so, asked
  // once per node.
  static absl::StatusOr<std::unique_ptr<HnswGraph>> Build(const GraphRows& rows,
                                                          absl::FunctionRef<bool()> stop);
  ~HnswGraph();
  HnswGraph(const HnswGraph&) = delete;
  HnswGraph& operator=(const HnswGraph&) = delete;

  const GraphNodes& nodes() const;
  uint32_t entry() const;            // a node of the highest level
  int LevelOf(uint32_t node) const;  // 0 to kLevelMax
  // Nodes that have this level, too. At most 2 m on level 0, m above. `level` <= LevelOf(node).
  std::span<const uint32_t> Links(uint32_t node, int level) const;

  // hnswlib draws a level from an exponential distribution; 64 has a chance below 1e-19.
  static constexpr int kLevelMax = 64;

 private:
  class Index;
  explicit HnswGraph(std::unique_ptr<Index> index);
  const std::unique_ptr<Index> index_;
};

}  // namespace baton
