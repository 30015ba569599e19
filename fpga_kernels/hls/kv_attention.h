#pragma once

#include "fpga_kernels/decode_args.h"
#include "fpga_kernels/hls/beat.h"
#include "fpga_kernels/hls/stream.h"
#include "fpga_kernels/kv_args.h"

namespace baton {
namespace fpga {

constexpr uint32_t kHeadQueriesPerBeat = 32;  // int16
constexpr uint32_t kHeadSumsPerBeat = 8;      // int64

// What `heads` brings for each kv head, in beats: this position's scales (f32 bits of the key's,
// then the value's), its key and its value (int8, padded to beats), then of each of its heads a
// header (int32 shift) and the query, int16 times 2^-shift, padded to beats. What `partials` gives
// for each head: a header (int64 top; int64 weight), and int64 sums [head_dim], padded to beats.
// Over the positions p of this unit and those behind it
//   weight = sum of 2^(score_p - top) in Q30, sums = sum of 2^(score_p - top) * value_p in Q28,
// score_p in units of log2(e), `top` a whole number that is at least the largest score: moving it
// is a shift. Without any position `top` is kNoTop and all else 0.
constexpr int64_t kNoTop = INT32_MIN;

// One of a chain of units, each with a bank of the cache: see fpga_kernels/kv_args.h. Writes this
// position's key and value where the block is its own, and attends to its blocks in order, with a
// running maximum (Milakov and Gimelshein, "Online normalizer calculation for softmax", 2018).
// `kv`: the bank, in beats.
// `blocks`: tables of sequences, that of a command at its table_at [positions / block_tokens,
// rounded up]: slots of this bank, or kKvElsewhere. Ends with kOpEnd.
extern "C" void kv_attention(Beat* kv, const uint32_t* blocks, uint32_t index, uint32_t units,
                             Stream<DecodeCommand>& commands_in,
                             Stream<DecodeCommand>& commands_out, Stream<Beat>& heads_in,
                             Stream<Beat>& heads_out, Stream<Beat>& partials_in,
                             Stream<Beat>& partials_out);

}  // namespace fpga
}  // namespace baton
