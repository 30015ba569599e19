#pragma once

#include "fpga_kernels/decode_args.h"
#include "fpga_kernels/hls/stream.h"

namespace baton {
namespace fpga {

// Reads a model's program and hands each command to the units that have a part in it, in order, as
// fast as they take them: so one run is one token, and banks fetch weights while the vector unit is
// still busy with what comes before. Closes with kOpEnd to all, whatever the program says.
extern "C" void sequencer(const DecodeCommand* program, uint32_t command_count, uint32_t position,
                          Stream<DecodeCommand>& to_vector, Stream<DecodeCommand>& to_banks,
                          Stream<DecodeCommand>& to_kv);

}  // namespace fpga
}  // namespace baton
