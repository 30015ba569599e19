#pragma once

#include <memory>

#include "engine/exec/executor.h"
#include "engine/exec/simulated/simulated_device.h"

namespace baton {

// An executor of a device that is not there: batches are computed by `cpu` and answered when the
// device says so. It has the skills that it has curves for and the CPU has. `keeps` is alive as
// long as it. Where `owned` is not null, it is the CPU, and this executor stands for it; else
// models are loaded into the CPU by whoever has it.
std::unique_ptr<Executor> MakeSimulatedExecutor(std::shared_ptr<SimulatedDevice> device,
                                                Executor& cpu, std::unique_ptr<Executor> owned,
                                                int ordinal, std::shared_ptr<void> keeps);

}  // namespace baton
