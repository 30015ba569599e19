// Linked instead of hwloc_topology.cc where the build found no hwloc.
#include "engine/placement/topology.h"

namespace baton {
namespace {

absl::Status Absent() {
  return absl::UnimplementedError("this build has no hwloc (libhwloc-dev) to read the topology by");
}

}  // namespace

absl::StatusOr<Topology> ReadTopology() { return Absent(); }
absl::StatusOr<Topology> SyntheticTopology(const std::string&) { return Absent(); }
absl::StatusOr<Topology> XmlTopology(const std::string&) { return Absent(); }

}  // namespace baton
