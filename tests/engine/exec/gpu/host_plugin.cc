#include "engine/exec/gpu/gpu_executor.h"
#include "tests/engine/exec/gpu/plugin_under_test.h"

namespace baton {

absl::StatusOr<LoadedPlugin> GpuPluginUnderTest() {
  return ProbePlugin(kGpuPlugin, "linked", *baton_executor_plugin_v1());
}

}  // namespace baton
