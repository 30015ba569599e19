#pragma once

#include <vector>

#include <cstdint>

#include "engine/exec/gpu/gpu_options.h"
#include "engine/exec/plugin_executor.h"

namespace baton {

inline constexpr PluginKind kGpuPlugin = {.platform = Platform::kGpu,
                                          .label = "GPU",
                                          .file_name = "libbaton_gpu.so",
                                          .build_needs = "nvcc"};

// What the options ask of a plug-in's executor.
PluginExecutorOptions PluginOptionsOf(const GpuOptions& options);

// The GPU executors, one for each device: proxies over libbaton_gpu.so, and the copies to and from
// their memory. Where there is no plug-in, no driver or no device, one placeholder whose Describe()
// gives the reason. Blocks while the driver starts. `clock` outlives them.
std::vector<PluginExecutor> MakeGpuExecutors(const GpuOptions& options,
                                             const Clock& clock = SystemClock());

}  // namespace baton
