#include "engine/exec/gpu/gpu_executor.h"

#include "engine/exec/plugin_executor.h"

namespace baton {

std::unique_ptr<Executor> MakeGpuExecutor(const GpuOptions& options) {
  static constexpr PluginKind kKind = {.platform = Platform::kGpu,
                                       .label = "GPU",
                                       .file_name = "libbaton_gpu.so",
                                       .build_needs = "nvcc"};
  return MakePluginExecutor(kKind, options.enabled != "off", options.plugin);
}

}  // namespace baton
