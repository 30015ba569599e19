#pragma once

#include "fpga_kernels/gemv_args.h"
#include "fpga_kernels/hls/beat.h"
#include "fpga_kernels/hls/stream.h"

namespace baton {
namespace fpga {

// 64 multipliers and what adds up their products, one block of weights a cycle; see
// fpga_kernels/gemv_args.h for what comes in and goes out. fpga_kernels/rtl/gemv_lane.sv has the
// same ports. Source of the block-scaled dot product: GGUF's Q8_0, with integer scales.
extern "C" void gemv_lane(Stream<Beat>& in, Stream<int64_t>& out);

}  // namespace fpga
}  // namespace baton
