#include "engine/exec/gpu/plugin/nvml.h"

#include <catch2/catch.hpp>
#include <string>
#include <vector>

namespace baton::gpu {
namespace {

using Catch::Contains;

constexpr char kAddress[] = "0000:3b:00.0";

std::vector<std::string>& Lines() {
  static std::vector<std::string> lines;
  return lines;
}

baton_host LoggingHost() {
  Lines().clear();
  return {.struct_size = sizeof(baton_host),
          .log = [](int32_t, const char* message) { Lines().push_back(message); },
          .dequantise_row = nullptr};
}

TEST_CASE("what the management library tells of a device is told") {
  const auto nvml = Nvml::Start(FAKE_NVML, kAddress, LoggingHost());
  REQUIRE(nvml != nullptr);
  const Nvml::Reading reading = nvml->Latest();
  CHECK(reading.temperature_c == 61);
  CHECK(reading.power_w == 312.5);
  CHECK(reading.utilisation == 0.87);
  CHECK(reading.memory_errors == 4);
  CHECK(Lines().empty());
}

TEST_CASE("what it refuses is left out and said once") {
  const auto nvml = Nvml::Start(FAKE_NVML_NO_ECC, kAddress, LoggingHost());
  REQUIRE(nvml != nullptr);
  CHECK(nvml->Latest().temperature_c == 61);
  CHECK(nvml->Latest().memory_errors == -1);
  REQUIRE(Lines().size() == 1);
  CHECK_THAT(Lines()[0], Contains("does not tell memory errors: Not Supported"));
}

TEST_CASE("without the library or the device there are no figures and the reason is said") {
  for (const auto& [library, address, why] :
       {std::tuple{"libno-such-thing.so.1", kAddress, "libno-such-thing.so.1"},
        std::tuple{FAKE_NVML_OLD, kAddress, "lacks nvmlDeviceGetTotalEccErrors"},
        std::tuple{FAKE_NVML_NO_DRIVER, kAddress, "nvmlInit: Driver Not Loaded"},
        std::tuple{FAKE_NVML, "0000:ff:00.0", "nvmlDeviceGetHandleByPciBusId: Not Supported"}}) {
    CHECK(Nvml::Start(library, address, LoggingHost()) == nullptr);
    REQUIRE(Lines().size() == 1);
    CHECK_THAT(Lines()[0], Contains("not known") && Contains(why));
  }
}

}  // namespace
}  // namespace baton::gpu
