#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/exec/executor.h"
#include "engine/exec/loading_thread.h"
#include "engine/exec/plugin_device.h"
#include "engine/vector/view_search.h"
#include "engine/vector/view_walker.h"

namespace baton {

// Which segments' graphs a plug-in's device holds, and walks of them. A graph is brought when a
// search asks for it and stays; what was not asked for the longest goes where room is needed, what
// no view has any more goes with the next look. Deletions and filters travel with each walk, as
// bits of nodes.
//
// Double buffered: one graph at a time is brought, on a thread of its own, while whatever is there
// is walked: by the search that lacks it, and by others.
//
// Thread safe.
class PluginWalkGraphs final : public ViewWalker {
 public:
  explicit PluginWalkGraphs(std::shared_ptr<PluginDevice> device) : device_(std::move(device)) {}

  bool Takes(const ViewGraph& graph, int64_t ef) const override;
  // UNAVAILABLE: there is no room beside what others are walking now, or the device is lost.
  // INTERNAL: the device failed; the next walk brings anew what a reset has taken.
  absl::Status Walk(std::span<const GraphWalk> walks, std::span<const std::vector<float>> queries,
                    SearchPoll poll, std::vector<GraphWalked>* walked) override;

  // Why the device does not walk this segment's graph; empty: it does. `bytes`: what it takes
  // there, at least.
  std::string Refusal(const ViewGraph& graph, uint64_t* bytes) const;
  // Why graphs of so many bytes each have no room together; empty: they have.
  std::string RoomRefusal(std::span<const uint64_t> bytes) const;

  // What is there and what has come and gone, but for bytes.
  GraphResidency Residency() const;
  // Gives back what no view has any more.
  void DropDead();

 private:
  struct FreeGraph {
    std::shared_ptr<PluginDevice> device;
    void operator()(baton_walk_graph* graph) const {
      device->table().walk_graph_free(device->handle(), graph);
    }
  };
  using Graph = std::unique_ptr<baton_walk_graph, FreeGraph>;
  // Bits of nodes with a live row, as of a view in which so many rows were.
  struct LiveNodes {
    int64_t rows = 0;
    std::vector<uint32_t> words;
  };
  struct Entry {
    std::weak_ptr<const void> owner;
    std::shared_ptr<Graph> graph;  // null: refused
    std::string refusal;
    uint64_t used = 0;  // when: a number of Bring
    std::shared_ptr<const LiveNodes> live;
  };

  class Bringing;

  using Entries = std::unordered_map<const void*, Entry>;  // by owner

  // With mutex_ held. `gone`: of residency_, why it goes.
  void Remove(Entries::iterator entry, int64_t* gone);
  // Null: not there.
  std::shared_ptr<Graph> Find(const ViewGraph& graph, uint64_t now);
  // On the loading thread. Null: refused. An error as soon as `stop`.
  absl::StatusOr<std::shared_ptr<Graph>> Load(const ViewGraph& graph, uint64_t now,
                                              const std::atomic<bool>& stop);
  // Frees what was used before `now` the longest ago and nobody walks; false: there is nothing.
  bool Evict(uint64_t now);
  void Forget(std::span<const GraphWalk> walks);
  // All nodes where null.
  std::shared_ptr<const LiveNodes> LiveOf(const ViewGraph& graph);
  absl::Status WalkOn(std::span<const GraphWalk> walks, std::span<const std::vector<float>> queries,
                      SearchPoll poll, std::vector<GraphWalked>* walked);

  const std::shared_ptr<PluginDevice> device_;
  mutable std::mutex mutex_;
  uint64_t now_ = 0;          // mutex_
  Entries entries_;           // mutex_
  GraphResidency residency_;  // mutex_
  LoadingThread loading_;     // last: it uses the rest
};

}  // namespace baton
