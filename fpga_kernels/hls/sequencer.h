#pragma once

#include "fpga_kernels/decode_args.h"
#include "fpga_kernels/hls/stream.h"
#include "fpga_kernels/sampler_args.h"

namespace baton {
namespace fpga {

// Reads a model's program and hands each command to the units that have a part in it, in order, as
// fast as they take them: banks fetch weights while the vector unit is still busy with what comes
// before. Ends when the sampler's answer is in `result`: one run is one token. `ends`: 1: then the
// other units' runs end, too; with no commands that is all it does, and neither `sampling` nor
// `result` is touched.
extern "C" void sequencer(const DecodeCommand* program, const SamplerArgs* sampling,
                          SamplerResult* result, uint32_t command_count, uint32_t position,
                          uint32_t embedding_at, uint32_t table_at, uint32_t ends,
                          Stream<DecodeCommand>& to_vector, Stream<DecodeCommand>& to_banks,
                          Stream<DecodeCommand>& to_kv, Stream<SamplerArgs>& to_sampler,
                          Stream<SamplerResult>& from_sampler);

}  // namespace fpga
}  // namespace baton
