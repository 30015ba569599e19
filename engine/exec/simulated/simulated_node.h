#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "engine/base/clock.h"
#include "engine/exec/executor.h"
#include "engine/exec/simulated/simulated_device.h"
#include "engine/exec/simulated/simulation_options.h"
#include "engine/exec/simulated/timeline.h"
#include "engine/transfer/copy_path.h"

namespace baton {

// Devices that are not there, and what connects them: executors that compute on the CPU and answer
// when their curves say so, and copy paths between their memory spaces. All of them say that they
// are simulated. Thread safe; lives as long as what it makes.
class SimulatedNode : public std::enable_shared_from_this<SimulatedNode> {
 public:
  // `options` as ReadSimulation gives them. The clock outlives it. `warp` as of Timeline, whose
  // thread, the one that all devices share, runs as `placement` says.
  static std::shared_ptr<SimulatedNode> Create(SimulationOptions options, const Clock& clock,
                                               Timeline::Warp warp = nullptr,
                                               const ThreadPlacement& placement = {});

  struct Parts {
    std::vector<std::unique_ptr<Executor>> executors;  // the CPU, simulated or as it is, first
    std::vector<std::unique_ptr<CopyPath>> paths;      // best first
  };
  // Once. `cpu` computes for all.
  Parts Make(std::unique_ptr<Executor> cpu);

  // Beside what the scripts say; of a device or a path. NOT_FOUND: there is none of that name.
  absl::Status Inject(std::string_view name, SimulatedFault fault, double factor = 1);
  // Copies posted and not yet polled to their end, or cancelled.
  size_t open_copies() const;

 private:
  SimulatedNode(SimulationOptions options, const Clock& clock, Timeline::Warp warp,
                const ThreadPlacement& placement);

  const SimulationOptions options_;
  Timeline timeline_;
  std::map<std::string, std::shared_ptr<SimulatedDevice>, std::less<>> devices_;
  std::map<std::string, class SimulatedPath*, std::less<>> paths_;  // of Make()
};

}  // namespace baton
