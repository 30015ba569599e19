#include "fpga_kernels/hls/gemv_bank.h"

namespace baton {
namespace fpga {
namespace {

uint32_t Blocks(const DecodeCommand& command) {
  return (command.cols + kGemvLanes - 1) / kGemvLanes;
}

// Weights come from here ahead of their x, by the depth of `weights`.
void Fetch(const Beat* bank, uint32_t index, uint32_t units, Stream<DecodeCommand>& commands_in,
           Stream<DecodeCommand>& commands_out, Stream<DecodeCommand>& to_feed,
           Stream<DecodeCommand>& to_collect, Stream<Beat>& weights) {
  for (;;) {
    const DecodeCommand command = commands_in.read();
    if (index + 1 < units) commands_out.write(command);
    to_feed.write(command);
    to_collect.write(command);
    if (command.op == kOpEnd) return;
    const uint64_t beats = GemvBankBeats(GemvBankRows(command.rows, index, units), Blocks(command));
    for (uint64_t i = 0; i < beats; ++i) {
#pragma HLS pipeline II = 1
      weights.write(bank[command.bank_beat + i]);
    }
  }
}

void Feed(uint32_t index, uint32_t units, Stream<DecodeCommand>& commands, Stream<Beat>& x_in,
          Stream<Beat>& x_out, Stream<Beat>& weights, Stream<Beat>& lane) {
  for (;;) {
    const DecodeCommand command = commands.read();
    Beat header = Beat();
    if (command.op == kOpEnd) {
      lane.write(header);
      return;
    }
    const uint32_t rows = GemvBankRows(command.rows, index, units);
    const uint32_t blocks = Blocks(command);
    PutU32(header, 0, rows);
    PutU32(header, 1, blocks);
    lane.write(header);
    for (uint32_t i = 0; i < 2 * blocks; ++i) {
#pragma HLS pipeline II = 1
      const Beat x = x_in.read();
      if (index + 1 < units) x_out.write(x);
      lane.write(x);
    }
    const uint64_t beats = GemvBankBeats(rows, blocks);
    for (uint64_t i = 0; i < beats; ++i) {
#pragma HLS pipeline II = 1
      lane.write(weights.read());
    }
  }
}

void Collect(uint32_t index, uint32_t units, Stream<DecodeCommand>& commands, Stream<int64_t>& lane,
             Stream<int64_t>& sums_in, Stream<int64_t>& sums_out) {
  for (;;) {
    const DecodeCommand command = commands.read();
    if (command.op == kOpEnd) return;
    // Rows index, index + 1, ... of each group of `units`.
    for (uint32_t group = 0; group < command.rows; group += units) {
      for (uint32_t unit = index; unit < units; ++unit) {
#pragma HLS pipeline II = 1
        if (group + unit < command.rows) {
          sums_out.write(unit == index ? lane.read() : sums_in.read());
        }
      }
    }
  }
}

}  // namespace

extern "C" void gemv_bank(const Beat* bank, uint32_t index, uint32_t units,
                          Stream<DecodeCommand>& commands_in, Stream<DecodeCommand>& commands_out,
                          Stream<Beat>& x_in, Stream<Beat>& x_out, Stream<int64_t>& sums_in,
                          Stream<int64_t>& sums_out, Stream<Beat>& lane_out,
                          Stream<int64_t>& lane_in) {
#pragma HLS interface m_axi port = bank bundle = bank max_read_burst_length = \
    64 num_read_outstanding = 32 latency = 128
#pragma HLS interface s_axilite port = index
#pragma HLS interface s_axilite port = units
#pragma HLS interface axis port = commands_in
#pragma HLS interface axis port = commands_out
#pragma HLS interface axis port = x_in
#pragma HLS interface axis port = x_out
#pragma HLS interface axis port = sums_in
#pragma HLS interface axis port = sums_out
#pragma HLS interface axis port = lane_out
#pragma HLS interface axis port = lane_in
#pragma HLS dataflow
  Stream<DecodeCommand, 4> to_feed("gemv_bank.to_feed");
  Stream<DecodeCommand, 4> to_collect("gemv_bank.to_collect");
  Stream<Beat, 512> weights("gemv_bank.weights");
  BATON_DATAFLOW(region);
  BATON_PROCESS(region,
                Fetch(bank, index, units, commands_in, commands_out, to_feed, to_collect, weights));
  BATON_PROCESS(region, Feed(index, units, to_feed, x_in, x_out, weights, lane_out));
  BATON_PROCESS(region, Collect(index, units, to_collect, lane_in, sums_in, sums_out));
}

}  // namespace fpga
}  // namespace baton
