#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/base/clock.h"
#include "engine/exec/executor.h"
#include "engine/exec/plugin_loader.h"
#include "engine/transfer/copy_path.h"
#include "engine/transfer/shared_buffer.h"

namespace baton {

struct PluginExecutorOptions {
  bool enabled = true;
  std::string path;                    // of the plug-in; empty: as LoadPlugin looks for it
  int32_t devices_max = 1;             // so many of the plug-in's; 0: all
  MemorySpace::Kind memory = {};       // of the device
  bool f32_activations = false;        // what a device computes in; else bf16
  int64_t llm_queue_batches = 16;      // waiting or running
  int64_t embed_queue_batches = 256;   // waiting or running
  int32_t step_tokens_max = 512;       // of a language-model batch, and of an encoder's
  bool warm_up = false;                // models, before they are ready
  int32_t decode_graphs_max = 0;       // steps of a model's decodes kept as CUDA graphs
  bool programmatic_launches = false;  // within these
  int64_t search_memory_bytes = 0;  // of the device's, for vectors or graphs; 0: it searches none
  int32_t search_threads = 2;
  int64_t search_queue_batches = 256;  // waiting
  bool builds_graphs = false;
  bool builds_inverted_files = false;
  int64_t cluster_sample_bytes = 0;    // that k-means trains with; 0: it does not cluster
  bool takes_emulated = true;          // else a device that turns out to be emulated is not used
  std::optional<KvType> kv_type = {};  // what a device takes of keys and values; none: any
  // Of FPGAs.
  std::string image = {};  // path of their xclbin
  int64_t bank_bytes_max = 0;
  int32_t run_timeout_ms = 0;
};

// The executor of a platform whose device sits behind a plug-in, and the ways to and from its
// memory.
struct PluginExecutor {
  std::unique_ptr<Executor> executor;  // never null
  std::vector<std::unique_ptr<CopyPath>> paths = {};
  std::shared_ptr<DeviceMapper> mapper = {};  // null: there is no device at work
};

// One for each device that the plug-in finds, at least one: where there is none, or it cannot be
// taken into use, what comes back takes no work: its Describe() says why, with present = false
// where there is no device. Several devices are told apart by a number behind their names. Blocks
// while the driver starts. `clock` outlives them.
std::vector<PluginExecutor> MakePluginExecutors(const PluginKind& kind,
                                                const PluginExecutorOptions& options,
                                                const Clock& clock);
// The same of a plug-in that is loaded already, or of why it is not.
std::vector<PluginExecutor> MakePluginExecutors(const PluginKind& kind,
                                                const PluginExecutorOptions& options,
                                                const absl::StatusOr<LoadedPlugin>& plugin,
                                                const Clock& clock);
// The first of them.
PluginExecutor MakePluginExecutor(const PluginKind& kind, const PluginExecutorOptions& options,
                                  const Clock& clock);

}  // namespace baton
