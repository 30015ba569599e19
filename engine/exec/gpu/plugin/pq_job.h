#pragma once

#include "engine/exec/executor_abi.h"
#include "engine/exec/gpu/plugin/device.h"

namespace baton::gpu {

// baton_executor_plugin::pq_encode (cuda_kernels/pq_encode.h). On a stream and in memory of its
// own, which are given back in the end. Thread safe; blocks.
Fault EncodeRows(Device& device, const baton_pq_job& job);

}  // namespace baton::gpu
