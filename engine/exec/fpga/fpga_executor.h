#pragma once

#include <vector>

#include "engine/base/clock.h"
#include "engine/exec/fpga/fpga_options.h"
#include "engine/exec/plugin_executor.h"

namespace baton {

inline constexpr PluginKind kFpgaPlugin = {.platform = Platform::kFpga,
                                           .label = "FPGA",
                                           .file_name = "libbaton_fpga.so",
                                           .build_needs = "libxrt-dev and uuid-dev"};

// What the options ask of a plug-in's executor.
PluginExecutorOptions PluginOptionsOf(const FpgaOptions& options);

// The FPGA executors: proxies over libbaton_fpga.so, one for each card, and the copy paths of their
// memory. At least one: where there is no plug-in, no XRT or no card, a placeholder whose
// Describe() gives the reason. Blocks while XRT looks for cards. A card that turns out to be
// emulated is used with options.enabled emulate alone. `clock` outlives them.
std::vector<PluginExecutor> MakeFpgaExecutors(const FpgaOptions& options,
                                              const Clock& clock = SystemClock());

}  // namespace baton
