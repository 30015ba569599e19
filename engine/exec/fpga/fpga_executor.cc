#include "engine/exec/fpga/fpga_executor.h"

namespace baton {

PluginExecutorOptions PluginOptionsOf(const FpgaOptions& options) {
  return {.enabled = options.enabled != "off",
          .path = options.plugin,
          .devices_max = static_cast<int32_t>(options.devices),
          .memory = MemorySpace::Kind::kFpga,
          .llm_queue_batches = options.llm_queue_batches,
          .search_memory_bytes = options.search_memory_mb << 20,
          .search_threads = static_cast<int>(options.search_threads),
          .search_queue_batches = options.search_queue_batches,
          .takes_emulated = options.enabled == "emulate",
          .kv_type = KvType::kInt8,
          .image = options.xclbin,
          .bank_bytes_max = options.bank_memory_mb << 20,
          .run_timeout_ms = static_cast<int32_t>(options.run_timeout_ms)};
}

std::vector<PluginExecutor> MakeFpgaExecutors(const FpgaOptions& options, const Clock& clock) {
  return MakePluginExecutors(kFpgaPlugin, PluginOptionsOf(options), clock);
}

}  // namespace baton
