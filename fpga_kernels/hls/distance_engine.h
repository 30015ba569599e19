#pragma once

#include "fpga_kernels/hls/beat.h"
#include "fpga_kernels/hls/stream.h"
#include "fpga_kernels/hls/top_list.h"
#include "fpga_kernels/search_args.h"

namespace baton {
namespace fpga {

// 64 multipliers, a beat of a code each cycle, and the cells that keep the best; see
// fpga_kernels/search_args.h for what comes in and goes out. fpga_kernels/rtl/distance_engine.sv
// has the same ports.
extern "C" void distance_engine(Stream<Beat>& in, Stream<CodeLabel>& labels, Stream<Scored>& out);

}  // namespace fpga
}  // namespace baton
