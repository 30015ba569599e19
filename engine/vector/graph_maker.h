#pragma once

#include <functional>
#include <memory>
#include <utility>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "engine/base/metrics.h"
#include "engine/vector/device_offer.h"
#include "engine/vector/graph_linker.h"
#include "engine/vector/graph_rows.h"
#include "engine/vector/sealed_graph.h"

namespace baton {

// Makes the graphs of segments: links them here, or where a device offers to, there. Whatever comes
// in the device's way, the graph is made. Thread safe.
class GraphMaker {
 public:
  // As GraphSkill::Link.
  using Link = std::function<absl::StatusOr<std::unique_ptr<GraphLinks>>(
      const GraphRows& rows, const GraphNodes& nodes, absl::FunctionRef<bool()> stop)>;

  // `metrics` outlives it.
  explicit GraphMaker(Metrics& metrics) : device_(metrics, MetricId::kGraphsLinked) {}

  void Offer(Link link) { device_.Offer(std::move(link)); }
  void Withdraw() { device_.Withdraw(); }

  // As SealedGraph::Build.
  absl::StatusOr<std::unique_ptr<SealedGraph>> Make(const GraphRows& rows, const GraphSeed& seed,
                                                    absl::FunctionRef<bool()> stop);

 private:
  DeviceOffer<Link> device_;
};

}  // namespace baton
