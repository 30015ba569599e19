#include "fpga_kernels/hls/vector_unit.h"

#include "fpga_kernels/gemv_args.h"
#include "fpga_kernels/hls/kv_attention.h"
#include "fpga_kernels/hls/vector_ops.h"

namespace baton {
namespace fpga {
namespace {

// What stands between two commands.
struct VectorMemory {
  int32_t residual[kDecodeDimMax];     // Q16
  int32_t scratch[2 * kDecodeFfnMax];  // Q16
  int32_t attended[kDecodeQkvMax];     // Q16
  int16_t activations[kDecodeFfnMax];
  int activation_shift;
};

void SendActivations(const VectorMemory& memory, uint32_t cols, Stream<Beat>& x) {
  const uint32_t beats = 2 * ((cols + kGemvLanes - 1) / kGemvLanes);
  for (uint32_t beat = 0; beat < beats; ++beat) {
#pragma HLS pipeline II = 1
    Beat values = Beat();
    for (uint32_t i = 0; i < kGemvXPerBeat; ++i) {
#pragma HLS unroll
      const uint32_t at = beat * kGemvXPerBeat + i;
      if (at < cols) PutI16(values, static_cast<int>(i), memory.activations[at]);
    }
    x.write(values);
  }
}

void Gemv(const DecodeCommand& command, const int32_t* vectors, VectorMemory& memory,
          Stream<Beat>& x, Stream<int64_t>& sums, Stream<int32_t>& logits) {
  SendActivations(memory, command.cols, x);
  const int shift = memory.activation_shift + command.weight_shift - kResidualFraction;
  for (uint32_t row = 0; row < command.rows; ++row) {
#pragma HLS pipeline II = 1
    const int64_t bias = command.bias_at == kNoVector ? 0 : vectors[command.bias_at + row];
    const int64_t value = ShiftRound(sums.read(), shift) + bias;
    if (command.destination == kToResidual) {
      memory.residual[row] = SaturateI32(Saturate(value, int64_t{1} << 40) + memory.residual[row]);
    } else if (command.destination == kToLogits) {
      logits.write(SaturateI32(value));
    } else {
      memory.scratch[row] = SaturateI32(value);
    }
  }
}

void SendHead(const int32_t* values, uint32_t head_dim, Stream<Beat>& heads) {
  int16_t packed[kDecodeHeadDimMax];
  Beat header = Beat();
  const int shift = PackActivations(values, head_dim, kResidualFraction, packed);
  PutU32(header, 0, static_cast<uint32_t>(shift));
  heads.write(header);
  for (uint32_t at = 0; at < head_dim; at += kHeadQueriesPerBeat) {
#pragma HLS pipeline II = 1
    Beat beat = Beat();
    for (uint32_t i = 0; i < kHeadQueriesPerBeat; ++i) {
#pragma HLS unroll
      if (at + i < head_dim) PutI16(beat, static_cast<int>(i), packed[at + i]);
    }
    heads.write(beat);
  }
}

void SendKv(const int8_t* codes, uint32_t head_dim, Stream<Beat>& heads) {
  for (uint32_t at = 0; at < head_dim; at += kBeatBytes) {
#pragma HLS pipeline II = 1
    Beat beat = Beat();
    for (uint32_t i = 0; i < kBeatBytes; ++i) {
#pragma HLS unroll
      if (at + i < head_dim) beat.bytes[i] = static_cast<uint8_t>(codes[at + i]);
    }
    heads.write(beat);
  }
}

void SendHeads(const DecodeCommand& command, const int32_t* vectors, int32_t* scratch,
               Stream<Beat>& heads) {
  const uint32_t group = command.heads / command.kv_heads;
  const int32_t* const turns =
      vectors + command.vector_at + static_cast<uint64_t>(command.position) * command.rope_dims;
  const bool halves = command.rope_halves != 0;
  int32_t* const queries = scratch;
  int32_t* const keys = queries + command.heads * command.head_dim;
  int32_t* const values = keys + command.kv_heads * command.head_dim;
  int8_t key_codes[kDecodeHeadDimMax];
  int8_t value_codes[kDecodeHeadDimMax];
  for (uint32_t kv_head = 0; kv_head < command.kv_heads; ++kv_head) {
    int32_t* const key = keys + kv_head * command.head_dim;
    Rope(key, turns, command.rope_dims, halves);
    Beat scales = Beat();
    PutU32(scales, 0, PackKv(key, command.head_dim, key_codes));
    PutU32(scales, 1, PackKv(values + kv_head * command.head_dim, command.head_dim, value_codes));
    heads.write(scales);
    SendKv(key_codes, command.head_dim, heads);
    SendKv(value_codes, command.head_dim, heads);
    for (uint32_t i = 0; i < group; ++i) {
      int32_t* const query = queries + (kv_head * group + i) * command.head_dim;
      Rope(query, turns, command.rope_dims, halves);
      SendHead(query, command.head_dim, heads);
    }
  }
}

// out [head_dim] Q16 = sums / weight, the numbers of kv_attention.h.
void ReceiveHead(uint32_t head_dim, Stream<Beat>& partials, int32_t* out) {
  const Beat header = partials.read();
  const uint64_t weight = static_cast<uint64_t>(GetI64(header, 1));  // Q30
  // 31 bits of it are enough, and sums then have 16 bits to spare.
  const int down = BitLength(weight) > 31 ? BitLength(weight) - 31 : 0;
  const int64_t divisor = static_cast<int64_t>(weight >> down);
  for (uint32_t at = 0; at < head_dim; at += kHeadSumsPerBeat) {
    const Beat beat = partials.read();
    for (uint32_t i = 0; i < kHeadSumsPerBeat; ++i) {
#pragma HLS pipeline II = 1
      if (at + i >= head_dim) continue;
      const int64_t sum = ShiftRound(GetI64(beat, static_cast<int>(i)), down);  // Q28
      const int64_t scaled = Saturate(sum, int64_t{1} << 45) * (1 << 17);
      out[at + i] = divisor < 2 ? 0 : SaturateI32(scaled / (divisor >> 1));
    }
  }
}

void ReceiveHeads(const DecodeCommand& command, Stream<Beat>& partials, int32_t* out) {
  for (uint32_t head = 0; head < command.heads; ++head) {
    ReceiveHead(command.head_dim, partials, out + head * command.head_dim);
  }
}

// Queries, keys and values go out while the heads that are done come back: neither waits for the
// other, however shallow the chain is.
void ExchangeHeads(const DecodeCommand& command, const int32_t* vectors, VectorMemory& memory,
                   Stream<Beat>& heads, Stream<Beat>& partials) {
#pragma HLS dataflow
  BATON_DATAFLOW(region);
  BATON_PROCESS(region, SendHeads(command, vectors, memory.scratch, heads));
  BATON_PROCESS(region, ReceiveHeads(command, partials, memory.attended));
}

void Attend(const DecodeCommand& command, const int32_t* vectors, VectorMemory& memory,
            Stream<Beat>& heads, Stream<Beat>& partials) {
  ExchangeHeads(command, vectors, memory, heads, partials);
  memory.activation_shift = PackActivations(memory.attended, command.heads * command.head_dim,
                                            kResidualFraction, memory.activations);
}

void Embed(const DecodeCommand& command, const int32_t* embeddings, VectorMemory& memory) {
  for (uint32_t i = 0; i < command.rows; ++i) {
#pragma HLS pipeline II = 1
#pragma HLS unroll factor = 8
    memory.residual[i] = embeddings[command.embedding_at + i];
  }
}

void Gate(uint32_t count, VectorMemory& memory) {
  for (uint32_t i = 0; i < count; ++i) {
#pragma HLS pipeline II = 1
#pragma HLS unroll factor = 8
    memory.scratch[i] = SwiGlu(memory.scratch[i], memory.scratch[count + i]);
  }
  memory.activation_shift =
      PackActivations(memory.scratch, count, kResidualFraction, memory.activations);
}

}  // namespace

extern "C" void vector_unit(const int32_t* vectors, const int32_t* embeddings,
                            Stream<DecodeCommand>& commands, Stream<Beat>& x, Stream<int64_t>& sums,
                            Stream<Beat>& heads, Stream<Beat>& partials, Stream<int32_t>& logits) {
#pragma HLS interface m_axi port = vectors bundle = vectors max_widen_bitwidth = 256
#pragma HLS interface m_axi port = embeddings bundle = vectors max_widen_bitwidth = 256
#pragma HLS interface axis port = commands
#pragma HLS interface axis port = x
#pragma HLS interface axis port = sums
#pragma HLS interface axis port = heads
#pragma HLS interface axis port = partials
#pragma HLS interface axis port = logits
  VectorMemory memory;
  memory.activation_shift = 0;
#pragma HLS array_partition variable = memory.residual cyclic factor = 8
#pragma HLS array_partition variable = memory.scratch cyclic factor = 8
#pragma HLS array_partition variable = memory.attended cyclic factor = 8
#pragma HLS array_partition variable = memory.activations cyclic factor = 32
#pragma HLS bind_storage variable = memory.residual type = ram_2p impl = uram
#pragma HLS bind_storage variable = memory.scratch type = ram_2p impl = uram
  for (;;) {
    const DecodeCommand command = commands.read();
    switch (command.op) {
      case kOpEmbed:
        Embed(command, embeddings, memory);
        break;
      case kOpNorm:
        memory.activation_shift = RmsNorm(memory.residual, vectors + command.vector_at,
                                          command.rows, command.norm_epsilon, memory.activations);
        break;
      case kOpGemv:
        Gemv(command, vectors, memory, x, sums, logits);
        break;
      case kOpAttend:
        Attend(command, vectors, memory, heads, partials);
        break;
      case kOpGate:
        Gate(command.rows, memory);
        break;
      default:
        return;
    }
  }
}

}  // namespace fpga
}  // namespace baton
