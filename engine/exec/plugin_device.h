#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/exec/executor_abi.h"
#include "engine/exec/plugin_loader.h"
#include "engine/kv/kv_memory.h"
#include "engine/transfer/memory_space.h"
#include "engine/transfer/shared_buffer.h"

namespace baton {

// A device of a plug-in in use; closed in the end. Shared by the skills, memories and copy paths
// that are made of it, so that it outlives them. Thread safe as the plug-in's functions are.
class PluginDevice final : public KvMemorySource,
                           public DeviceMapper,
                           public std::enable_shared_from_this<PluginDevice> {
 public:
  struct Options {
    std::string label;                   // "GPU", as messages name it
    int32_t index = 0;                   // of the plug-in's devices
    bool f32_activations = false;        // else bf16
    int32_t step_tokens_max = 512;       // of a language-model batch
    bool warm_up = false;                // models, where the plug-in says what to do for it
    int32_t decode_graphs_max = 0;       // steps of decodes kept as CUDA graphs, of a GPU
    bool programmatic_launches = false;  // within these
    MemorySpace space;                   // of its memory
    std::optional<KvType> kv_type;       // what it takes of keys and values; none: any
    // Of an FPGA, as baton_device_options has them.
    std::string image = {};
    int64_t bank_bytes_max = 0;
    int32_t run_timeout_ms = 0;
    int64_t walk_bytes_max = 0;
  };

  // Whether the plug-in does more than describe devices.
  static bool CanWork(const baton_executor_plugin& table);
  static absl::StatusOr<std::shared_ptr<PluginDevice>> Open(const LoadedPlugin& plugin,
                                                            const Options& options);
  ~PluginDevice() override;
  PluginDevice(const PluginDevice&) = delete;
  PluginDevice& operator=(const PluginDevice&) = delete;

  absl::StatusOr<std::unique_ptr<KvMemory>> Allocate(const Blocks& blocks) override;
  std::optional<KvType> only_type() const override { return options_.kv_type; }
  // Adds to `device`, as the probe described it, what is known since it was opened.
  void Describe(baton_device* device) const;

  const MemorySpace& space() const override { return options_.space; }
  // UNIMPLEMENTED: the plug-in maps none.
  absl::Status Map(const HostExtent& extent) override;
  void Unmap(const HostExtent& extent) override;
  absl::Status Sync(const HostExtent& extent, SyncDirection direction) override;
  // Whether the plug-in's batches tell of layers that are done.
  bool TellsLayers() const;
  // Whether it changes logits, and tells log probabilities, of tokens that it chooses.
  bool ChangesLogits() const;

  struct Sample {
    int64_t memory_bytes_used = 0;
    std::string lost;  // why; empty: it is not
    // Absent: it does not tell.
    std::optional<double> temperature_c = {};
    std::optional<double> power_w = {};
    std::optional<double> utilisation = {};
    std::optional<int64_t> memory_errors = {};
    std::optional<int64_t> walk_bytes = {};  // of memory_bytes_used
  };
  Sample TakeSample() const;

  const baton_executor_plugin& table() const { return table_; }
  baton_open_device* handle() const { return handle_; }
  const Options& options() const { return options_; }

  // What a function of the plug-in has said.
  static absl::Status StatusOf(int32_t code, const baton_error& error);

 private:
  PluginDevice(const baton_executor_plugin& table, const Options& options)
      : table_(table), options_(options) {}

  const baton_executor_plugin& table_;
  const Options options_;
  baton_open_device* handle_ = nullptr;
};

}  // namespace baton
