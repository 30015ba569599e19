#include "fpga_kernels/hls/sequencer.h"

namespace baton {
namespace fpga {

extern "C" void sequencer(const DecodeCommand* program, const SamplerArgs* sampling,
                          SamplerResult* result, uint32_t command_count, uint32_t position,
                          uint32_t embedding_at, uint32_t table_at, uint32_t ends,
                          Stream<DecodeCommand>& to_vector, Stream<DecodeCommand>& to_banks,
                          Stream<DecodeCommand>& to_kv, Stream<SamplerArgs>& to_sampler,
                          Stream<SamplerResult>& from_sampler) {
#pragma HLS interface m_axi port = program bundle = program max_widen_bitwidth = 512
#pragma HLS interface m_axi port = sampling bundle = program
#pragma HLS interface m_axi port = result bundle = program
#pragma HLS interface s_axilite port = command_count
#pragma HLS interface s_axilite port = position
#pragma HLS interface s_axilite port = embedding_at
#pragma HLS interface s_axilite port = table_at
#pragma HLS interface s_axilite port = ends
#pragma HLS interface axis port = to_vector
#pragma HLS interface axis port = to_banks
#pragma HLS interface axis port = to_kv
#pragma HLS interface axis port = to_sampler
#pragma HLS interface axis port = from_sampler
  if (command_count != 0) to_sampler.write(sampling[0]);
  for (uint32_t i = 0; i < command_count; ++i) {
    DecodeCommand command = program[i];
    if (command.op == kOpEnd) break;
    command.position = position;
    command.embedding_at = embedding_at;
    command.table_at = table_at;
    to_vector.write(command);
    if (command.op == kOpGemv) to_banks.write(command);
    if (command.op == kOpAttend) to_kv.write(command);
  }
  if (command_count != 0) result[0] = from_sampler.read();
  if (ends != 0) {
    const DecodeCommand end = DecodeCommand();
    to_vector.write(end);
    to_banks.write(end);
    to_kv.write(end);
    to_sampler.write(SamplerArgs());
  }
}

}  // namespace fpga
}  // namespace baton
