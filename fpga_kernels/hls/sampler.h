#pragma once

#include "fpga_kernels/hls/stream.h"
#include "fpga_kernels/sampler_args.h"

namespace baton {
namespace fpga {

// Chooses a token of logits, Q16, as they come. top_k keeps the best; top_p of these the fewest
// that reach this share of the probability; of what is kept, `random` says which. A result
// for each args, until one has no vocabulary.
extern "C" void sampler(int32_t* logits_out, Stream<SamplerArgs>& args, Stream<int32_t>& logits,
                        Stream<SamplerResult>& results);

}  // namespace fpga
}  // namespace baton
