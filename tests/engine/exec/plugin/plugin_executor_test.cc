#include "engine/exec/plugin_executor.h"

#include <catch2/catch.hpp>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <string>

#include "absl/strings/str_cat.h"
#include "engine/exec/fpga/fpga_executor.h"
#include "engine/exec/gpu/gpu_executor.h"

namespace baton {
namespace {

namespace fs = std::filesystem;
using Catch::Matchers::StartsWith;

std::string Fake(const std::string& name) {
  return absl::StrCat(BATON_FAKE_PLUGINS, "/", name, ".so");
}

GpuOptions GpuPlugin(const std::string& fake) {
  GpuOptions options;
  options.plugin = Fake(fake);
  return options;
}

void RequireTakesNoWork(Executor& executor) {
  CHECK(executor.llm() == nullptr);
  CHECK(executor.search() == nullptr);
  CHECK(executor.embed() == nullptr);
  CHECK(executor.Sample().healthy == executor.Describe().present);
  CHECK(executor.Sample().queue_depth == 0);
}

// The only one.
PluginExecutor MakeGpuExecutor(const GpuOptions& options) {
  std::vector<PluginExecutor> made = MakeGpuExecutors(options);
  REQUIRE(made.size() == 1);
  return std::move(made.front());
}

// Whether the build made this plug-in; it lies beside this test.
bool BuiltBeside(const std::string& file) {
  return fs::exists(fs::read_symlink("/proc/self/exe").parent_path() / file);
}

TEST_CASE("a device behind a plug-in is present and says that it offers no skill") {
  const auto executor = MakeGpuExecutor(GpuPlugin("fake_one_device")).executor;
  const ExecutorInfo& info = executor->Describe();
  CHECK(info.platform == Platform::kGpu);
  CHECK(info.device == "Fake 0");
  CHECK(info.present);
  CHECK(info.emulated);
  CHECK(info.reason == "device present, but this build's GPU plug-in offers no skills");
  CHECK(info.detail == "made of nothing; plug-in 0.0-fake");
  CHECK(info.pci_address == "0000:3b:00.0");
  CHECK(info.memory_bytes_total == 1000);
  RequireTakesNoWork(*executor);
}

TEST_CASE("each of several devices is described with its number") {
  const std::vector<PluginExecutor> both = MakeGpuExecutors(GpuPlugin("fake_two_devices"));
  REQUIRE(both.size() == 2);
  CHECK(both[0].executor->Describe().device == "Fake 0 #0");
  CHECK(both[1].executor->Describe().device == "Fake 1 #1");
  CHECK(both[1].executor->Describe().detail == "made of nothing; plug-in 0.0-fake");
}

TEST_CASE("of several devices so many are used as the configuration says") {
  GpuOptions options = GpuPlugin("fake_two_devices");
  options.devices = 1;
  const auto executor = MakeGpuExecutor(options).executor;
  CHECK(executor->Describe().device == "Fake 0");
  CHECK(executor->Describe().detail == "made of nothing; plug-in 0.0-fake; the first of 2 devices");
}

TEST_CASE("an absent device is a placeholder with the reason") {
  const auto gpu = MakeGpuExecutor(GpuPlugin("fake_probe_fails")).executor;
  CHECK(gpu->Describe().platform == Platform::kGpu);
  CHECK(gpu->Describe().device == "gpu");
  CHECK_FALSE(gpu->Describe().present);
  CHECK(gpu->Describe().reason == "no GPU: no driver (error 35)");
  RequireTakesNoWork(*gpu);

  FpgaOptions other_platform;
  other_platform.plugin = Fake("fake_one_device");
  const auto fpga = std::move(MakeFpgaExecutors(other_platform).front().executor);
  CHECK(fpga->Describe().platform == Platform::kFpga);
  CHECK(fpga->Describe().device == "fpga");
  CHECK_FALSE(fpga->Describe().present);
  CHECK(fpga->Describe().reason == absl::StrCat("no FPGA plug-in: ", other_platform.plugin,
                                                ": is a plug-in for platform gpu, not fpga"));
  RequireTakesNoWork(*fpga);
}

TEST_CASE("switched off, a plug-in is not even looked for") {
  GpuOptions gpu = GpuPlugin("fake_one_device");
  gpu.enabled = "off";
  CHECK(MakeGpuExecutor(gpu).executor->Describe().reason ==
        "GPU switched off by the configuration");
  CHECK_FALSE(MakeGpuExecutor(gpu).executor->Describe().present);
  FpgaOptions fpga;
  fpga.enabled = "off";
  CHECK(MakeFpgaExecutors(fpga).front().executor->Describe().reason ==
        "FPGA switched off by the configuration");
}

TEST_CASE("the GPU plug-in of this build finds a device or says why not") {
  const auto executor = std::move(MakeGpuExecutors({}).front().executor);
  const ExecutorInfo& info = executor->Describe();
  INFO(info.reason);
  if (!info.present) RequireTakesNoWork(*executor);
  if (!BuiltBeside("libbaton_gpu.so")) {
    std::cerr << "SKIPPED: this build has no libbaton_gpu.so\n";
    CHECK_THAT(info.reason, StartsWith("no GPU plug-in: libbaton_gpu.so is neither in "));
  } else if (!fs::exists("/dev/nvidiactl")) {
    CHECK_FALSE(info.present);
    CHECK_THAT(info.reason, StartsWith("no GPU: no NVIDIA driver (CUDA error 35 "
                                       "cudaErrorInsufficientDriver); install one that supports"));
  } else if (info.present) {
    CHECK(info.memory_bytes_total > 0);
  } else {
    CHECK_THAT(info.reason, StartsWith("no GPU: "));
  }
}

TEST_CASE("the FPGA plug-in of this build says why XRT does not start") {
  unsetenv("XILINX_XRT");  // of this test only; a card that is there is then out of reach
  const auto executor = std::move(MakeFpgaExecutors({}).front().executor);
  const ExecutorInfo& info = executor->Describe();
  INFO(info.reason);
  RequireTakesNoWork(*executor);
  CHECK_FALSE(info.present);
  if (!BuiltBeside("libbaton_fpga.so")) {
    std::cerr << "SKIPPED: this build has no libbaton_fpga.so\n";
    CHECK_THAT(info.reason, StartsWith("no FPGA plug-in: libbaton_fpga.so is neither in "));
  } else {
    CHECK_THAT(info.reason, StartsWith("no FPGA: XRT does not start: XILINX_XRT not set; "));
  }
}

}  // namespace
}  // namespace baton
