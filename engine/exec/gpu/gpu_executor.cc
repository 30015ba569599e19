#include "engine/exec/gpu/gpu_executor.h"

namespace baton {

PluginExecutorOptions PluginOptionsOf(const GpuOptions& options) {
  return {.enabled = options.enabled != "off",
          .path = options.plugin,
          .devices_max = static_cast<int32_t>(options.devices),
          .memory = MemorySpace::Kind::kCuda,
          .f32_activations = options.activations == "f32",
          .llm_queue_batches = options.llm_queue_batches,
          .embed_queue_batches = options.embed_queue_batches,
          .step_tokens_max = static_cast<int32_t>(options.step_tokens_max),
          .warm_up = options.warm_up,
          .decode_graphs_max = static_cast<int32_t>(options.decode_graphs),
          .programmatic_launches = options.programmatic_launches,
          .search_memory_bytes = options.search_memory_mb << 20,
          .search_threads = static_cast<int32_t>(options.search_threads),
          .search_queue_batches = options.search_queue_batches,
          .builds_graphs = options.build_graphs,
          .builds_inverted_files = options.build_inverted_files,
          .cluster_sample_bytes = options.cluster_sample_mb << 20};
}

std::vector<PluginExecutor> MakeGpuExecutors(const GpuOptions& options, const Clock& clock) {
  return MakePluginExecutors(kGpuPlugin, PluginOptionsOf(options), clock);
}

}  // namespace baton
