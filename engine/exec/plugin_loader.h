#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/exec/executor_abi.h"
#include "engine/request/work.h"

namespace baton {

// A kind of plug-in, as it is looked for and as reasons name it.
struct PluginKind {
  Platform platform = Platform::kGpu;
  const char* label = "";        // "GPU"
  const char* file_name = "";    // "libbaton_gpu.so"
  const char* build_needs = "";  // what a build must find to make it: "nvcc"
};

struct LoadedPlugin {
  const baton_executor_plugin* table = nullptr;  // the plug-in's; valid until the process ends
  std::vector<baton_device> devices;             // at least one, at most kPluginDevicesMax
};

inline constexpr int kPluginDevicesMax = 16;

// What the daemon offers to plug-ins.
const baton_host& PluginHost();

// Opens the plug-in at `path`, or, where that is empty, the one beside the running program or in
// ../lib/baton from there; checks its ABI and probes its devices. An error's message is the whole
// reason why there is no such device. Blocks while the driver starts. A plug-in that was opened
// stays: drivers start threads and exit handlers that outlive any dlclose.
absl::StatusOr<LoadedPlugin> LoadPlugin(const PluginKind& kind, const std::string& path);
// The rest of it, of a table that is there already; `found` is how messages name the plug-in.
absl::StatusOr<LoadedPlugin> ProbePlugin(const PluginKind& kind, const std::string& found,
                                         const baton_executor_plugin& table);

}  // namespace baton
