#include "fpga_kernels/hls/gemv_lane.h"

namespace baton {
namespace fpga {
namespace {

int32_t BlockProduct(const Beat& weights, const Beat& low, const Beat& high) {
#pragma HLS inline
  int32_t sum = 0;
  for (int i = 0; i < kGemvXPerBeat; ++i) {
#pragma HLS unroll
    sum += GetI8(weights, i) * GetI16(low, i);
    sum += GetI8(weights, kGemvXPerBeat + i) * GetI16(high, i);
  }
  return sum;
}

}  // namespace

extern "C" void gemv_lane(Stream<Beat>& in, Stream<int64_t>& out) {
#pragma HLS interface axis port = in
#pragma HLS interface axis port = out
#pragma HLS interface ap_ctrl_none port = return
  Beat x_low[kGemvBlocksMax];
  Beat x_high[kGemvBlocksMax];
#pragma HLS aggregate variable = x_low
#pragma HLS aggregate variable = x_high
  for (;;) {
    const Beat header = in.read();
    const uint32_t rows = GetU32(header, 0);
    const uint32_t blocks = GetU32(header, 1);
    if (blocks == 0 || blocks > kGemvBlocksMax) return;
    for (uint32_t block = 0; block < blocks; ++block) {
#pragma HLS pipeline II = 2
      x_low[block] = in.read();
      x_high[block] = in.read();
    }
    Beat scales = Beat();
    int tile_block = 0;
    for (uint32_t row = 0; row < rows; ++row) {
      int64_t sum = 0;
      for (uint32_t block = 0; block < blocks; ++block) {
#pragma HLS pipeline II = 1
        if (tile_block == 0) scales = in.read();
        const uint16_t scale = GetU16(scales, tile_block);
        tile_block = (tile_block + 1) % kGemvTileBlocks;
        const int64_t product = BlockProduct(in.read(), x_low[block], x_high[block]);
        const int64_t mantissa = scale & ((1 << kGemvScaleMantissaBits) - 1);
        sum += product * mantissa * (int64_t{1} << (scale >> kGemvScaleMantissaBits));
      }
      out.write(sum);
    }
  }
}

}  // namespace fpga
}  // namespace baton
