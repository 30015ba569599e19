#include "engine/exec/fpga/fpga_executor.h"

#include "engine/exec/plugin_executor.h"

namespace baton {

std::unique_ptr<Executor> MakeFpgaExecutor(const FpgaOptions& options) {
  static constexpr PluginKind kKind = {.platform = Platform::kFpga,
                                       .label = "FPGA",
                                       .file_name = "libbaton_fpga.so",
                                       .build_needs = "libxrt-dev and uuid-dev"};
  return MakePluginExecutor(kKind,
                            {.enabled = options.enabled != "off",
                             .path = options.plugin,
                             .memory = MemorySpace::Kind::kFpga},
                            SystemClock())
      .executor;
}

}  // namespace baton
