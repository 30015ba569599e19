#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <shared_mutex>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "engine/base/metrics.h"
#include "engine/vector/graph_linker.h"
#include "engine/vector/graph_rows.h"
#include "engine/vector/sealed_graph.h"

namespace baton {

// Makes the graphs of segments: links them here, or where a device offers to, there. Whatever comes
// in the device's way, the graph is made: then it is linked here, which is counted and said in the
// log. Thread safe.
class GraphMaker {
 public:
  // As GraphSkill::Link.
  using Link = std::function<absl::StatusOr<std::unique_ptr<GraphLinks>>(
      const GraphRows& rows, const GraphNodes& nodes, absl::FunctionRef<bool()> stop)>;

  // `metrics` outlives it.
  explicit GraphMaker(Metrics& metrics);

  // From now on.
  void Offer(Link link);
  // No longer; blocks until nothing is linked there, for what is has been stopped.
  void Withdraw();

  // As SealedGraph::Build.
  absl::StatusOr<std::unique_ptr<SealedGraph>> Make(const GraphRows& rows, const GraphSeed& seed,
                                                    absl::FunctionRef<bool()> stop);

 private:
  // Null: nobody offers, or it did not succeed.
  std::unique_ptr<GraphLinks> LinkThere(const GraphRows& rows, const GraphNodes& nodes,
                                        absl::FunctionRef<bool()> stop);

  prometheus::Counter& by_device_;
  prometheus::Counter& by_cpu_;
  prometheus::Counter& by_fallback_;
  std::shared_mutex link_mutex_;  // shared while somebody links
  Link link_;                     // link_mutex_
  std::atomic<bool> withdrawn_ = false;
};

}  // namespace baton
