#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "engine/vector/view_graph.h"

namespace baton {

// A walk of a segment's graph for each of some queries.
struct GraphWalk {
  ViewGraph graph;
  int64_t ef = 0;      // nearest nodes that are kept on the way
  int64_t wanted = 0;  // of these the first so many that count are given; at most ef
  // Nodes that count, bit node % 32 of word node / 32: SealedGraph::LiveNodes. None: those that
  // have a live row in the view.
  std::vector<uint32_t> matching = {};
};

struct GraphWalked {
  int64_t stride = 0;           // `wanted` or more: rows that died lately may be among them
  std::vector<uint32_t> nodes;  // [queries, stride], nearest first; UINT32_MAX behind the last
  std::vector<uint8_t> walked;  // [queries]; 0: to be walked by whoever asks
};

// Walks segments' graphs in SearchView's place, as a device does. Thread safe.
class ViewWalker {
 public:
  virtual ~ViewWalker() = default;
  // Whether it takes a walk that keeps `ef` nodes.
  virtual bool Takes(const ViewGraph& graph, int64_t ef) const = 0;
  // walked: one for each of `walks`, which are of one view, and all of which it takes. `queries`:
  // prepared. Blocks; errors are those of `poll`, and of the device.
  virtual absl::Status Walk(std::span<const GraphWalk> walks,
                            std::span<const std::vector<float>> queries,
                            absl::FunctionRef<absl::Status()> poll,
                            std::vector<GraphWalked>* walked) = 0;
};

}  // namespace baton
