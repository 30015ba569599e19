#pragma once

#include "absl/status/statusor.h"
#include "engine/exec/plugin_loader.h"

namespace baton {

// The GPU plug-in that a test is linked with: its own files on the host runtime for kernels
// (host_plugin.cc), or this build's libbaton_gpu.so on a device (device_plugin.cc).
absl::StatusOr<LoadedPlugin> GpuPluginUnderTest();

}  // namespace baton
