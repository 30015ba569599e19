#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "engine/request/vector_request.h"
#include "engine/vector/vector_format.h"

namespace baton {

// The rows a graph is over.
struct GraphRows {
  const float* vectors = nullptr;  // [rows, dimension], row-major; while it is built
  int64_t rows = 0;                // 1 to 2^31 - 1
  int32_t dimension = 0;
  Metric metric = Metric::kCosine;
  int32_t m = 0;
  int32_t ef_construction = 0;
  // The same as they are stored, which is what searches look at; outlive the graph, never move.
  // None: `vectors` are.
  StoredRows stored = {};
};

// What searches look at.
StoredRows StoredRowsOf(const GraphRows& rows);

// The rows of each distinct vector, which are one node. Copies would not do as nodes of their own:
// a node's links would all lead to its copies, and to nowhere else.
struct GraphNodes {
  explicit GraphNodes(const GraphRows& rows);
  uint32_t count() const { return static_cast<uint32_t>(first_row.size()); }

  std::vector<uint32_t> first_row;                              // [nodes]
  absl::flat_hash_map<uint32_t, std::vector<uint32_t>> copies;  // node -> the other rows
};

// Who links to whom, once all are linked: what a SealedGraph is made from.
class GraphLinks {
 public:
  // A level is drawn from an exponential distribution; 64 has a chance below 1e-19.
  static constexpr int kLevelMax = 64;

  virtual ~GraphLinks() = default;
  virtual uint32_t entry() const = 0;            // a node of the highest level
  virtual int LevelOf(uint32_t node) const = 0;  // 0 to kLevelMax
  // Nodes that have this level, too. At most 2 m on level 0, m above. `level` <= LevelOf(node).
  virtual std::span<const uint32_t> Links(uint32_t node, int level) const = 0;
};

}  // namespace baton
