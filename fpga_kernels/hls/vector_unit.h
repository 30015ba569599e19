#pragma once

#include "fpga_kernels/decode_args.h"
#include "fpga_kernels/hls/beat.h"
#include "fpga_kernels/hls/stream.h"

namespace baton {
namespace fpga {

// Holds the residual stream and whatever is not a matrix or attention: norms, RoPE, SwiGLU, and the
// numbers that banks and kv units get and give. `vectors`: norm weights, biases and RoPE tables,
// int32; `embeddings`: of tokens under way, Q16, where commands say. Ends with kOpEnd, `logits`
// [rows] come as each kToLogits matrix is done. `x` and `sums` are the banks' chain, `heads` and
// `partials` the kv units'.
extern "C" void vector_unit(const int32_t* vectors, const int32_t* embeddings,
                            Stream<DecodeCommand>& commands, Stream<Beat>& x, Stream<int64_t>& sums,
                            Stream<Beat>& heads, Stream<Beat>& partials, Stream<int32_t>& logits);

}  // namespace fpga
}  // namespace baton
