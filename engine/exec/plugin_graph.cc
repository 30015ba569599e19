#include "engine/exec/plugin_graph.h"

#include <algorithm>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "engine/base/status_macros.h"
#include "engine/exec/plugin_vectors.h"

namespace baton {
namespace {

constexpr uint32_t kNoLink = std::numeric_limits<uint32_t>::max();

// Nearest ones that are looked at: as many as a walk of the CPU's builder keeps, within what is
// worth a device's while.
int32_t CandidatesOf(const GraphRows& rows) {
  constexpr int32_t kMax = 256;
  return std::min(std::clamp(rows.ef_construction, 4 * rows.m, std::max(kMax, 4 * rows.m)),
                  BATON_SEARCH_K_MAX);
}

// The finaliser of SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number
// generators", 2014): levels must not follow the order of rows, which may be that of clusters.
uint64_t Scrambled(uint64_t x) {
  x += 0x9e3779b97f4a7c15;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

// Each level has about one in m of the nodes below.
class LeveledLinks final : public GraphLinks {
 public:
  struct Level {
    std::vector<uint32_t> nodes;  // ascending; none on level 0: all
    std::vector<uint32_t> links;  // [nodes, room]; kNoLink behind the last
    int32_t room = 0;
  };

  LeveledLinks(uint32_t count, int32_t m) : levels_(1) {
    levels_[0].room = 2 * m;
    const auto share = static_cast<uint64_t>(std::max(m, 4));
    uint64_t limit = std::numeric_limits<uint64_t>::max() / share;
    for (uint32_t left = count; left > share && std::ssize(levels_) <= kLevelMax; limit /= share) {
      Level level{.nodes = {}, .links = {}, .room = m};
      for (uint32_t node = 0; node < count; ++node) {
        if (Scrambled(node) < limit) level.nodes.push_back(node);
      }
      if (level.nodes.empty()) break;
      left = static_cast<uint32_t>(level.nodes.size());
      levels_.push_back(std::move(level));
    }
  }

  std::vector<Level>& levels() { return levels_; }

  uint32_t entry() const override { return levels_.size() == 1 ? 0 : levels_.back().nodes.front(); }
  int LevelOf(uint32_t node) const override {
    int level = 0;
    while (level + 1 < std::ssize(levels_) && IsOf(levels_[static_cast<size_t>(level) + 1], node)) {
      ++level;
    }
    return level;
  }
  std::span<const uint32_t> Links(uint32_t node, int level) const override {
    const Level& of = levels_[static_cast<size_t>(level)];
    const size_t place =
        level == 0 ? node
                   : static_cast<size_t>(std::lower_bound(of.nodes.begin(), of.nodes.end(), node) -
                                         of.nodes.begin());
    const auto room = static_cast<size_t>(of.room);
    const auto its = std::span(of.links).subspan(place * room, room);
    return its.first(static_cast<size_t>(std::find(its.begin(), its.end(), kNoLink) - its.begin()));
  }

 private:
  static bool IsOf(const Level& level, uint32_t node) {
    return std::binary_search(level.nodes.begin(), level.nodes.end(), node);
  }

  std::vector<Level> levels_;
};

struct NodeSource {
  const GraphRows& rows;
  const GraphNodes& nodes;
  const LeveledLinks::Level& level;
};

}  // namespace

absl::StatusOr<std::unique_ptr<GraphLinks>> PluginGraph::Link(const GraphRows& rows,
                                                              const GraphNodes& nodes,
                                                              absl::FunctionRef<bool()> stop) {
  auto links = std::make_unique<LeveledLinks>(nodes.count(), rows.m);
  for (LeveledLinks::Level& level : links->levels()) {
    const auto count = level.nodes.empty() ? nodes.count() : level.nodes.size();
    level.links.resize(count * static_cast<size_t>(level.room));
    NodeSource source{.rows = rows, .nodes = nodes, .level = level};
    const baton_graph_job job = {
        .struct_size = sizeof(job),
        .metric = AbiMetricOf(rows.metric),
        .dimension = rows.dimension,
        .wanted = rows.m,
        .room = level.room,
        .candidates = CandidatesOf(rows),
        .nodes = static_cast<int64_t>(count),
        .source = {.context = &source,
                   .read =
                       [](void* context, int64_t first, int64_t wanted, float* vectors) {
                         const NodeSource& from = *static_cast<NodeSource*>(context);
                         const int64_t dimension = from.rows.dimension;
                         for (int64_t i = first; i < first + wanted; ++i) {
                           const auto at = static_cast<size_t>(i);
                           const size_t node = from.level.nodes.empty() ? at : from.level.nodes[at];
                           const int64_t row = from.nodes.first_row[node];
                           vectors =
                               std::copy_n(from.rows.vectors + row * dimension, dimension, vectors);
                         }
                       }},
        .links = level.links.data(),
        .stop_context = &stop,
        .stop = [](void* context) -> int32_t {
          return (*static_cast<absl::FunctionRef<bool()>*>(context))() ? 1 : 0;
        }};
    baton_error error = {.struct_size = sizeof(error), .message = {}};
    RETURN_IF_ERROR(PluginDevice::StatusOf(
        device_->table().graph_links(device_->handle(), &job, &error), error));
    if (level.nodes.empty()) continue;
    for (uint32_t& link : level.links) {
      if (link != kNoLink) link = level.nodes[link];
    }
  }
  return links;
}

}  // namespace baton
