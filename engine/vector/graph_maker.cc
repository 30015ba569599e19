#include "engine/vector/graph_maker.h"

#include <mutex>
#include <utility>

#include "absl/status/status.h"
#include "engine/base/log.h"

namespace baton {

GraphMaker::GraphMaker(Metrics& metrics)
    : by_device_(metrics.Counter(MetricId::kGraphsLinked, {"device"})),
      by_cpu_(metrics.Counter(MetricId::kGraphsLinked, {"cpu"})),
      by_fallback_(metrics.Counter(MetricId::kGraphsLinked, {"cpu_fallback"})) {}

void GraphMaker::Offer(Link link) {
  const std::lock_guard lock(link_mutex_);
  withdrawn_ = false;
  link_ = std::move(link);
}

void GraphMaker::Withdraw() {
  withdrawn_ = true;
  const std::lock_guard lock(link_mutex_);
  link_ = nullptr;
}

std::unique_ptr<GraphLinks> GraphMaker::LinkThere(const GraphRows& rows, const GraphNodes& nodes,
                                                  absl::FunctionRef<bool()> stop) {
  const std::shared_lock lock(link_mutex_);
  if (link_ == nullptr) {
    by_cpu_.Increment();
    return nullptr;
  }
  auto links = link_(rows, nodes, [&] { return withdrawn_ || stop(); });
  if (links.ok()) {
    by_device_.Increment();
    return *std::move(links);
  }
  by_fallback_.Increment();
  if (!absl::IsCancelled(links.status())) {
    Log().warn("a graph of {} nodes is linked by the CPU, for the device did not: {}",
               nodes.count(), std::string(links.status().message()));
  }
  return nullptr;
}

absl::StatusOr<std::unique_ptr<SealedGraph>> GraphMaker::Make(const GraphRows& rows,
                                                              const GraphSeed& seed,
                                                              absl::FunctionRef<bool()> stop) {
  const auto link = [&](const GraphNodes& nodes) -> absl::StatusOr<std::unique_ptr<GraphLinks>> {
    if (std::unique_ptr<GraphLinks> links = LinkThere(rows, nodes, stop)) return links;
    return GraphLinker::Build(rows, nodes, seed, stop);
  };
  return SealedGraph::BuildWith(rows, link, stop);
}

}  // namespace baton
