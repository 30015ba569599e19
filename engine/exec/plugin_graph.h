#pragma once

#include <memory>
#include <utility>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "engine/exec/executor.h"
#include "engine/exec/plugin_device.h"

namespace baton {

// Links nodes on a plug-in's device, each level by itself: of each node's nearest ones, which exact
// search tells, by the rule of engine/vector/graph_linker.h. The same graph for the same rows on
// any device of a kind. Thread safe.
class PluginGraph final : public GraphSkill {
 public:
  explicit PluginGraph(std::shared_ptr<PluginDevice> device) : device_(std::move(device)) {}

  absl::StatusOr<std::unique_ptr<GraphLinks>> Link(const GraphRows& rows, const GraphNodes& nodes,
                                                   absl::FunctionRef<bool()> stop) override;

 private:
  const std::shared_ptr<PluginDevice> device_;
};

}  // namespace baton
