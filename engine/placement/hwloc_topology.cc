#include <hwloc.h>

#include <algorithm>
#include <cstdio>
#include <iterator>
#include <memory>
#include <utility>

#include "absl/functional/function_ref.h"
#include "engine/base/strings.h"
#include "engine/placement/topology.h"

namespace baton {
namespace {

struct Destroy {
  void operator()(hwloc_topology_t topology) const { hwloc_topology_destroy(topology); }
};
using TopologyPtr = std::unique_ptr<hwloc_topology, Destroy>;

CpuSet CpusOf(hwloc_const_bitmap_t bitmap) {
  std::vector<int> cpus;
  for (int cpu = hwloc_bitmap_first(bitmap); cpu >= 0 && cpu < CpuSet::kCpusMax;
       cpu = hwloc_bitmap_next(bitmap, cpu)) {
    cpus.push_back(cpu);
  }
  return CpuSet(std::move(cpus));
}

template <class Visit>
void ForEach(hwloc_topology_t topology, hwloc_obj_type_t type, Visit visit) {
  for (hwloc_obj_t object = hwloc_get_next_obj_by_type(topology, type, nullptr); object != nullptr;
       object = hwloc_get_next_obj_by_type(topology, type, object)) {
    visit(object);
  }
}

// Which package a NUMA node is of; that of its first processor, where it lies across several.
int PackageOf(hwloc_topology_t topology, hwloc_const_cpuset_t cpus) {
  int found = -1;
  ForEach(topology, HWLOC_OBJ_PACKAGE, [&](hwloc_obj_t package) {
    if (found < 0 && hwloc_bitmap_intersects(package->cpuset, cpus)) {
      found = static_cast<int>(package->logical_index);
    }
  });
  return std::max(found, 0);  // a machine that tells of no packages is one
}

Topology Translate(hwloc_topology_t topology) {
  Topology read;
  ForEach(topology, HWLOC_OBJ_NUMANODE, [&](hwloc_obj_t object) {
    TopologyNode node{.number = static_cast<int>(object->os_index),
                      .package = PackageOf(topology, object->cpuset)};
    const auto add = [&](hwloc_obj_t core) {
      const CpuSet cpus = CpusOf(core->cpuset) & CpusOf(object->cpuset);
      if (!cpus.empty()) node.cores.push_back(cpus);
    };
    ForEach(topology, HWLOC_OBJ_CORE, add);
    if (node.cores.empty()) ForEach(topology, HWLOC_OBJ_PU, add);
    if (!node.cores.empty()) read.nodes.push_back(std::move(node));
  });
  std::ranges::sort(read.nodes, {}, &TopologyNode::number);
  ForEach(topology, HWLOC_OBJ_PCI_DEVICE, [&](hwloc_obj_t object) {
    const auto& pci = object->attr->pcidev;
    char address[32];
    std::snprintf(address, sizeof(address), "%04x:%02x:%02x.%x", static_cast<unsigned>(pci.domain),
                  static_cast<unsigned>(pci.bus), static_cast<unsigned>(pci.dev),
                  static_cast<unsigned>(pci.func));
    TopologyPciDevice device{.address = address, .nodes = {}};
    const hwloc_obj_t near = hwloc_get_non_io_ancestor_obj(topology, object);
    // Below the whole machine, what it is near to was not told.
    const bool told = near != nullptr && near->type != HWLOC_OBJ_MACHINE;
    for (const TopologyNode& node : read.nodes) {
      if (told && !(node.cpus() & CpusOf(near->cpuset)).empty())
        device.nodes.push_back(node.number);
    }
    read.devices.push_back(std::move(device));
  });
  return read;
}

// `choose` says where the topology comes from; non-zero: it cannot.
absl::StatusOr<Topology> Load(absl::FunctionRef<int(hwloc_topology_t)> choose) {
  hwloc_topology_t raw = nullptr;
  if (hwloc_topology_init(&raw) != 0) return absl::InternalError("hwloc does not start");
  const TopologyPtr topology(raw);
  // Where devices are is read; those who offer them, CUDA or OpenCL, are not started for that.
  hwloc_topology_set_io_types_filter(raw, HWLOC_TYPE_FILTER_KEEP_NONE);
  hwloc_topology_set_type_filter(raw, HWLOC_OBJ_PCI_DEVICE, HWLOC_TYPE_FILTER_KEEP_ALL);
  if (choose(raw) != 0 || hwloc_topology_load(raw) != 0) {
    return absl::InvalidArgumentError("hwloc finds no topology there");
  }
  return Translate(raw);
}

}  // namespace

absl::StatusOr<Topology> ReadTopology() {
  absl::StatusOr<Topology> read = Load([](hwloc_topology_t) { return 0; });
  if (!read.ok()) return absl::InternalError("hwloc cannot read this machine's topology");
  // hwloc leaves out what the cgroup does not allow, but not what a taskset does.
  const CpuSet allowed = ThreadCpus();
  for (TopologyNode& node : read->nodes) {
    for (CpuSet& core : node.cores) core = core & allowed;
    std::erase_if(node.cores, [](const CpuSet& core) { return core.empty(); });
  }
  std::erase_if(read->nodes, [](const TopologyNode& node) { return node.cores.empty(); });
  return read;
}

absl::StatusOr<Topology> SyntheticTopology(const std::string& description) {
  return Load([&](hwloc_topology_t topology) {
    return hwloc_topology_set_synthetic(topology, description.c_str());
  });
}

absl::StatusOr<Topology> XmlTopology(const std::string& xml) {
  return Load([&](hwloc_topology_t topology) {
    // The size counts the NUL.
    return hwloc_topology_set_xmlbuffer(topology, xml.c_str(), static_cast<int>(xml.size()) + 1);
  });
}

}  // namespace baton
