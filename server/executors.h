#pragma once

#include <optional>

#include "absl/status/status.h"
#include "config/config.h"
#include "engine/engine.h"
#include "engine/exec/simulated/simulation_options.h"

namespace baton {

// Opens the devices, decides where threads run (engine/placement), binds those that the process has
// by now, and makes the executors, whose threads bind themselves: fills `parts`' executors, paths
// and placement, and says in the log what there is. The devices of a simulation take the places of
// real ones. Blocks while drivers start. FAILED_PRECONDITION: executors.require names what is
// absent. Errors name the key of the configuration that they come from.
absl::Status MakeExecutors(const Config& config, const std::optional<SimulationOptions>& simulation,
                           EngineParts& parts);

}  // namespace baton
