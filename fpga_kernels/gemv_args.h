#pragma once

// How weights lie in a bank, and what a GEMV lane is told: the contract of host, `gemv_bank` and
// both forms of the lane, fpga_kernels/hls/gemv_lane.cc and fpga_kernels/rtl/gemv_lane.sv.
//
// Row r of a matrix [rows, cols] lies in bank r % banks, so that all banks work and their sums come
// back in turn. Each row is `blocks` = ceil(cols / 64) blocks of 64 int8, padded with zeros, with
// one scale each. A bank's blocks, row behind row, lie in tiles:
//   tile  1 beat of 32 u16 scales, then 32 beats of one block each; the last tile may be cut short
// so a whole matrix is one burst, with 1 byte of scales to 32 of weights.

#include <stdint.h>

namespace baton {
namespace fpga {

constexpr int kGemvLanes = 64;       // weights of a block: one beat
constexpr int kGemvTileBlocks = 32;  // scales of a beat
constexpr int kGemvBlocksMax = 512;  // of a row: 32768 columns
constexpr int kGemvXPerBeat = 32;    // int16

// A scale stands for (bits & 8191) * 2^(bits >> 13), times a power of two that the matrix has in
// common: 13 bits of precision over 20 bits of range. Sums are exact in 64 bits: 64 products of 22
// bits, a scale of 20 bits and 512 blocks make 57.
constexpr int kGemvScaleMantissaBits = 13;

// A row's sum: over its blocks, scale * (sum over 64 of weight * x), x int16. The caller knows
// which power of two to multiply it by.

// What a lane reads, in beats: a header (u32 rows, u32 blocks), 2 * blocks beats of x, then the
// tiles of rows * blocks blocks. It gives one int64 for each row. The C model ends where blocks is
// 0; the hardware waits for the next header instead.
constexpr uint64_t GemvScaleBeats(uint64_t blocks) {
  return (blocks + kGemvTileBlocks - 1) / kGemvTileBlocks;
}
constexpr uint64_t GemvBankBeats(uint64_t rows, uint64_t blocks) {
  return rows * blocks + GemvScaleBeats(rows * blocks);
}
// Rows of a matrix that lie in bank `index` of `banks`.
constexpr uint32_t GemvBankRows(uint32_t rows, uint32_t index, uint32_t banks) {
  return rows > index ? (rows - index + banks - 1) / banks : 0;
}

static_assert(GemvBankBeats(1, 32) == 33 && GemvBankBeats(1, 33) == 35, "one scale beat a tile");

}  // namespace fpga
}  // namespace baton
