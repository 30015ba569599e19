#pragma once

#include <chrono>
#include <filesystem>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "engine/exec/fpga/fpga_executor.h"
#include "engine/exec/plugin_device.h"
#include "engine/exec/plugin_path.h"
#include "fpga_emulation/environment.h"
#include "tests/engine/exec/forward_harness.h"

namespace baton {

// The emulated card of this build, under the real XRT; what it gets wrong is said by the
// environment of the test (fpga_emulation/shim/faults.h).
inline FpgaOptions EmulatedFpga() {
  static const FpgaEmulation emulation = [] {
    const auto program = std::filesystem::read_symlink("/proc/self/exe").parent_path();
    const auto found = FindFpgaEmulation(program.string());
    REQUIRE_OK(found);
    UseFpgaEmulation(*found);
    return *found;
  }();
  FpgaOptions options;
  options.enabled = "emulate";
  options.xclbin = emulation.xclbin;
  return options;
}

inline PluginExecutor MakeFpga(const FpgaOptions& options) {
  return std::move(MakeFpgaExecutors(options).front());
}

// Its device, without an executor. `table`: in the place of the plug-in's own.
inline absl::StatusOr<std::shared_ptr<PluginDevice>> TryOpenFpga(
    const FpgaOptions& options, const baton_executor_plugin* table = nullptr) {
  auto plugin = LoadPlugin(kFpgaPlugin, options.plugin);
  if (!plugin.ok()) return plugin.status();
  if (table != nullptr) plugin->table = table;
  const PluginExecutorOptions asked = PluginOptionsOf(options);
  return PluginDevice::Open(*plugin, {.label = "FPGA",
                                      .space = {.kind = MemorySpace::Kind::kFpga},
                                      .kv_type = asked.kv_type,
                                      .image = asked.image,
                                      .bank_bytes_max = asked.bank_bytes_max,
                                      .run_timeout_ms = asked.run_timeout_ms,
                                      .walk_bytes_max = asked.search_memory_bytes});
}

// Blocks by a copy path, until they are there.
inline absl::Status CopyBlocks(PluginPath& path, std::vector<const void*> sources,
                               std::vector<void*> destinations, int64_t block_bytes) {
  const auto ticket = path.Post({.sources = std::move(sources),
                                 .destinations = std::move(destinations),
                                 .block_bytes = block_bytes});
  if (!ticket.ok()) return ticket.status();
  for (;;) {
    const absl::StatusOr<bool> done = path.Poll(*ticket);
    if (!done.ok()) return done.status();
    if (*done) return absl::OkStatus();
    std::this_thread::sleep_for(std::chrono::microseconds(100));
  }
}

}  // namespace baton
