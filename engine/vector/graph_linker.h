#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/base/huge_buffer.h"
#include "engine/vector/graph_rows.h"

namespace baton {

class SealedGraph;

// A graph that a new one starts from: its nodes keep their links, and only other rows are inserted.
struct GraphSeed {
  const SealedGraph* graph = nullptr;  // null: none. Of the new graph's metric, dimension and m
  std::vector<int64_t> rows;           // [rows of graph]: which row of the new one it is; -1: gone
};

// Links rows to a hierarchical navigable small world graph (Malkov and Yashunin, "Efficient and
// robust approximate nearest neighbor search using Hierarchical Navigable Small World graphs",
// 2018): for each row, one after the other, a walk for the nearest so far; links to those that are
// nearer to it than to each other; links back, by the same rule where there is no more room.
//
// What hnswlib does with vectors it does with codes of a byte per value, where those tell neighbors
// apart: a quarter of the memory traffic, all links of a step asked for ahead and scored together.
// And each link keeps its length and whether it was held against the others of its list, so that a
// full list costs few distances. The same graph for the same rows on any machine.
class GraphLinker final : public GraphLinks {
 public:
  // Takes about rows * ef_construction * m distances of time. CANCELLED once `stop` says so, asked
  // once per node.
  static absl::StatusOr<std::unique_ptr<GraphLinker>> Build(const GraphRows& rows,
                                                            const GraphNodes& nodes,
                                                            const GraphSeed& seed,
                                                            absl::FunctionRef<bool()> stop);

  uint32_t entry() const override { return entry_; }
  int LevelOf(uint32_t node) const override { return levels_[node]; }
  std::span<const uint32_t> Links(uint32_t node, int level) const override;

 private:
  template <class Space>
  class Run;

  // One node's links on one level.
  struct List {
    uint32_t* links = nullptr;    // [room]
    float* lengths = nullptr;     // [room]: distance to the node
    uint16_t* count = nullptr;    // links there are
    uint16_t* checked = nullptr;  // of these, the first so many are farther from each other than
                                  // from the node
    uint16_t room = 0;
  };
  // Lists of the same room.
  struct Lists {
    Lists(int64_t count, uint16_t room);
    List At(int64_t i);

    uint16_t room;
    HugeBuffer links;    // u32 [count, room]
    HugeBuffer lengths;  // f32 [count, room]
    std::vector<uint16_t> counts;
    std::vector<uint16_t> checked;
  };

  GraphLinker(const GraphRows& rows, const GraphNodes& nodes, const GraphSeed& seed);
  // Draws levels; takes those of a seed.
  void TakeLevels(const GraphSeed& seed);
  List ListOf(uint32_t node, int level);

  const GraphRows rows_;
  const GraphNodes& nodes_;
  // [seed nodes]: the node here; [nodes]: and the other way; kNone where there is none
  std::vector<uint32_t> node_of_seed_;
  std::vector<uint32_t> seed_of_node_;
  std::vector<uint8_t> levels_;    // [nodes]
  std::vector<int64_t> upper_at_;  // [nodes]: its first list in upper_
  std::unique_ptr<Lists> base_;    // level 0
  std::unique_ptr<Lists> upper_;   // all other levels
  uint32_t entry_ = 0;
};

}  // namespace baton
