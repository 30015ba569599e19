#include "engine/vector/graph_linker.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>

#include "engine/vector/candidate_pool.h"
#include "engine/vector/link_space.h"
#include "engine/vector/sealed_graph.h"

namespace baton {
namespace {

constexpr uint32_t kNone = UINT32_MAX;

// Past this, moving what lies behind an insertion costs more than a heap does.
constexpr int64_t kLinearPoolMax = 1024;

// Codes of shorter vectors would not be much smaller than they are.
constexpr int32_t kCodesDimensionMin = 16;

// In (0, 1], the same on any machine: splitmix64.
double Uniform(uint64_t seed) {
  uint64_t z = (seed + 1) * 0x9e3779b97f4a7c15;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  z ^= z >> 31;
  return static_cast<double>((z >> 11) + 1) * 0x1p-53;
}

bool Nearer(const Candidate& a, const Candidate& b) {
  return a.key < b.key || (a.key == b.key && a.node < b.node);
}

}  // namespace

GraphLinker::Lists::Lists(int64_t count, uint16_t list_room)
    : room(list_room),
      links(static_cast<size_t>(count) * room * sizeof(uint32_t)),
      lengths(static_cast<size_t>(count) * room * sizeof(float)),
      counts(static_cast<size_t>(count)),
      checked(static_cast<size_t>(count)) {}

GraphLinker::List GraphLinker::Lists::At(int64_t i) {
  return {.links = reinterpret_cast<uint32_t*>(links.data()) + i * room,
          .lengths = reinterpret_cast<float*>(lengths.data()) + i * room,
          .count = &counts[static_cast<size_t>(i)],
          .checked = &checked[static_cast<size_t>(i)],
          .room = room};
}

GraphLinker::GraphLinker(const GraphRows& rows, const GraphNodes& nodes, const GraphSeed& seed)
    : rows_(rows), nodes_(nodes) {
  TakeLevels(seed);
  int64_t upper = 0;
  upper_at_.reserve(levels_.size());
  for (const uint8_t level : levels_) {
    upper_at_.push_back(upper);
    upper += level;
  }
  base_ = std::make_unique<Lists>(std::ssize(levels_), static_cast<uint16_t>(2 * rows.m));
  upper_ = std::make_unique<Lists>(upper, static_cast<uint16_t>(rows.m));
}

void GraphLinker::TakeLevels(const GraphSeed& seed) {
  seed_of_node_.assign(nodes_.count(), kNone);
  levels_.resize(nodes_.count());
  if (seed.graph != nullptr) {
    std::vector<uint32_t> node_of_row(static_cast<size_t>(rows_.rows));
    for (uint32_t node = 0; node < nodes_.count(); ++node) {
      node_of_row[nodes_.first_row[node]] = node;
    }
    for (const auto& [node, rows] : nodes_.copies) {
      for (const uint32_t row : rows) node_of_row[row] = node;
    }
    node_of_seed_.assign(seed.graph->nodes(), kNone);
    seed.graph->ForEachRow([&](uint32_t from, int64_t row) {
      if (seed.rows[static_cast<size_t>(row)] < 0 || node_of_seed_[from] != kNone) return;
      const uint32_t node = node_of_row[static_cast<size_t>(seed.rows[static_cast<size_t>(row)])];
      node_of_seed_[from] = node;
      seed_of_node_[node] = from;
    });
  }
  const double unit = 1 / std::log(static_cast<double>(rows_.m));
  for (uint32_t node = 0; node < nodes_.count(); ++node) {
    const double level = -std::log(Uniform(node)) * unit;
    levels_[node] = static_cast<uint8_t>(seed_of_node_[node] != kNone
                                             ? seed.graph->LevelOf(seed_of_node_[node])
                                             : std::min(level, static_cast<double>(kLevelMax)));
  }
}

GraphLinker::List GraphLinker::ListOf(uint32_t node, int level) {
  return level == 0 ? base_->At(node) : upper_->At(upper_at_[node] + level - 1);
}

std::span<const uint32_t> GraphLinker::Links(uint32_t node, int level) const {
  const Lists& lists = level == 0 ? *base_ : *upper_;
  const int64_t i = level == 0 ? node : upper_at_[node] + level - 1;
  return {reinterpret_cast<const uint32_t*>(lists.links.data()) + i * lists.room,
          lists.counts[static_cast<size_t>(i)]};
}

template <class Space>
class GraphLinker::Run {
 public:
  Run(GraphLinker& graph, Space& space)
      : graph_(graph),
        space_(space),
        ef_(graph.rows_.ef_construction),
        visited_((graph.nodes_.count() + 63) / 64),
        kept_queries_(2 * static_cast<size_t>(graph.rows_.m) + 1) {
    const size_t room = 2 * static_cast<size_t>(graph.rows_.m);
    nodes_.resize(std::max<size_t>(room, kBlock));
    keys_.resize(nodes_.size());
  }

  // False when stopped.
  bool LinkAll(const GraphSeed& seed, absl::FunctionRef<bool()> stop) {
    bool any = false;
    if (seed.graph != nullptr) {
      for (uint32_t from = 0; from < seed.graph->nodes(); ++from) {
        if (graph_.node_of_seed_[from] == kNone) continue;
        // The first that is left is of the highest level: nodes of a sealed graph go by level.
        if (!any) graph_.entry_ = graph_.node_of_seed_[from];
        any = true;
        if (stop()) return false;
        TakeLinks(*seed.graph, from);
      }
    }
    for (uint32_t node = 0; node < graph_.nodes_.count(); ++node) {
      if (graph_.seed_of_node_[node] != kNone) continue;
      if (stop()) return false;
      if (any) {
        Insert(node);
      } else {
        graph_.entry_ = node;
      }
      any = true;
    }
    return true;
  }

 private:
  using Query = typename Space::Query;

  // Candidates that are held against the links kept so far at once.
  static constexpr size_t kBlock = 16;

  // A candidate for a node's list.
  struct Option {
    Candidate candidate;
    bool checked = false;
  };

  // The links of a seed's node; in place of those that are gone, what those linked to.
  void TakeLinks(const SealedGraph& seed, uint32_t from) {
    const uint32_t node = graph_.node_of_seed_[from];
    bool prepared = false;
    for (int level = 0; level <= graph_.levels_[node]; ++level) {
      std::vector<uint32_t> links;
      const auto add = [&](uint32_t link) {
        const uint32_t to = graph_.node_of_seed_[link];
        if (to == kNone || to == node) return false;
        links.push_back(to);
        return true;
      };
      bool whole = true;
      for (const uint32_t link : seed.Links(from, level)) {
        if (graph_.node_of_seed_[link] == kNone) whole = false;
        if (add(link)) continue;
        for (const uint32_t next : seed.Links(link, level)) add(next);
      }
      if (!whole) {
        std::sort(links.begin(), links.end());
        links.erase(std::unique(links.begin(), links.end()), links.end());
      }
      if (!prepared) space_.Prepare(node, &query_);
      prepared = true;
      std::vector<float> keys(links.size());
      space_.Score(query_, links, keys.data());
      const List list = graph_.ListOf(node, level);
      if (links.size() <= list.room) {
        for (size_t i = 0; i < links.size(); ++i) Append(list, {.key = keys[i], .node = links[i]});
        continue;
      }
      options_.clear();
      for (size_t i = 0; i < links.size(); ++i) {
        options_.push_back({.candidate = {.key = keys[i], .node = links[i]}});
      }
      SortOptions();
      KeepApart(list, list.room);
    }
  }

  void Insert(uint32_t node) {
    space_.Prepare(node, &query_);
    uint32_t at = graph_.entry_;
    const int top = graph_.levels_[at];
    const int level_max = graph_.levels_[node];
    Candidate nearest{.node = at};
    space_.Score(query_, {&at, 1}, &nearest.key);
    for (int level = top; level > level_max; --level) Descend(level, &nearest);
    for (int level = std::min(top, level_max); level >= 0; --level) {
      const std::span<const Candidate> found = ef_ <= kLinearPoolMax
                                                   ? WalkWith<LinearPool>(nearest, level)
                                                   : WalkWith<HeapPool>(nearest, level);
      nearest = found.front();
      options_.clear();
      for (const Candidate& candidate : found) options_.push_back({.candidate = candidate});
      const List list = graph_.ListOf(node, level);
      KeepApart(list, static_cast<size_t>(graph_.rows_.m));
      for (uint16_t i = 0; i < *list.count; ++i) {
        LinkBack(list.links[i], level, {.key = list.lengths[i], .node = node});
      }
    }
    if (level_max > top) graph_.entry_ = node;
  }

  // Always to the nearest.
  void Descend(int level, Candidate* nearest) {
    for (bool moved = true; moved;) {
      moved = false;
      const std::span<const uint32_t> links = graph_.Links(nearest->node, level);
      for (const uint32_t link : links) space_.Want(link);
      space_.Score(query_, links, keys_.data());
      for (size_t i = 0; i < links.size(); ++i) {
        if (!(keys_[i] < nearest->key)) continue;
        *nearest = {.key = keys_[i], .node = links[i]};
        moved = true;
      }
    }
  }

  template <class Pool>
  std::span<const Candidate> WalkWith(const Candidate& start, int level) {
    Pool pool(std::min<int64_t>(ef_, graph_.nodes_.count()), candidates_);
    met_ = {start.node};
    const auto visit = [this](uint32_t node) {
      uint64_t& word = visited_[node / 64];
      const uint64_t bit = uint64_t{1} << node % 64;
      const bool first = (word & bit) == 0;
      word |= bit;
      return first;
    };
    visit(start.node);
    pool.Add(start.key, start.node);
    while (const std::optional<uint32_t> from = pool.Next()) {
      size_t count = 0;
      // As in SealedGraph::Follow, no branch depends on whether a node was visited.
      for (const uint32_t link : graph_.Links(*from, level)) {
        nodes_[count] = link;
        count += visit(link) ? 1 : 0;
      }
      for (size_t i = 0; i < count; ++i) space_.Want(nodes_[i]);
      met_.insert(met_.end(), nodes_.begin(), nodes_.begin() + static_cast<int64_t>(count));
      space_.Score(query_, {nodes_.data(), count}, keys_.data());
      for (size_t i = 0; i < count; ++i) {
        if (!pool.Wants(keys_[i])) continue;
        pool.Add(keys_[i], nodes_[i]);
        PrefetchLinks(nodes_[i], level);
      }
    }
    for (const uint32_t node : met_) visited_[node / 64] = 0;
    // LinearPool's lie in candidates_, HeapPool's too.
    return pool.Finish();
  }

  void PrefetchLinks(uint32_t node, int level) const {
    const std::span<const uint32_t> links = graph_.Links(node, level);
    const auto* const at = reinterpret_cast<const char*>(links.data());
    const int64_t bytes = (level == 0 ? 2 : 1) * int64_t{graph_.rows_.m} * 4;
    for (int64_t i = 0; i < bytes; i += 64) __builtin_prefetch(at + i);
  }

  static void Append(const List& list, const Candidate& link) {
    list.links[*list.count] = link.node;
    list.lengths[*list.count] = link.key;
    ++*list.count;
  }

  void LinkBack(uint32_t node, int level, const Candidate& link) {
    const List list = graph_.ListOf(node, level);
    if (*list.count < list.room) {
      Append(list, link);
      return;
    }
    options_.clear();
    for (uint16_t i = 0; i < *list.count; ++i) {
      options_.push_back({.candidate = {.key = list.lengths[i], .node = list.links[i]},
                          .checked = i < *list.checked});
    }
    options_.push_back({.candidate = link});
    SortOptions();
    KeepApart(list, list.room);
  }

  void SortOptions() {
    std::sort(options_.begin(), options_.end(),
              [](const Option& a, const Option& b) { return Nearer(a.candidate, b.candidate); });
  }

  // Writes to `list` those of options_, the nearest first, that are nearer to the node than to any
  // link kept before them; at most `wanted`. All, where there are fewer than wanted.
  void KeepApart(const List& list, size_t wanted) {
    kept_.clear();
    const bool all = options_.size() < wanted;
    for (size_t first = 0; first < options_.size() && kept_.size() < wanted; first += kBlock) {
      const std::span block =
          std::span(options_).subspan(first, std::min(kBlock, options_.size() - first));
      uint32_t out = 0;  // a bit for each of the block that is nearer to a kept one
      for (size_t k = 0; k < kept_.size() && !all; ++k) out |= NearerTo(k, block, out);
      for (size_t i = 0; i < block.size() && kept_.size() < wanted; ++i) {
        if ((out >> i & 1) != 0) continue;
        kept_.push_back({.option = block[i]});
        if (!all) {
          const uint32_t done = (2u << i) - 1;
          out |= NearerTo(kept_.size() - 1, block, out | done);
        }
      }
    }
    *list.count = 0;
    for (const Kept& kept : kept_) Append(list, kept.option.candidate);
    *list.checked = all ? 0 : *list.count;
  }

  // Those of the block, but for the ones to skip, that are nearer to kept_[k] than to the node.
  uint32_t NearerTo(size_t k, std::span<const Option> block, uint32_t skip) {
    size_t count = 0;
    size_t places[kBlock];
    for (size_t i = 0; i < block.size(); ++i) {
      if ((skip >> i & 1) != 0) continue;
      // Both were held against each other before.
      if (kept_[k].option.checked && block[i].checked) continue;
      places[count] = i;
      nodes_[count++] = block[i].candidate.node;
    }
    if (count == 0) return 0;
    Query& query = kept_queries_[k];
    if (!kept_[k].prepared) space_.Prepare(kept_[k].option.candidate.node, &query);
    kept_[k].prepared = true;
    space_.Score(query, {nodes_.data(), count}, keys_.data());
    uint32_t nearer = 0;
    for (size_t i = 0; i < count; ++i) {
      if (keys_[i] < block[places[i]].candidate.key) nearer |= 1u << places[i];
    }
    return nearer;
  }

  struct Kept {
    Option option;
    bool prepared = false;  // its query
  };

  GraphLinker& graph_;
  Space& space_;
  const int64_t ef_;
  std::vector<uint64_t> visited_;  // a bit per node
  std::vector<uint32_t> met_;
  std::vector<Candidate> candidates_;
  std::vector<uint32_t> nodes_;
  std::vector<float> keys_;
  std::vector<Option> options_;
  std::vector<Kept> kept_;
  std::vector<Query> kept_queries_;  // as kept_
  Query query_;
};

absl::StatusOr<std::unique_ptr<GraphLinker>> GraphLinker::Build(const GraphRows& rows,
                                                                const GraphNodes& nodes,
                                                                const GraphSeed& seed,
                                                                absl::FunctionRef<bool()> stop) {
  std::unique_ptr<GraphLinker> graph(new GraphLinker(rows, nodes, seed));
  const auto link = [&](auto& space) {
    return Run<std::remove_reference_t<decltype(space)>>(*graph, space).LinkAll(seed, stop);
  };
  VectorSpace vectors(rows, nodes);
  std::unique_ptr<CodeSpace> codes;
  if (rows.dimension >= kCodesDimensionMin) {
    codes = std::make_unique<CodeSpace>(rows, nodes);
    if (!codes->TellsNeighborsApart(vectors)) codes.reset();
  }
  const bool done = codes != nullptr ? link(*codes) : link(vectors);
  if (!done) return absl::CancelledError("graph building was stopped");
  return graph;
}

}  // namespace baton
