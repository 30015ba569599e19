#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "tests/support/routing_simulation.h"

namespace baton {

// A trace and the devices it is played on, of tests/bench/traces/.
struct RoutingCase {
  SimulationOptions node;
  RoutingTrace trace;
};
absl::StatusOr<RoutingCase> ReadRoutingCase(const std::string& trace, const std::string& node);

// How a node is run that has them all and learns.
RoutingRun HybridRun(double seconds);
// By rules alone: single searches go to the FPGA, all else to the GPU.
RoutingRun StaticRun(double seconds);

// The highest rate of one platform alone, by the batching that suits it best.
double HighestRateAlone(const RoutingCase& of, Platform platform, double seconds);

// Seconds from the drift of adapt.trace until the slow device's share of the searches of the next
// second is what it will be in the end, within a tenth; as many as are left of the trace where its
// share does not even fall by half.
double SecondsToAdapt(const RoutingCase& of, double per_second, uint64_t seed);

}  // namespace baton
