#pragma once

#include <cstdint>

#include "engine/exec/executor_abi.h"
#include "fpga_kernels/sampler_args.h"

namespace baton::fpga {

// How the card's sampler is told what a text's sampling asks for; null: greedy. One number is drawn
// of *random_state, which moves on by it, where chance has a part.
SamplerArgs SamplerArgsFor(const baton_sampling* sampling, uint32_t vocabulary,
                           uint64_t* random_state);

}  // namespace baton::fpga
