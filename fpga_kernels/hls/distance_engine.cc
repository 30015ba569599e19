#include "fpga_kernels/hls/distance_engine.h"

namespace baton {
namespace fpga {

extern "C" void distance_engine(Stream<Beat>& in, Stream<CodeLabel>& labels, Stream<Scored>& out) {
#pragma HLS interface axis port = in
#pragma HLS interface axis port = labels
#pragma HLS interface axis port = out
#pragma HLS interface ap_ctrl_none port = return
  Beat query[kSearchBeatsMax];
#pragma HLS aggregate variable = query
  TopList<kSearchKept> best;
#pragma HLS array_partition variable = best.cells complete
  for (;;) {
    const Beat header = in.read();
    const uint32_t count = GetU32(header, 0);
    const uint32_t beats = GetU32(header, 1);
    const uint32_t kept = GetU32(header, 2);
    const uint32_t shift = GetU32(header, 3);
    const uint32_t query_beats = GetU32(header, 4);
    if (beats == 0 || beats > kSearchBeatsMax) return;
    for (uint32_t beat = 0; beat < query_beats; ++beat) {
#pragma HLS pipeline II = 1
      query[beat] = in.read();
    }
    Clear(best);
    for (uint32_t i = 0; i < count; ++i) {
      int32_t product = 0;
      for (uint32_t beat = 0; beat < beats; ++beat) {
#pragma HLS pipeline II = 1
        const Beat code = in.read();
        for (int lane = 0; lane < kBeatBytes; ++lane) {
#pragma HLS unroll
          product += GetI8(code, lane) * GetI8(query[beat], lane);
        }
      }
      const CodeLabel label = labels.read();
      Scored item;
      item.score = product * (1 << shift) + label.bias;
      item.id = label.id;
      if (kept == 0) {
        out.write(item);
      } else {
        Insert(best, static_cast<int>(kept), item);
      }
    }
    for (uint32_t i = 0; i < kept; ++i) {
#pragma HLS pipeline II = 1
      out.write(best.cells[i]);
    }
  }
}

}  // namespace fpga
}  // namespace baton
