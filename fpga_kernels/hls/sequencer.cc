#include "fpga_kernels/hls/sequencer.h"

namespace baton {
namespace fpga {

extern "C" void sequencer(const DecodeCommand* program, uint32_t command_count, uint32_t position,
                          Stream<DecodeCommand>& to_vector, Stream<DecodeCommand>& to_banks,
                          Stream<DecodeCommand>& to_kv) {
#pragma HLS interface m_axi port = program bundle = program max_widen_bitwidth = 512
#pragma HLS interface s_axilite port = command_count
#pragma HLS interface s_axilite port = position
#pragma HLS interface axis port = to_vector
#pragma HLS interface axis port = to_banks
#pragma HLS interface axis port = to_kv
  for (uint32_t i = 0; i < command_count; ++i) {
    DecodeCommand command = program[i];
    if (command.op == kOpEnd) break;
    command.position = position;
    to_vector.write(command);
    if (command.op == kOpGemv) to_banks.write(command);
    if (command.op == kOpAttend) to_kv.write(command);
  }
  const DecodeCommand end = DecodeCommand();
  to_vector.write(end);
  to_banks.write(end);
  to_kv.write(end);
}

}  // namespace fpga
}  // namespace baton
