#include "server/executors.h"

#include <algorithm>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "engine/base/clock.h"
#include "engine/base/cpu_set.h"
#include "engine/base/log.h"
#include "engine/base/status_macros.h"
#include "engine/base/strings.h"
#include "engine/exec/cpu/cpu_executor.h"
#include "engine/exec/fpga/fpga_executor.h"
#include "engine/exec/gpu/gpu_executor.h"
#include "engine/exec/simulated/simulated_node.h"
#include "engine/placement/placement_plan.h"
#include "fpga_emulation/environment.h"

namespace baton {
namespace {

bool Simulates(const std::optional<SimulationOptions>& simulation, Platform platform) {
  return simulation &&
         std::ranges::find(simulation->devices, platform, &SimulatedDeviceOptions::platform) !=
             simulation->devices.end();
}

// In the executors' order: the CPU, simulated devices, those behind plug-ins.
std::vector<PlacedDevice> PlacedDevices(const std::optional<SimulationOptions>& simulation,
                                        const std::vector<std::unique_ptr<Executor>>& plugins) {
  std::vector<PlacedDevice> placed = {{.platform = Platform::kCpu, .name = "cpu0"}};
  for (const auto& device :
       simulation ? simulation->devices : std::vector<SimulatedDeviceOptions>()) {
    if (device.platform == Platform::kCpu) {
      placed.front().name = device.name;
    } else {
      placed.push_back(
          {.platform = device.platform, .name = device.name, .numa_node = device.numa_node});
    }
  }
  for (const auto& executor : plugins) {
    const ExecutorInfo& info = executor->Describe();
    placed.push_back({.platform = info.platform,
                      .name = info.device,
                      .present = info.present,
                      .works = executor->llm() != nullptr || executor->search() != nullptr ||
                               executor->embed() != nullptr || executor->cluster() != nullptr,
                      .pci_address = info.pci_address});
  }
  return placed;
}

absl::StatusOr<PlacementPlan> PlanFor(const ThreadPlacementOptions& options,
                                      const std::vector<PlacedDevice>& devices) {
  if (options.mode == "off") return PlanPlacement({}, options, devices);
  const absl::StatusOr<Topology> topology = ReadTopology();
  if (topology.ok()) return PlanPlacement(*topology, options, devices);
  if (!options.cpus.empty()) return PlanPlacement(FlatTopology(ThreadCpus()), options, devices);
  return PlacementPlan{.nothing = std::string(topology.status().message()),
                       .executors = std::vector<ExecutorPlacement>(devices.size())};
}

absl::StatusOr<PlacementPlan> PlaceThreads(const ThreadPlacementOptions& options,
                                           const std::vector<PlacedDevice>& devices) {
  ASSIGN_OR_RETURN(PlacementPlan plan, PlanFor(options, devices));
  if (!plan.nothing.empty()) Log().info("placement: no thread is bound: {}", plan.nothing);
  for (const std::string& line : plan.Lines(devices)) Log().info("placement: {}", line);
  if (!plan.application.empty()) {
    const absl::Status bound = BindAllThreads(plan.application);
    if (!bound.ok()) Log().warn("placement: {}", std::string(bound.message()));
  }
  return plan;
}

// Of the one thread that simulated devices share.
ThreadPlacement SimulatedThread(const PlacementPlan& plan,
                                const std::vector<PlacedDevice>& devices) {
  CpuSet cpus;
  for (size_t i = 0; i < devices.size(); ++i) {
    if (devices[i].platform != Platform::kCpu) cpus = cpus | plan.executors[i].threads.cpus();
  }
  return cpus.empty() ? ThreadPlacement() : ThreadPlacement({std::move(cpus)});
}

absl::Status CheckRequired(const std::vector<std::string>& require,
                           const std::optional<SimulationOptions>& simulation,
                           const std::vector<std::unique_ptr<Executor>>& executors) {
  const auto required = [&](Platform platform) {
    return std::ranges::find(require, Name(platform)) != require.end();
  };
  for (const Platform platform : {Platform::kGpu, Platform::kFpga}) {
    if (!Simulates(simulation, platform) || !required(platform)) continue;
    return absl::FailedPreconditionError(StrCat("executors.require names ", Name(platform),
                                                ", but --simulate puts a simulated one in its "
                                                "place"));
  }
  for (const auto& executor : executors) {
    const ExecutorInfo& info = executor->Describe();
    if (info.present || !required(info.platform)) continue;
    return absl::FailedPreconditionError(StrCat("executors.require names ", Name(info.platform),
                                                ", but it is absent: ", info.reason));
  }
  return absl::OkStatus();
}

// Has XRT find the emulated card of this build. Before anything of XRT is used.
absl::Status EmulateFpga(FpgaOptions* options) {
  std::error_code error;
  const auto program = std::filesystem::read_symlink("/proc/self/exe", error).parent_path();
  const absl::StatusOr<FpgaEmulation> emulation = FindFpgaEmulation(program.string());
  if (!emulation.ok()) {
    return absl::FailedPreconditionError(StrCat("executors.fpga.enabled is emulate, but ",
                                                std::string(emulation.status().message())));
  }
  Log().warn("executors.fpga.enabled is emulate: an FPGA card that is not there is computed");
  UseFpgaEmulation(*emulation);
  if (options->xclbin.empty()) options->xclbin = emulation->xclbin;
  return absl::OkStatus();
}

}  // namespace

absl::Status MakeExecutors(const Config& config, const std::optional<SimulationOptions>& simulation,
                           EngineParts& parts) {
  const ExecutorsOptions& options = config.executors;
  FpgaOptions fpga_options = options.fpga;
  if (options.fpga.enabled == "emulate") RETURN_IF_ERROR(EmulateFpga(&fpga_options));
  std::vector<std::unique_ptr<Executor>> plugins;
  std::vector<std::unique_ptr<CopyPath>> plugin_paths;
  const auto add = [&](PluginExecutor& made) {
    plugins.push_back(std::move(made.executor));
    for (auto& path : made.paths) plugin_paths.push_back(std::move(path));
    if (made.mapper != nullptr) parts.mappers.push_back(std::move(made.mapper));
  };
  if (!Simulates(simulation, Platform::kGpu)) {
    GpuOptions gpu_options = options.gpu;
    gpu_options.step_tokens_max = config.engine.schedule.step_tokens_max;
    for (PluginExecutor& gpu : MakeGpuExecutors(gpu_options)) add(gpu);
  }
  if (!Simulates(simulation, Platform::kFpga)) {
    for (PluginExecutor& fpga : MakeFpgaExecutors(fpga_options)) add(fpga);
  }
  const std::vector<PlacedDevice> devices = PlacedDevices(simulation, plugins);
  ASSIGN_OR_RETURN(parts.placement, PlaceThreads(config.placement, devices));

  CpuOptions cpu_options = options.cpu;
  cpu_options.step_tokens_max = config.engine.schedule.step_tokens_max;
  auto cpu = MakeCpuExecutor(cpu_options, SystemClock(), parts.placement.executors[0].threads);
  if (!cpu.ok()) {
    return absl::Status(cpu.status().code(),
                        StrCat("executors.cpu: ", std::string(cpu.status().message())));
  }
  if (simulation) {
    Log().warn("--simulate: devices that are not there answer as their curves say");
    SimulatedNode::Parts made = SimulatedNode::Create(*simulation, SystemClock(), nullptr,
                                                      SimulatedThread(parts.placement, devices))
                                    ->Make(*std::move(cpu));
    parts.executors = std::move(made.executors);
    parts.paths = std::move(made.paths);
  } else {
    parts.executors.push_back(*std::move(cpu));
  }
  for (auto& plugin : plugins) parts.executors.push_back(std::move(plugin));
  for (auto& path : plugin_paths) parts.paths.push_back(std::move(path));

  for (const auto& executor : parts.executors) {
    const ExecutorInfo& info = executor->Describe();
    if (info.present) {
      Log().info("executor {}: {}{} {}", Name(info.platform), info.device,
                 info.emulated ? " (emulated)" : "", info.detail);
    } else {
      Log().info("executor {}: absent: {}", Name(info.platform), info.reason);
    }
  }
  return CheckRequired(options.require, simulation, parts.executors);
}

}  // namespace baton
