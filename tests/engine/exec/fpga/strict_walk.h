#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <set>
#include <span>
#include <utility>
#include <vector>

#include "engine/vector/sealed_graph.h"

namespace baton::fpga {

// The naive twin of what a card does: a strict best-first walk of an engine's graph, by int8 codes
// of one step, ties to the lower node. Knows neither beats nor images nor kernels.
class StrictWalk {
 public:
  // vectors: [nodes, dimension], of the graph's nodes; outlive it, as the graph does.
  StrictWalk(const SealedGraph& graph, baton::Metric metric, std::span<const float> vectors)
      : graph_(graph),
        l2_(metric == baton::Metric::kL2),
        dimension_(vectors.size() / graph.nodes()),
        step_(StepOf(vectors)) {
    for (const float value : vectors) codes_.push_back(Code(value, step_));
  }

  // The ef nearest nodes that are met, nearest first.
  std::vector<uint32_t> Walk(std::span<const float> of, size_t ef) const {
    const float step = l2_ ? step_ : StepOf(of);
    std::vector<int64_t> query;
    for (const float value : of) query.push_back(Code(value, step));
    auto at = KeyOf(query, 0);
    for (int level = graph_.LevelOf(0); level > 0; --level) {
      for (bool moved = true; moved;) {
        moved = false;
        // Links are those of where it stood.
        for (const uint32_t link : graph_.Links(at.second, level)) {
          const auto key = KeyOf(query, link);
          if (key < at) {
            at = key;
            moved = true;
          }
        }
      }
    }
    std::set<std::pair<int64_t, uint32_t>> pool = {at};
    std::set<uint32_t> met = {at.second};
    std::set<uint32_t> followed;
    for (;;) {
      auto next = pool.begin();
      while (next != pool.end() && followed.contains(next->second)) ++next;
      if (next == pool.end()) break;
      const uint32_t from = next->second;
      followed.insert(from);
      for (const uint32_t link : graph_.Links(from, 0)) {
        if (!met.insert(link).second) continue;
        pool.insert(KeyOf(query, link));
        if (pool.size() > ef) pool.erase(std::prev(pool.end()));
      }
    }
    std::vector<uint32_t> nodes;
    for (const auto& [key, node] : pool) nodes.push_back(node);
    return nodes;
  }

 private:
  static float StepOf(std::span<const float> values) {
    float largest = 0;
    bool whole = true;
    for (const float value : values) {
      largest = std::max(largest, std::abs(value));
      whole = whole && value == std::trunc(value);
    }
    return whole && largest <= 127 ? 1 : largest / 127;
  }
  static int64_t Code(float value, float step) {
    return std::clamp<int64_t>(std::lround(value / step), -127, 127);
  }
  // Smaller is nearer.
  std::pair<int64_t, uint32_t> KeyOf(const std::vector<int64_t>& query, uint32_t node) const {
    int64_t key = 0;
    for (size_t d = 0; d < dimension_; ++d) {
      const int64_t code = codes_[node * dimension_ + d];
      key += l2_ ? code * code - 2 * code * query[d] : -code * query[d];
    }
    return {key, node};
  }

  const SealedGraph& graph_;
  const bool l2_;
  const size_t dimension_;
  const float step_;
  std::vector<int64_t> codes_;  // [nodes, dimension]
};

}  // namespace baton::fpga
