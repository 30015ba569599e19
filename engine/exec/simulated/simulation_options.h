#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "engine/request/work.h"
#include "engine/transfer/memory_space.h"

namespace baton {

// A knot of a piecewise linear curve: at `x`, `us` microseconds.
struct CurvePoint {
  double x = 0;
  double us = 0;
};

// How long a batch takes: the sum of the parts. `items` are tokens of a prefill, tokens fed by a
// decode, queries, texts or points; `context` is what lies behind one item: positions before a
// token, points of a collection, bytes of a text, clusters.
struct CurveOptions {
  double fixed_us = 0;
  double per_item_us = 0;
  double per_context_us = 0;               // for each item and each unit of its context
  std::vector<CurvePoint> points;          // over items, x strictly ascending
  std::vector<CurvePoint> context_points;  // over context, likewise
};

// kFail: batches fail. kHang: nothing completes. kSlow: batches take `factor` as long. kLose: what
// runs fails, new work is refused, memory is forgotten. kRecover: all of that is over.
enum class SimulatedFault : uint8_t { kFail, kHang, kSlow, kLose, kRecover };

// A line of a failure script: from a time after the start, or with the Nth batch or copy, on.
struct FaultStep {
  std::optional<double> at_s = {};
  std::optional<int64_t> at_batch = {};  // from 1
  SimulatedFault fault = SimulatedFault::kFail;
  double factor = 1;  // of kSlow
};

struct SimulatedDeviceOptions {
  std::string name;
  Platform platform = Platform::kGpu;
  MemorySpace space;  // where its KV blocks are; host: of a CPU
  std::array<std::optional<CurveOptions>, kWorkClassCount> latency = {};  // by work class
  double noise_sigma = 0;  // times are multiplied by exp(sigma * a normal deviate)
  uint64_t seed = 1;
  int32_t numa_node = -1;    // that it is near; -1: not told
  int64_t memory_bytes = 0;  // 0: as much as models ask for
  double power_idle_w = 0;
  double power_max_w = 0;
  int64_t queue_batches = 64;  // of each skill, waiting or running
  int32_t search_lanes = 1;    // searches that run beside each other
  bool exclusive = false;      // one batch at a time, of whatever skill
  std::vector<FaultStep> faults = {};
};

// A way for copies from one memory space to another.
struct SimulatedPathOptions {
  std::string name;
  MemorySpace from;
  MemorySpace to;
  double gb_per_s = 0;
  double latency_us = 0;
  std::vector<FaultStep> faults = {};
};

// A node of devices that are not there.
struct SimulationOptions {
  std::vector<SimulatedDeviceOptions> devices;
  std::vector<SimulatedPathOptions> paths;  // one direction each
  // Which state of a prefill between daemons is to be the last that this one reaches: then it says
  // and hears nothing of its peers any more. Empty: none.
  std::string peer_hold_at = {};
};

}  // namespace baton
