#include <algorithm>
#include <cstring>
#include <numeric>
#include <utility>

#include "engine/base/status_macros.h"
#include "engine/vector/code_products.h"
#include "engine/vector/hnsw_graph.h"
#include "engine/vector/sealed_graph.h"

namespace baton {

// Puts linked nodes in order.
class SealedGraph::Builder {
 public:
  Builder(const GraphRows& rows, absl::FunctionRef<bool()> stop)
      : rows_(rows), stop_(stop), nodes_(rows) {}

  const GraphNodes& nodes() const { return nodes_; }

  absl::StatusOr<std::unique_ptr<SealedGraph>> Build(std::unique_ptr<GraphLinks> links) {
    links_ = std::move(links);
    PutInOrder();
    const bool try_codes = rows_.dimension >= kCodesDimensionMin;
    std::unique_ptr<SealedGraph> graph = Assemble(try_codes);
    if (try_codes && !CodesServe(*graph)) graph = Assemble(false);
    if (!FindUnreached(*graph)) return absl::CancelledError("graph building was stopped");
    if (graph->has_codes() && std::ssize(unreached_) > rows_.rows / kUnreachedShare) {
      graph = Assemble(false);
      if (!FindUnreached(*graph)) return absl::CancelledError("graph building was stopped");
    }
    return Listed(std::move(graph));
  }

 private:
  // Codes of shorter vectors would not be much smaller than they are.
  static constexpr int32_t kCodesDimensionMin = 16;

  // Candidates kept by the walk that tries to get to a node. Larger finds more nodes reached, but
  // those would be missed by searches with a smaller ef.
  static constexpr int64_t kProbeEf = 32;

  // Where codes leave more than one in this many nodes unreached, too many are alike.
  static constexpr int64_t kUnreachedShare = 50;

  void PutInOrder() {
    const uint32_t count = nodes_.count();
    std::vector<uint32_t> met = {links_->entry()};  // breadth first
    met.reserve(count);
    std::vector<bool> seen(count);
    seen[met[0]] = true;
    uint32_t unseen = 0;
    for (size_t i = 0; i < count; ++i) {
      if (i == met.size()) {  // no link leads to what is left
        while (seen[unseen]) ++unseen;
        seen[unseen] = true;
        met.push_back(unseen);
      }
      for (const uint32_t link : links_->Links(met[i], 0)) {
        if (!seen[link]) met.push_back(link);
        seen[link] = true;
      }
    }
    // A counting sort by level, which keeps the order within one.
    std::vector<std::vector<uint32_t>> by_level(
        static_cast<size_t>(links_->LevelOf(links_->entry())) + 1);
    for (const uint32_t node : met) by_level[links_->LevelOf(node)].push_back(node);
    std::reverse(by_level.begin(), by_level.end());
    old_.reserve(count);
    for (const auto& nodes : by_level) old_.insert(old_.end(), nodes.begin(), nodes.end());
    new_.resize(count);
    for (uint32_t node = 0; node < count; ++node) new_[old_[node]] = node;
  }

  std::unique_ptr<SealedGraph> Assemble(bool with_codes) const {
    const auto dimension = static_cast<size_t>(rows_.dimension);
    std::vector<float> low(dimension);
    std::vector<float> step(dimension);
    std::vector<float> origin(dimension);
    CodeBookFit fit;
    if (with_codes) fit = FitCodeBook(rows_, low.data(), step.data(), origin.data());
    const bool with_norms = with_codes && rows_.metric == Metric::kL2 && !fit.squares;
    Header header{.nodes = nodes_.count(),
                  .rows = static_cast<uint32_t>(rows_.rows),
                  .dimension = static_cast<uint32_t>(rows_.dimension),
                  .m = static_cast<uint32_t>(rows_.m),
                  .copies = static_cast<uint32_t>(rows_.rows - nodes_.count()),
                  .stride = with_codes ? static_cast<uint32_t>(CodeStride(rows_.dimension)) : 0,
                  .exact = fit.exact ? 1u : 0,
                  .norms = with_norms ? 1u : 0,
                  .levels = static_cast<uint32_t>(links_->LevelOf(links_->entry()))};
    for (uint32_t level = 0; level < header.levels; ++level) {
      while (header.level_nodes[level] < nodes_.count() &&
             links_->LevelOf(old_[header.level_nodes[level]]) > static_cast<int>(level)) {
        ++header.level_nodes[level];
      }
    }
    const Layout layout(header);
    HugeBuffer buffer(static_cast<size_t>(layout.end));
    std::memcpy(buffer.data(), &header, sizeof(header));
    WriteRows(Mutable<uint32_t>(buffer, layout.rows),
              Mutable<std::pair<uint32_t, uint32_t>>(buffer, layout.copies));
    uint32_t* links = Mutable<uint32_t>(buffer, layout.links);
    WriteLinks(0, nodes_.count(), 2 * header.m, links);
    links = Mutable<uint32_t>(buffer, layout.upper_links);
    for (uint32_t level = 0; level < header.levels; ++level) {
      WriteLinks(static_cast<int>(level) + 1, header.level_nodes[level], header.m, links);
      links += int64_t{header.level_nodes[level]} * header.m;
    }
    if (with_codes) {
      std::copy(low.begin(), low.end(), Mutable<float>(buffer, layout.low));
      std::copy(step.begin(), step.end(), Mutable<float>(buffer, layout.step));
      std::copy(origin.begin(), origin.end(), Mutable<float>(buffer, layout.origin));
      const CodeBook book{.dimension = rows_.dimension,
                          .low = low.data(),
                          .step = step.data(),
                          .origin = origin.data()};
      for (uint32_t node = 0; node < nodes_.count(); ++node) {
        const float norm =
            EncodeRow(book, VectorOf(nodes_.first_row[old_[node]]),
                      Mutable<uint8_t>(buffer, layout.codes) + int64_t{node} * header.stride);
        if (with_norms) Mutable<float>(buffer, layout.norms)[node] = norm;
      }
    }
    if (fit.exact) WriteRowNodes(Mutable<uint32_t>(buffer, layout.row_nodes));
    return std::unique_ptr<SealedGraph>(new SealedGraph(rows_, std::move(buffer)));
  }

  void WriteRows(uint32_t* rows, std::pair<uint32_t, uint32_t>* copies) const {
    for (uint32_t node = 0; node < nodes_.count(); ++node) {
      rows[node] = nodes_.first_row[old_[node]];
      const auto found = nodes_.copies.find(old_[node]);
      if (found == nodes_.copies.end()) continue;
      rows[node] |= kHasCopies;
      for (const uint32_t copy : found->second) *copies++ = {node, copy};
    }
  }

  void WriteRowNodes(uint32_t* row_nodes) const {
    for (uint32_t node = 0; node < nodes_.count(); ++node) {
      row_nodes[nodes_.first_row[old_[node]]] = node;
      const auto found = nodes_.copies.find(old_[node]);
      if (found == nodes_.copies.end()) continue;
      for (const uint32_t copy : found->second) row_nodes[copy] = node;
    }
  }

  void WriteLinks(int level, uint32_t count, uint32_t room, uint32_t* links) const {
    std::fill_n(links, int64_t{count} * room, kNoLink);
    for (uint32_t node = 0; node < count; ++node, links += room) {
      uint32_t* end = links;
      for (const uint32_t link : links_->Links(old_[node], level)) *end++ = new_[link];
    }
  }

  // Whether searches by codes find what walks by vectors find, tried with some rows.
  bool CodesServe(const SealedGraph& graph) const {
    constexpr int64_t kTries = 64;
    constexpr int64_t kEf = 64;
    constexpr int64_t kWanted = 10;
    Scratch& scratch = Scratch::OfThread();
    int64_t all = 0;
    int64_t found = 0;
    for (int64_t i = 0; i < kTries; ++i) {
      const float* const query = VectorOf(static_cast<uint32_t>(i * rows_.rows / kTries));
      std::span<const Candidate> exact = graph.WalkVectors(query, kEf, scratch);
      exact = exact.first(std::min<size_t>(exact.size(), kWanted));
      const float farthest = exact.back().key;
      all += std::ssize(exact);
      std::vector<GraphNeighbor> neighbors;
      graph.Search(
          query, kEf, kWanted, [](int64_t) { return true; }, &neighbors);
      found += std::min<int64_t>(
          std::ssize(exact),
          std::count_if(neighbors.begin(), neighbors.end(),
                        [farthest](const GraphNeighbor& n) { return n.distance <= farthest; }));
    }
    return found * 10 >= all * 9;
  }

  std::span<const Candidate> Probe(const SealedGraph& graph, uint32_t node) const {
    return graph.Walk(VectorOf(static_cast<uint32_t>(graph.FirstRow(node))), kProbeEf,
                      Scratch::OfThread());
  }

  // Whether a search for the node's own vector looks at it. By inner product, it finds longer
  // vectors instead: there a link must do.
  bool Reached(const SealedGraph& graph, uint32_t node) const {
    if (rows_.metric == Metric::kDot) return linked_[node];
    std::span<const Candidate> found = Probe(graph, node);
    found = found.first(std::min(found.size(), static_cast<size_t>(RescoredRows(1))));
    return std::any_of(found.begin(), found.end(),
                       [node](const Candidate& candidate) { return candidate.node == node; });
  }

  // Gives an unreached node a link from one that is near, where such a one has room. Nodes get lost
  // when pruning takes their links, or far from all others.
  void Mend(SealedGraph& graph, uint32_t node) const {
    const int64_t degree = 2 * int64_t{graph.header().m};
    for (const Candidate& candidate : Probe(graph, node)) {
      uint32_t* const links =
          Mutable<uint32_t>(graph.buffer_, graph.layout_.links) + candidate.node * degree;
      uint32_t* const end = std::find(links, links + degree, kNoLink);
      if (std::find(links, end, node) != end) return;  // met, and still not among the nearest
      if (end == links + degree) continue;
      *end = node;
      return;
    }
  }

  void FindLinked(const SealedGraph& graph) {
    if (rows_.metric != Metric::kDot) return;
    const Header& header = graph.header();
    linked_.assign(header.nodes, false);
    linked_[0] = true;  // the entry
    const std::span links(graph.Array<uint32_t>(graph.layout_.links),
                          size_t{header.nodes} * 2 * header.m);
    for (const uint32_t link : links) {
      if (link != kNoLink) linked_[link] = true;
    }
  }

  // Mends what it can, then lists the nodes that no search gets to. False when stopped.
  bool FindUnreached(SealedGraph& graph) {
    unreached_.clear();
    FindLinked(graph);
    for (uint32_t node = 0; node < graph.header().nodes; ++node) {
      if (stop_()) return false;
      if (!Reached(graph, node)) unreached_.push_back(node);
    }
    if (unreached_.empty()) return true;
    for (const uint32_t node : unreached_) Mend(graph, node);
    FindLinked(graph);
    // New links change the way of all walks a little.
    unreached_.clear();
    for (uint32_t node = 0; node < graph.header().nodes; ++node) {
      if (stop_()) return false;
      if (!Reached(graph, node)) unreached_.push_back(node);
    }
    return true;
  }

  // The graph with its list of those.
  std::unique_ptr<SealedGraph> Listed(std::unique_ptr<SealedGraph> graph) const {
    if (unreached_.empty()) return graph;
    Header header = graph->header();
    header.unreached = static_cast<uint32_t>(unreached_.size());
    const Layout layout(header);
    HugeBuffer buffer(static_cast<size_t>(layout.end));
    std::memcpy(buffer.data(), graph->buffer_.data(), static_cast<size_t>(layout.unreached));
    std::memcpy(buffer.data(), &header, sizeof(header));
    std::copy(unreached_.begin(), unreached_.end(), Mutable<uint32_t>(buffer, layout.unreached));
    return std::unique_ptr<SealedGraph>(new SealedGraph(rows_, std::move(buffer)));
  }

  const float* VectorOf(uint32_t row) const {
    return rows_.vectors + int64_t{row} * rows_.dimension;
  }

  template <class T>
  static T* Mutable(HugeBuffer& buffer, int64_t offset) {
    return reinterpret_cast<T*>(buffer.data() + offset);
  }

  const GraphRows rows_;
  const absl::FunctionRef<bool()> stop_;
  const GraphNodes nodes_;
  std::unique_ptr<GraphLinks> links_;
  std::vector<uint32_t> old_;  // links_' number of each node
  std::vector<uint32_t> new_;  // and the other way
  std::vector<uint32_t> unreached_;
  std::vector<bool> linked_;  // kDot: whether any link leads to a node
};

absl::StatusOr<std::unique_ptr<SealedGraph>> SealedGraph::Build(const GraphRows& rows,
                                                                const GraphSeed& seed,
                                                                absl::FunctionRef<bool()> stop) {
  const auto link = [&](const GraphNodes& nodes) {
    return GraphLinker::Build(rows, nodes, seed, stop);
  };
  return BuildWith(rows, link, stop);
}

absl::StatusOr<std::unique_ptr<SealedGraph>> SealedGraph::BuildWith(
    const GraphRows& rows, MakeLinks make, absl::FunctionRef<bool()> stop) {
  Builder builder(rows, stop);
  ASSIGN_OR_RETURN(std::unique_ptr<GraphLinks> links, make(builder.nodes()));
  return builder.Build(std::move(links));
}

int64_t SealedGraph::BuildBytesPerRow(const CollectionSpec& spec) {
  const bool floats = spec.storage == VectorStorage::kF32;
  const int64_t stored = floats ? 0 : FormatOf(spec).row_bytes();
  const int64_t row = spec.dimension * int64_t{sizeof(float)} + 16 + stored;  // SegmentRows
  const int64_t code = CodeStride(spec.dimension);                    // of GraphLinker, and its own
  const int64_t links = 2 * spec.hnsw_m * int64_t{sizeof(uint32_t)};  // likewise
  const int64_t upper_links = links / std::max(spec.hnsw_m - 1, 1);   // on half the room
  constexpr int64_t kRowRef = 40;                                     // SegmentBuilder's
  constexpr int64_t kNode = 150;  // entries of GraphNodes' tables, levels, norms, orders
  return row + kRowRef + kNode + 2 * code + 3 * (links + upper_links);
}

absl::StatusOr<std::unique_ptr<SealedGraph>> SealedGraph::BuildByHnswlib(
    const GraphRows& rows, absl::FunctionRef<bool()> stop) {
  const auto link = [&](const GraphNodes& nodes) { return HnswGraph::Build(rows, nodes, stop); };
  return BuildWith(rows, link, stop);
}

}  // namespace baton
