#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/base/cpu_set.h"

namespace baton {

// A NUMA node with processors. Memory without any, as of a CXL expander, is none here.
struct TopologyNode {
  int number = 0;                  // the operating system's
  int package = 0;                 // socket, counted from 0
  std::vector<CpuSet> cores = {};  // the hardware threads of each, at least one

  CpuSet cpus() const;
};

struct TopologyPciDevice {
  std::string address;     // "0000:3b:00.0", as PciAddress gives it
  std::vector<int> nodes;  // numbers of the NUMA nodes that are as near as any; empty: not known
};

// What of a machine decides where threads should run: processors that this process may use, and
// what they are near to.
struct Topology {
  std::vector<TopologyNode> nodes;  // by number; those where it may use a core
  std::vector<TopologyPciDevice> devices;

  CpuSet cpus() const;
  const TopologyNode* Node(int number) const;  // null: there is none
  const TopologyPciDevice* Device(std::string_view address) const;
  // "2 packages, 2 NUMA nodes, 32 cores, 64 processors"
  std::string ToString() const;
};

// One node of these processors, a core each: what is known of a machine that tells nothing.
Topology FlatTopology(const CpuSet& cpus);

// The one way to write a PCI address: lower case, domain first; of "3B:00.0" "0000:3b:00.0". Other
// texts come back as they are.
std::string PciAddress(std::string_view text);

// ---- By hwloc (https://www.open-mpi.org/projects/hwloc). Where the build has none, each is
// UNIMPLEMENTED and says so.

// This machine, as far as the calling thread may use it. INTERNAL: the system cannot be read.
absl::StatusOr<Topology> ReadTopology();
// A machine of hwloc's synthetic description, such as "package:2 numanode:1 core:8 pu:2".
// INVALID_ARGUMENT: it is none.
absl::StatusOr<Topology> SyntheticTopology(const std::string& description);
// A machine that lstopo has exported. INVALID_ARGUMENT: the text is none.
absl::StatusOr<Topology> XmlTopology(const std::string& xml);

}  // namespace baton
