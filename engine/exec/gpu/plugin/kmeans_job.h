#pragma once

#include "engine/exec/executor_abi.h"
#include "engine/exec/gpu/plugin/device.h"

namespace baton::gpu {

// baton_executor_plugin::kmeans (cuda_kernels/kmeans.h). On a stream and in memory of its own,
// which are given back in the end. Thread safe; blocks.
Fault RunKmeans(Device& device, const baton_kmeans_job& job);

}  // namespace baton::gpu
