#include "engine/placement/topology.h"

#include <algorithm>
#include <cctype>
#include <set>

#include "engine/base/strings.h"

namespace baton {

CpuSet TopologyNode::cpus() const {
  CpuSet all;
  for (const CpuSet& core : cores) all = all | core;
  return all;
}

CpuSet Topology::cpus() const {
  CpuSet all;
  for (const TopologyNode& node : nodes) all = all | node.cpus();
  return all;
}

const TopologyNode* Topology::Node(int number) const {
  const auto found = std::ranges::find(nodes, number, &TopologyNode::number);
  return found == nodes.end() ? nullptr : &*found;
}

const TopologyPciDevice* Topology::Device(std::string_view address) const {
  const auto found = std::ranges::find(devices, PciAddress(address), &TopologyPciDevice::address);
  return found == devices.end() ? nullptr : &*found;
}

std::string Topology::ToString() const {
  std::set<int> packages;
  size_t cores = 0;
  for (const TopologyNode& node : nodes) {
    packages.insert(node.package);
    cores += node.cores.size();
  }
  const auto count = [](size_t n, const char* what) {
    return StrCat(n, " ", what, n == 1 ? "" : "s");
  };
  return StrCat(count(packages.size(), "package"), ", ", count(nodes.size(), "NUMA node"), ", ",
                count(cores, "core"), ", ", count(cpus().cpus().size(), "processor"));
}

Topology FlatTopology(const CpuSet& cpus) {
  Topology flat;
  if (cpus.empty()) return flat;
  TopologyNode& node = flat.nodes.emplace_back();
  for (const int cpu : cpus.cpus()) node.cores.push_back(CpuSet({cpu}));
  return flat;
}

std::string PciAddress(std::string_view text) {
  std::string address(text);
  for (char& c : address) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return std::ranges::count(address, ':') == 1 ? StrCat("0000:", address) : address;
}

}  // namespace baton
