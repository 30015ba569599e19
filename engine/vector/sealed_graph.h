#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/base/huge_buffer.h"
#include "engine/vector/candidate_pool.h"
#include "engine/vector/code_book.h"
#include "engine/vector/graph_linker.h"

namespace baton {

struct GraphNeighbor {
  float distance = 0;
  int64_t row = 0;
};

// A graph as it is searched: one piece of memory that is stored as it lies, in which what a walk
// needs next to each other is next to each other.
//
//   links   of all nodes on level 0, each with the same room; and of the few on upper levels
//   codes   one byte per value of each node (CodeBook), which walks compare with the query instead
//           of the vectors: a quarter of the memory, and one instruction for 64 values
//   nodes   numbered by level, the highest first, so that each level is the first so many of the
//           level below, then in the order a breadth-first walk from the entry meets them: what is
//           near is near in memory
//
// Distances of what a walk finds are taken from the vectors, by DistanceFor; from the codes, to the
// same bits, where those are exact. Where one byte a value
// is too little to tell neighbors apart, as building tries out, there are no codes and walks
// compare vectors. Immutable once built: searches need no lock and may run concurrently.
class SealedGraph {
 public:
  // CANCELLED once `stop` says so.
  static absl::StatusOr<std::unique_ptr<SealedGraph>> Build(const GraphRows& rows,
                                                            absl::FunctionRef<bool()> stop) {
    return Build(rows, GraphSeed(), stop);
  }
  // From another graph, with the rows that are not in it inserted.
  static absl::StatusOr<std::unique_ptr<SealedGraph>> Build(const GraphRows& rows,
                                                            const GraphSeed& seed,
                                                            absl::FunctionRef<bool()> stop);
  // With links that are made elsewhere, as by a device: make(nodes) links the distinct vectors.
  using MakeLinks =
      absl::FunctionRef<absl::StatusOr<std::unique_ptr<GraphLinks>>(const GraphNodes& nodes)>;
  static absl::StatusOr<std::unique_ptr<SealedGraph>> BuildWith(const GraphRows& rows,
                                                                MakeLinks make,
                                                                absl::FunctionRef<bool()> stop);
  // With the links of hnswlib: what others are compared with.
  static absl::StatusOr<std::unique_ptr<SealedGraph>> BuildByHnswlib(
      const GraphRows& rows, absl::FunctionRef<bool()> stop);
  // What building takes at most, the rows themselves included.
  static int64_t BuildBytesPerRow(const CollectionSpec& spec);
  // The reverse of bytes() for the same rows and parameters. Any bytes are safe: DATA_LOSS where
  // they are no graph over `rows`.
  static absl::StatusOr<std::unique_ptr<SealedGraph>> Load(const GraphRows& rows, HugeBuffer bytes);
  SealedGraph(const SealedGraph&) = delete;
  SealedGraph& operator=(const SealedGraph&) = delete;

  std::span<const std::byte> bytes() const;
  bool has_codes() const { return header().stride > 0; }
  // Then nothing looks at the vectors again once the graph is built.
  bool codes_are_exact() const { return header().exact != 0; }
  // A row's vector, [dimension], where codes are exact.
  void DecodeRow(int64_t row, float* vector) const;

  // ---- What another graph starts from. Nodes are [0, nodes()), those of a level the first so many

  uint32_t nodes() const { return header().nodes; }
  int LevelOf(uint32_t node) const;
  // `level` <= LevelOf(node)
  std::span<const uint32_t> Links(uint32_t node, int level) const;
  void ForEachRow(absl::FunctionRef<void(uint32_t node, int64_t row)> visit) const;

  // ---- What walks that are made elsewhere want

  // As they lie, padded with UINT32_MAX.
  struct Arrays {
    uint32_t degree = 0;                    // links of a node on level 0
    uint32_t upper_degree = 0;              // on the levels above
    std::span<const uint32_t> level_nodes;  // of level 1, 2, ...
    std::span<const uint32_t> links;        // [nodes, degree]
    std::span<const uint32_t> upper_links;  // of level 1, then 2, ...: [nodes of it, upper_degree]
  };
  Arrays arrays() const;
  // Nodes that walks for what they are themselves do not get to: every search looks at these.
  // Ascending.
  std::span<const uint32_t> unreached() const;
  // The row of a node, or the first of several, which have the same vector.
  int64_t FirstRow(uint32_t node) const;

  // ---- Searching

  // A walk that keeps the `ef` nearest distinct vectors of `query`, [dimension]. Of the rows that
  // have them and are `live`, at least the `wanted` nearest, if so many were met; in no order.
  using LiveRow = absl::FunctionRef<bool(int64_t row)>;
  void Search(const float* query, int64_t ef, int64_t wanted, LiveRow live,
              std::vector<GraphNeighbor>* found) const;

  // The same in two steps, where several graphs are searched and only the nearest rows of all are
  // worth a look at their vectors. Distances of Find are by codes, about those of Rescore; of rows
  // that are to be rescored whatever else is found, below all. RescoredRows(wanted) rows or more,
  // if so many were met.
  void Find(const float* query, int64_t ef, int64_t wanted, LiveRow live,
            std::vector<GraphNeighbor>* found) const;
  void Rescore(const float* query, std::span<GraphNeighbor> found) const;
  // How many are taken from the vectors where `wanted` of them are wanted: codes order near ones a
  // little differently.
  static int64_t RescoredRows(int64_t wanted) { return wanted + wanted / 2 + 16; }

  // The same of a walk that was made elsewhere: `nodes` are what it has met, nearest first. Of
  // their live rows the first `limit` are scored.
  void SearchNodes(const float* query, std::span<const uint32_t> nodes, int64_t limit, LiveRow live,
                   std::vector<GraphNeighbor>* found) const;
  // Bit node % 32 of word node / 32: whether the node has a live row.
  std::vector<uint32_t> LiveNodes(LiveRow live) const;

  // The node of each row, [rows]: how those two know rows.
  std::vector<uint32_t> RowNodes() const;
  // The rows that a filter leaves.
  struct Matching {
    LiveRow live;
    absl::FunctionRef<void(int64_t row)> want;  // `live` is soon asked about it
    double share = 1;                           // they are of all rows, about
    std::span<const uint32_t> seeds;            // some of them, from all over
    std::span<const uint32_t> row_nodes;        // RowNodes()
    // Those of its nodes, as LiveNodes, where that is known: of others `live` is not asked, nor of
    // them where all rows that match are live. Empty: not known.
    std::span<const uint32_t> nodes = {};
    std::span<const uint32_t> listed = {};  // the same, ascending; may be empty
    bool all_live = false;
  };
  // A walk of which the `ef` nearest nodes all have a live row: it goes past others to what is
  // behind them (the two-hop expansion of ACORN-1, Patel et al. 2024). Begins near the query and at
  // the seeds; where next to none match near the query, with all that do behind its nearest nodes:
  // few links lead to those from others that match. `live` is asked about many more rows than are
  // compared.
  void SearchMatching(const float* query, int64_t ef, int64_t wanted, const Matching& matching,
                      std::vector<GraphNeighbor>* found) const;
  // Of all rows of `matching`, whose nodes are known, at least the `wanted` nearest by code, if
  // there are so many; in no order.
  void SearchAllMatching(const float* query, int64_t wanted, const Matching& matching,
                         std::vector<GraphNeighbor>* found) const;
  // Of `rows`, the same.
  void SearchRows(const float* query, int64_t wanted, std::span<const uint32_t> rows,
                  std::span<const uint32_t> row_nodes, std::vector<GraphNeighbor>* found) const;

 private:
  // As it lies in front of bytes(). The arrays follow, in this order, each aligned to 64 bytes:
  //   f32 low, step, origin [dimension] each   the code book, if there are codes
  //   f32 norms [nodes]                        only under kL2, and where codes have not their own
  //   u32 rows [nodes]                         the row, or the first of several: kHasCopies
  //   u32 copies [copies, 2]                   node and further row, ascending
  //   u32 links [nodes, 2 m]                   padded with kNoLink
  //   u32 upper links [upper nodes, m]         level 1, then 2, ...; padded with kNoLink
  //   u8 codes [nodes, stride]
  //   u32 row nodes [rows]                     the node of each row; only where codes are exact
  //   u32 unreached [unreached]                nodes that every search looks at
  struct Header {
    uint32_t nodes = 0;
    uint32_t rows = 0;
    uint32_t dimension = 0;
    uint32_t m = 0;
    uint32_t copies = 0;
    uint32_t unreached = 0;
    uint32_t stride = 0;                               // 0: no codes
    uint32_t exact = 0;                                // 1: codes are the vectors
    uint32_t norms = 0;                                // 1: there are norms
    uint32_t levels = 0;                               // beside level 0
    uint32_t level_nodes[GraphLinks::kLevelMax] = {};  // of level 1, 2, ...
  };
  // Offsets of the arrays from the header, in bytes.
  struct Layout {
    explicit Layout(const Header& header);
    int64_t low, step, origin, norms, rows, copies, links, upper_links, codes, row_nodes, unreached,
        end;
  };
  // Kept by each thread from search to search: some 100 KB per million nodes.
  struct Scratch {
    std::vector<uint64_t> visited;  // a bit per node
    std::vector<Candidate> candidates;
    std::vector<Candidate> near;  // of FollowMatching
    QueryEncoder query;
    std::vector<uint32_t> nodes;    // [2 m]
    std::vector<float> keys;        // [2 m]
    std::vector<float> parts;       // [2 m]
    std::vector<int32_t> products;  // [2 m]
    std::vector<int32_t> squares;   // [2 m]
    std::vector<uint32_t> met;      // of FollowMatching
    std::vector<uint32_t> passed;   // likewise
    std::vector<float> vector;      // [dimension]

    // Room for so many nodes to be scored at once.
    void Resize(size_t count) {
      nodes.resize(std::max(nodes.size(), count));
      keys.resize(nodes.size());
      parts.resize(nodes.size());
      products.resize(nodes.size());
      squares.resize(nodes.size());
    }

    // False where it was visited before.
    bool Visit(uint32_t node) {
      uint64_t& word = visited[node / 64];
      const uint64_t bit = uint64_t{1} << node % 64;
      const bool first = (word & bit) == 0;
      word |= bit;
      return first;
    }
    // As if it was not.
    void Leave(uint32_t node) { visited[node / 64] &= ~(uint64_t{1} << node % 64); }
    static Scratch& OfThread();
  };
  class Builder;

  static constexpr uint32_t kNoLink = UINT32_MAX;
  // In a node's row: there are more rows with its vector.
  static constexpr uint32_t kHasCopies = 1u << 31;

  SealedGraph(const GraphRows& rows, HugeBuffer buffer);
  absl::Status Check() const;
  // Live rows of candidates with their keys, until there are `limit`, and of nodes that no walk
  // gets to.
  void SelectRows(std::span<const Candidate> candidates, int64_t limit, LiveRow live,
                  std::vector<GraphNeighbor>* found) const;
  // The nearest nodes of a query: by codes, if there are any; by vectors.
  std::span<const Candidate> WalkVectors(const float* query, int64_t ef, Scratch& scratch) const;
  std::span<const Candidate> Walk(const float* query, int64_t ef, Scratch& scratch) const;
  template <class Scorer>
  std::span<const Candidate> WalkWith(const Scorer& scorer, int64_t ef, Scratch& scratch) const;
  template <class Scorer, class Pool>
  std::span<const Candidate> Follow(const Scorer& scorer, Pool& pool, Scratch& scratch) const;
  // Down the upper levels, always to the nearest.
  template <class Scorer>
  Candidate Descend(const Scorer& scorer, Scratch& scratch) const;
  template <class Scorer, class Pool>
  std::span<const Candidate> FollowMatching(const Scorer& scorer, Pool& pool, int64_t ef,
                                            const Matching& matching, Scratch& scratch) const;
  // What `use` makes of the scorer that a search compares with. It looks at a part of codes first
  // where they have so many bytes.
  template <class Use>
  std::span<const Candidate> WithScorer(const float* query, int64_t skim_from, Scratch& scratch,
                                        Use use) const;
  bool HasLiveRow(uint32_t node, LiveRow live) const;
  bool HasLiveRow(uint32_t node, const Matching& matching) const;
  // The nearest by code of all that `next` gives, about `count`: RescoredRows(wanted) of them.
  // next(nodes, places) writes some nodes, and what is to stand for each; how many, 0: there are no
  // more. takes(node) is asked about those that are near.
  template <class Next, class Takes>
  std::span<const Candidate> ScoreAll(const float* query, int64_t count, int64_t wanted, Next next,
                                      Takes takes, Scratch& scratch) const;

  template <class T>
  const T* Array(int64_t offset) const {
    return reinterpret_cast<const T*>(buffer_.data() + offset);
  }
  const Header& header() const { return *Array<Header>(0); }
  CodeBook code_book() const;

  const GraphRows rows_;
  const StoredRows stored_;
  HugeBuffer buffer_;  // changed while building only
  const Layout layout_;
};

}  // namespace baton
