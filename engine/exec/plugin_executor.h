#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/base/clock.h"
#include "engine/exec/executor.h"
#include "engine/exec/plugin_loader.h"
#include "engine/transfer/copy_path.h"

namespace baton {

struct PluginExecutorOptions {
  bool enabled = true;
  std::string path;                // of the plug-in; empty: as LoadPlugin looks for it
  MemorySpace::Kind memory = {};   // of the device
  bool f32_activations = false;    // what a device computes in; else bf16
  int64_t llm_queue_batches = 16;  // waiting or running
  int32_t step_tokens_max = 512;   // of a language-model batch
};

// The executor of a platform whose device sits behind a plug-in, and the ways to and from its
// memory.
struct PluginExecutor {
  std::unique_ptr<Executor> executor;  // never null
  std::vector<std::unique_ptr<CopyPath>> paths = {};
};

// The first device that the plug-in finds. Where there is none, or it cannot be taken into use,
// what comes back takes no work: its Describe() says why, with present = false where there is no
// device. Blocks while the driver starts. `clock` outlives it.
PluginExecutor MakePluginExecutor(const PluginKind& kind, const PluginExecutorOptions& options,
                                  const Clock& clock);
// The same of a plug-in that is loaded already, or of why it is not.
PluginExecutor MakePluginExecutor(const PluginKind& kind, const PluginExecutorOptions& options,
                                  const absl::StatusOr<LoadedPlugin>& plugin, const Clock& clock);

}  // namespace baton
