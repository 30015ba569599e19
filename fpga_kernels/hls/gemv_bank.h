#pragma once

#include "fpga_kernels/decode_args.h"
#include "fpga_kernels/gemv_args.h"
#include "fpga_kernels/hls/beat.h"
#include "fpga_kernels/hls/stream.h"

namespace baton {
namespace fpga {

// One port, one bank, one lane. Units form a chain, which a card's regions like better than a
// broadcast from one place: commands and x come from the unit in front and go to the one behind,
// sums the other way, one bank's row after the other's. Weights are fetched as soon as the command
// is there, before x is. Ends with kOpEnd. `bank`: beats, as gemv_args.h says.
extern "C" void gemv_bank(const Beat* bank, uint32_t index, uint32_t units,
                          Stream<DecodeCommand>& commands_in, Stream<DecodeCommand>& commands_out,
                          Stream<Beat>& x_in, Stream<Beat>& x_out, Stream<int64_t>& sums_in,
                          Stream<int64_t>& sums_out, Stream<Beat>& lane_out,
                          Stream<int64_t>& lane_in);

}  // namespace fpga
}  // namespace baton
