#pragma once

#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/base/thread_placement.h"
#include "engine/placement/placement_options.h"
#include "engine/placement/topology.h"
#include "engine/request/work.h"

namespace baton {

// A device whose executor has threads to place.
struct PlacedDevice {
  Platform platform = Platform::kCpu;
  std::string name;
  bool present = true;
  bool works = true;             // it takes work, and has threads for it
  std::string pci_address = {};  // empty: it does not tell, or sits on no PCI bus
  int numa_node = -1;            // where its place is known by other means
};

struct ExecutorPlacement {
  ThreadPlacement threads;         // anywhere: nothing is known, or nothing gained
  std::vector<int> nodes = {};     // NUMA nodes that the device is near; empty: not known
  std::vector<int> packages = {};  // of these
};

// Where threads run. The default: wherever the system puts them.
struct PlacementPlan {
  // Why no thread is bound; empty: some are.
  std::string nothing = "it was not asked for";
  std::vector<ExecutorPlacement> executors = {};  // one per device, in their order
  CpuSet application = {};                        // of all other threads; empty: anywhere

  // Whether two devices, by index, are accelerators on one package: copies between them cross no
  // link between packages.
  bool Paired(int a, int b) const;
  bool HasPair(int device) const;
  // For the log, a line for each device that is bound.
  std::vector<std::string> Lines(std::span<const PlacedDevice> devices) const;

  std::vector<std::vector<bool>> paired = {};  // [devices][devices], symmetric
};

// Decides where threads run. Pure.
//
// A GPU or FPGA whose NUMA node is known, by itself or by its PCI address, has `device_cores` cores
// of that node for its threads alone, the node's last ones that nobody has; at least one core of
// each node is left to the others. Where there are too few, or device_cores is 0, its threads share
// the node's cores. The CPU executor's threads and the application's share what is left: the
// former are spread over the nodes and each stays on one, the latter run anywhere on it. So a
// segment build may use what an idle executor leaves. What `cpus` names is taken as it is;
// processors that it gives to the application are not the CPU executor's, unless it names these,
// too.
//
// With one NUMA node every core is as near to each device, and nothing is bound but what `cpus`
// names. INVALID_ARGUMENT: `cpus` cannot be read, names what there is not, or processors that the
// topology lacks. The message names the key.
absl::StatusOr<PlacementPlan> PlanPlacement(const Topology& topology,
                                            const ThreadPlacementOptions& options,
                                            std::span<const PlacedDevice> devices);

}  // namespace baton
