#pragma once

#include "engine/exec/executor_abi.h"
#include "engine/exec/gpu/plugin/device.h"

namespace baton::gpu {

// baton_executor_plugin::graph_links: exact search for each node's nearest ones, on tensor cores,
// then two prunings (cuda_kernels/graph_links.h). On a stream and in memory of its own, which are
// given back in the end. Thread safe; blocks.
Fault LinkGraph(Device& device, const baton_graph_job& job);

}  // namespace baton::gpu
