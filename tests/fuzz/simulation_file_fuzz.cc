// What a file of simulated devices may hold: it is refused, or what it gives is within its limits.
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "absl/strings/match.h"
#include "config/simulation_file.h"
#include "engine/base/check.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace baton;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto read = ParseSimulation(text, "f");
  if (!read.ok()) {
    BATON_CHECK(absl::StartsWith(read.status().message(), "f:"));
    return 0;
  }
  BATON_CHECK(!read->devices.empty() && read->devices.size() <= 16);
  for (const SimulatedDeviceOptions& device : read->devices) {
    BATON_CHECK(!device.name.empty() && device.queue_batches > 0 && device.search_lanes > 0);
    BATON_CHECK(device.power_idle_w >= 0 && device.power_idle_w <= device.power_max_w);
  }
  for (const SimulatedPathOptions& path : read->paths) {
    BATON_CHECK(path.gb_per_s > 0 && std::isfinite(path.gb_per_s) && path.from != path.to);
  }
  return 0;
}
