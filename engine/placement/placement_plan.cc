#include "engine/placement/placement_plan.h"

#include <algorithm>
#include <map>
#include <optional>
#include <utility>

#include "engine/base/status_macros.h"
#include "engine/base/strings.h"

namespace baton {
namespace {

constexpr char kApplication[] = "application";

bool IsAccelerator(const PlacedDevice& device) {
  return device.present && device.works && device.platform != Platform::kCpu;
}

std::string_view Trim(std::string_view text) {
  const size_t first = text.find_first_not_of(' ');
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(' ') - first + 1);
}

// What placement.cpus says, by the name it gives.
using Named = std::map<std::string, CpuSet, std::less<>>;

absl::Status CheckName(std::string_view name, std::span<const PlacedDevice> devices) {
  if (name == kApplication || name == "cpu" || name == "gpu" || name == "fpga") {
    return absl::OkStatus();
  }
  if (std::ranges::find(devices, name, &PlacedDevice::name) != devices.end()) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(StrCat("placement.cpus names \"", Escaped(name),
                                           "\", which is neither cpu, gpu, fpga, application nor "
                                           "a device"));
}

absl::StatusOr<Named> ReadNamed(std::string_view text, std::span<const PlacedDevice> devices,
                                const CpuSet& allowed) {
  Named named;
  while (!text.empty()) {
    const size_t end = std::min(text.find(';'), text.size());
    const std::string_view entry = Trim(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
    const size_t equals = entry.find('=');
    if (equals == std::string_view::npos) {
      return absl::InvalidArgumentError(
          StrCat("placement.cpus: \"", Escaped(entry), "\" must be NAME=PROCESSORS"));
    }
    const std::string_view name = Trim(entry.substr(0, equals));
    RETURN_IF_ERROR(CheckName(name, devices));
    const absl::StatusOr<CpuSet> cpus = CpuSet::Parse(Trim(entry.substr(equals + 1)));
    if (!cpus.ok() || cpus->empty()) {
      return absl::InvalidArgumentError(
          StrCat("placement.cpus: ", name, ": ",
                 cpus.ok() ? "no processors are named" : std::string(cpus.status().message())));
    }
    if (!allowed.Contains(*cpus)) {
      return absl::InvalidArgumentError(
          StrCat("placement.cpus: ", name, ": processors ", (*cpus - allowed).ToString(),
                 " are not among those that this process may use, ", allowed.ToString()));
    }
    if (!named.emplace(name, *cpus).second) {
      return absl::InvalidArgumentError(StrCat("placement.cpus names ", name, " twice"));
    }
  }
  return named;
}

// A device's own name goes before its platform's.
std::optional<CpuSet> NamedFor(const Named& named, const PlacedDevice& device) {
  auto found = named.find(device.name);
  if (found == named.end()) found = named.find(Name(device.platform));
  if (found == named.end()) return std::nullopt;
  return found->second;
}

// Of each node the part of `cpus` that is there.
std::vector<CpuSet> ByNode(const Topology& topology, const CpuSet& cpus) {
  std::vector<CpuSet> groups;
  for (const TopologyNode& node : topology.nodes) {
    CpuSet part = node.cpus() & cpus;
    if (!part.empty()) groups.push_back(std::move(part));
  }
  return groups;
}

std::vector<int> NodesOf(const Topology& topology, const PlacedDevice& device) {
  if (device.platform == Platform::kCpu || !device.present) return {};
  if (device.numa_node >= 0) {
    return topology.Node(device.numa_node) == nullptr ? std::vector<int>()
                                                      : std::vector{device.numa_node};
  }
  const TopologyPciDevice* const found =
      device.pci_address.empty() ? nullptr : topology.Device(device.pci_address);
  return found == nullptr ? std::vector<int>() : found->nodes;
}

// Up to `count` cores of these nodes that are free, from the end; each node keeps one.
CpuSet TakeCores(const Topology& topology, std::span<const int> nodes, int64_t count,
                 CpuSet& free) {
  CpuSet taken;
  for (const int number : nodes) {
    const std::vector<CpuSet>& cores = topology.Node(number)->cores;
    auto left =
        std::ranges::count_if(cores, [&](const CpuSet& core) { return free.Contains(core); });
    for (size_t i = cores.size(); i-- > 0 && count > 0 && left > 1;) {
      if (!free.Contains(cores[i])) continue;
      taken = taken | cores[i];
      free = free - cores[i];
      --count;
      --left;
    }
  }
  return taken;
}

CpuSet CpusNear(const Topology& topology, std::span<const int> nodes) {
  CpuSet near;
  for (const int number : nodes) near = near | topology.Node(number)->cpus();
  return near;
}

void FindPairs(std::span<const PlacedDevice> devices, PlacementPlan& plan) {
  const size_t count = devices.size();
  plan.paired.assign(count, std::vector<bool>(count));
  for (size_t a = 0; a < count; ++a) {
    for (size_t b = 0; b < count; ++b) {
      const std::vector<int>& packages = plan.executors[b].packages;
      plan.paired[a][b] = devices[a].platform != devices[b].platform &&
                          std::ranges::any_of(plan.executors[a].packages, [&](int package) {
                            return std::ranges::find(packages, package) != packages.end();
                          });
    }
  }
}

}  // namespace

bool PlacementPlan::Paired(int a, int b) const {
  return !paired.empty() && paired[static_cast<size_t>(a)][static_cast<size_t>(b)];
}

bool PlacementPlan::HasPair(int device) const {
  return !paired.empty() && std::ranges::find(paired[static_cast<size_t>(device)], true) !=
                                paired[static_cast<size_t>(device)].end();
}

std::vector<std::string> PlacementPlan::Lines(std::span<const PlacedDevice> devices) const {
  std::vector<std::string> lines;
  for (size_t i = 0; i < executors.size(); ++i) {
    const ExecutorPlacement& placed = executors[i];
    if (placed.threads.anywhere()) continue;
    std::string line = StrCat(devices[i].name, ": processors ", placed.threads.cpus().ToString());
    for (const int node : placed.nodes) absl::StrAppend(&line, ", near NUMA node ", node);
    for (size_t other = 0; other < executors.size(); ++other) {
      if (Paired(static_cast<int>(i), static_cast<int>(other))) {
        absl::StrAppend(&line, ", on one package with ", devices[other].name);
      }
    }
    lines.push_back(std::move(line));
  }
  if (!application.empty()) {
    lines.push_back(StrCat("all other threads: processors ", application.ToString()));
  }
  return lines;
}

absl::StatusOr<PlacementPlan> PlanPlacement(const Topology& topology,
                                            const ThreadPlacementOptions& options,
                                            std::span<const PlacedDevice> devices) {
  PlacementPlan plan;
  plan.executors.resize(devices.size());
  if (options.mode == "off") {
    if (!options.cpus.empty()) {
      return absl::InvalidArgumentError("placement.cpus is set, but placement.mode is off");
    }
    plan.nothing = "placement.mode is off";
    return plan;
  }
  const CpuSet allowed = topology.cpus();
  ASSIGN_OR_RETURN(const Named named, ReadNamed(options.cpus, devices, allowed));
  for (size_t i = 0; i < devices.size(); ++i) {
    ExecutorPlacement& placed = plan.executors[i];
    placed.nodes = NodesOf(topology, devices[i]);
    for (const int number : placed.nodes) placed.packages.push_back(topology.Node(number)->package);
  }
  FindPairs(devices, plan);
  const bool several = topology.nodes.size() > 1;
  if (!several && named.empty()) {
    plan.nothing = StrCat("with ", topology.ToString(), " every core is as near to each device");
    return plan;
  }
  plan.nothing.clear();

  CpuSet free = allowed;  // less what some device has for itself
  for (const PlacedDevice& device : devices) {
    if (IsAccelerator(device)) free = free - NamedFor(named, device).value_or(CpuSet());
  }
  for (size_t i = 0; i < devices.size(); ++i) {
    if (!IsAccelerator(devices[i])) continue;
    ExecutorPlacement& placed = plan.executors[i];
    CpuSet cpus = NamedFor(named, devices[i]).value_or(CpuSet());
    if (cpus.empty() && several) {
      cpus = TakeCores(topology, placed.nodes, options.device_cores, free);
      if (cpus.empty()) cpus = CpusNear(topology, placed.nodes);
    }
    // One group: its threads are few, and each may use any of its cores.
    if (!cpus.empty()) placed.threads = ThreadPlacement({std::move(cpus)});
  }
  if (free.empty()) free = allowed;  // named away altogether: they share

  const auto application = named.find(kApplication);
  if (application != named.end()) plan.application = application->second;
  for (size_t i = 0; i < devices.size(); ++i) {
    if (devices[i].platform != Platform::kCpu) continue;
    CpuSet cpus = NamedFor(named, devices[i]).value_or(free - plan.application);
    if (cpus.empty()) cpus = free;
    const bool gains = several || NamedFor(named, devices[i]) || cpus != allowed;
    if (gains) plan.executors[i].threads = ThreadPlacement(ByNode(topology, cpus));
  }
  if (plan.application.empty() && free != allowed) plan.application = free;
  return plan;
}

}  // namespace baton
