#include "engine/exec/gpu/gpu_executor.h"
#include "tests/engine/exec/gpu/plugin_under_test.h"

namespace baton {

absl::StatusOr<LoadedPlugin> GpuPluginUnderTest() { return LoadPlugin(kGpuPlugin, ""); }

}  // namespace baton
