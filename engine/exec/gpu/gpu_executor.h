#pragma once

#include <memory>

#include "engine/exec/executor.h"
#include "engine/exec/gpu/gpu_options.h"

namespace baton {

// The GPU executor: a proxy over libbaton_gpu.so. Never null: where there is no plug-in, no driver
// or no device, a placeholder whose Describe() gives the reason. Blocks while the driver starts.
std::unique_ptr<Executor> MakeGpuExecutor(const GpuOptions& options);

}  // namespace baton
