#pragma once

#include <future>
#include <memory>
#include <utility>
#include <vector>

#include "engine/exec/gpu/gpu_executor.h"
#include "engine/exec/plugin_device.h"
#include "engine/exec/plugin_executor.h"
#include "tests/engine/exec/forward_harness.h"
#include "tests/engine/exec/gpu/plugin_under_test.h"

namespace baton {

// The executors of the plug-in under test.
inline std::vector<PluginExecutor> MakeGpus(const GpuOptions& options = {}) {
  return MakePluginExecutors(kGpuPlugin, PluginOptionsOf(options), GpuPluginUnderTest(),
                             SystemClock());
}
// The first.
inline PluginExecutor MakeGpu(const GpuOptions& options = {}) {
  return std::move(MakeGpus(options).front());
}

// Its device, without an executor.
inline std::shared_ptr<PluginDevice> OpenGpu(bool f32, int32_t step_tokens_max = 64,
                                             int32_t decode_graphs_max = 64,
                                             bool programmatic_launches = false) {
  const auto plugin = GpuPluginUnderTest();
  REQUIRE_OK(plugin);
  auto device = PluginDevice::Open(*plugin, {.label = "GPU",
                                             .f32_activations = f32,
                                             .step_tokens_max = step_tokens_max,
                                             .decode_graphs_max = decode_graphs_max,
                                             .programmatic_launches = programmatic_launches,
                                             .space = {.kind = MemorySpace::Kind::kCuda}});
  REQUIRE_OK(device);
  return *std::move(device);
}

}  // namespace baton
