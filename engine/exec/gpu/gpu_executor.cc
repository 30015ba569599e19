#include "engine/exec/gpu/gpu_executor.h"

namespace baton {

PluginExecutorOptions PluginOptionsOf(const GpuOptions& options) {
  return {.enabled = options.enabled != "off",
          .path = options.plugin,
          .memory = MemorySpace::Kind::kCuda,
          .f32_activations = options.activations == "f32",
          .llm_queue_batches = options.llm_queue_batches,
          .step_tokens_max = static_cast<int32_t>(options.step_tokens_max)};
}

PluginExecutor MakeGpuExecutor(const GpuOptions& options, const Clock& clock) {
  return MakePluginExecutor(kGpuPlugin, PluginOptionsOf(options), clock);
}

}  // namespace baton
