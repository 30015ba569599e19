#include "fpga_kernels/hls/kv_attention.h"

#include "fpga_kernels/hls/fixed.h"

namespace baton {
namespace fpga {
namespace {

constexpr int kSumFraction = 28;
// |scale * probability| of values stays below 2^8 in Q28, so that 2^17 positions of 7 bits fit.
constexpr int64_t kValueWeightMax = int64_t{1} << (8 + kSumFraction);

struct Partial {
  int64_t top;
  int64_t weight;                   // Q30
  int64_t sums[kDecodeHeadDimMax];  // Q28
};

struct Query {
  int16_t values[kDecodeHeadDimMax];
  int shift;
};

struct Position {
  int8_t key[kDecodeHeadDimMax];
  int8_t value[kDecodeHeadDimMax];
  uint32_t key_scale;    // f32 bits
  uint32_t value_scale;  // f32 bits
};

// A beat for this unit and those behind it.
Beat ReadOn(Stream<Beat>& in, Stream<Beat>& out, bool last) {
#pragma HLS inline
  const Beat beat = in.read();
  if (!last) out.write(beat);
  return beat;
}

void ReadCodes(Stream<Beat>& in, Stream<Beat>& out, bool last, uint32_t head_dim, int8_t* codes) {
  for (uint32_t at = 0; at < head_dim; at += kBeatBytes) {
#pragma HLS pipeline II = 1
    const Beat beat = ReadOn(in, out, last);
    for (uint32_t i = 0; i < kBeatBytes; ++i) {
#pragma HLS unroll
      if (at + i < head_dim) codes[at + i] = GetI8(beat, static_cast<int>(i));
    }
  }
}

void ReadQuery(Stream<Beat>& in, Stream<Beat>& out, bool last, uint32_t head_dim, Query& query) {
  query.shift = GetI32(ReadOn(in, out, last), 0);
  for (uint32_t at = 0; at < head_dim; at += kHeadQueriesPerBeat) {
#pragma HLS pipeline II = 1
    const Beat beat = ReadOn(in, out, last);
    for (uint32_t i = 0; i < kHeadQueriesPerBeat; ++i) {
#pragma HLS unroll
      if (at + i < head_dim) query.values[at + i] = GetI16(beat, static_cast<int>(i));
    }
  }
}

// log2(e) * attention scale * (query . key), Q16.
int64_t Score(const DecodeCommand& command, const Query& query, const Position& position) {
  int64_t dot = 0;  // 30 bits
  for (uint32_t i = 0; i < command.head_dim; ++i) {
#pragma HLS unroll factor = 64
    dot += static_cast<int32_t>(query.values[i]) * position.key[i];
  }
  const FloatParts scale = PartsOfFloat(position.key_scale);
  const int64_t factor = static_cast<int64_t>(
      (static_cast<uint64_t>(command.score_mantissa) * scale.mantissa) >> 31);  // 24 bits
  const int shift = query.shift + command.score_shift + 150 - scale.exponent - 31 - 16;
  return Saturate(ShiftRound(dot * factor, shift), int64_t{1} << 40);
}

void AddPosition(int64_t score, const Position& position, uint32_t head_dim, Partial& partial) {
  const int64_t top = (score + 65535) >> 16;  // rounded up
  int down = 0;
  if (partial.top == kNoTop) {
    partial.top = top;
  } else if (top > partial.top) {
    down = top - partial.top > 63 ? 64 : static_cast<int>(top - partial.top);
    partial.top = top;
  }
  const uint64_t probability = Exp2OfMinus(static_cast<uint64_t>(partial.top * 65536 - score));
  const FloatParts scale = PartsOfFloat(position.value_scale);
  const int64_t weight = Saturate(ShiftRound(static_cast<int64_t>(probability * scale.mantissa),
                                             30 + 150 - scale.exponent - kSumFraction),
                                  kValueWeightMax);
  partial.weight = ShiftRound(partial.weight, down) + static_cast<int64_t>(probability);
  for (uint32_t i = 0; i < head_dim; ++i) {
#pragma HLS unroll factor = 64
    partial.sums[i] = ShiftRound(partial.sums[i], down) + weight * position.value[i];
  }
}

void Merge(const Partial& other, uint32_t head_dim, Partial& partial) {
  if (other.top == kNoTop) return;
  const int64_t top = partial.top > other.top ? partial.top : other.top;
  const int64_t own_gap = top - partial.top;
  const int64_t other_gap = top - other.top;
  const int own_down = own_gap > 63 ? 64 : static_cast<int>(own_gap);
  const int other_down = other_gap > 63 ? 64 : static_cast<int>(other_gap);
  partial.top = top;
  partial.weight = ShiftRound(partial.weight, own_down) + ShiftRound(other.weight, other_down);
  for (uint32_t i = 0; i < head_dim; ++i) {
#pragma HLS pipeline II = 1
    partial.sums[i] = ShiftRound(partial.sums[i], own_down) + ShiftRound(other.sums[i], other_down);
  }
}

void ReadPartial(Stream<Beat>& partials, uint32_t head_dim, Partial& partial) {
  const Beat header = partials.read();
  partial.top = GetI64(header, 0);
  partial.weight = GetI64(header, 1);
  for (uint32_t at = 0; at < head_dim; at += kHeadSumsPerBeat) {
#pragma HLS pipeline II = 1
    const Beat beat = partials.read();
    for (uint32_t i = 0; i < kHeadSumsPerBeat; ++i) {
#pragma HLS unroll
      if (at + i < head_dim) partial.sums[at + i] = GetI64(beat, static_cast<int>(i));
    }
  }
}

void WritePartial(const Partial& partial, uint32_t head_dim, Stream<Beat>& partials) {
  Beat header = Beat();
  PutI64(header, 0, partial.top);
  PutI64(header, 1, partial.weight);
  partials.write(header);
  for (uint32_t at = 0; at < head_dim; at += kHeadSumsPerBeat) {
#pragma HLS pipeline II = 1
    Beat beat = Beat();
    for (uint32_t i = 0; i < kHeadSumsPerBeat; ++i) {
#pragma HLS unroll
      if (at + i < head_dim) PutI64(beat, static_cast<int>(i), partial.sums[at + i]);
    }
    partials.write(beat);
  }
}

// A kv head's areas in a block.
struct Areas {
  uint64_t key;
  uint64_t value;
};
Areas AreasOf(const DecodeCommand& command, uint32_t slot, uint32_t kv_head) {
  const uint64_t area = KvAreaBytes(command.block_tokens, command.head_dim);
  const uint64_t plane = area * command.kv_heads;
  const uint64_t block =
      slot * KvBlockBytes(command.layers, command.kv_heads, area) + 2 * plane * command.layer;
  return Areas{block + kv_head * area, block + plane + kv_head * area};
}

// A kv head's keys or values of a block, with their scales, from the first byte on.
constexpr int kAreaBeatsMax = kKvBlockTokensMax * (kDecodeHeadDimMax + 4) / kBeatBytes;
struct Area {
  Beat beats[kAreaBeatsMax];
};

uint8_t ByteOf(const Area& area, uint32_t at) {
#pragma HLS inline
  return area.beats[at / kBeatBytes].bytes[at % kBeatBytes];
}

// One burst of the port. Areas begin at any byte: each beat is put together from two.
void LoadArea(const Beat* kv, uint64_t begin, uint32_t bytes, Area& area) {
  const uint64_t first = begin / kBeatBytes;
  const uint32_t offset = static_cast<uint32_t>(begin % kBeatBytes);
  const uint32_t beats = (offset + bytes + kBeatBytes - 1) / kBeatBytes;
  Beat before = Beat();
  for (uint32_t i = 0; i < beats; ++i) {
#pragma HLS pipeline II = 1
    const Beat beat = kv[first + i];
    if (i > 0 && i <= kAreaBeatsMax) {
      for (uint32_t byte = 0; byte < kBeatBytes; ++byte) {
#pragma HLS unroll
        const uint32_t from = offset + byte;
        area.beats[i - 1].bytes[byte] =
            from < kBeatBytes ? before.bytes[from] : beat.bytes[from - kBeatBytes];
      }
    }
    before = beat;
  }
  if (beats > kAreaBeatsMax) return;
  for (uint32_t byte = 0; byte + offset < kBeatBytes; ++byte) {
#pragma HLS unroll
    area.beats[beats - 1].bytes[byte] = before.bytes[offset + byte];
  }
}

// A row of both areas.
void TakeRow(const Area& keys, const Area& values, uint32_t row, const DecodeCommand& command,
             Position& position) {
  const uint32_t at = row * command.head_dim;
  for (uint32_t i = 0; i < command.head_dim; ++i) {
#pragma HLS unroll factor = 64
    position.key[i] = static_cast<int8_t>(ByteOf(keys, at + i));
    position.value[i] = static_cast<int8_t>(ByteOf(values, at + i));
  }
  const uint32_t scale_at = command.block_tokens * command.head_dim + 4 * row;
  position.key_scale = 0;
  position.value_scale = 0;
  for (uint32_t i = 0; i < 4; ++i) {
#pragma HLS unroll
    position.key_scale |= static_cast<uint32_t>(ByteOf(keys, scale_at + i)) << (8 * i);
    position.value_scale |= static_cast<uint32_t>(ByteOf(values, scale_at + i)) << (8 * i);
  }
}

// Writes bytes that begin anywhere, and leaves those beside them as they are.
template <class Byte>
void StoreBytes(Beat* kv, uint64_t begin, uint32_t count, const Byte* bytes) {
  const uint64_t first = begin / kBeatBytes;
  const uint32_t offset = static_cast<uint32_t>(begin % kBeatBytes);
  const uint32_t beats = (offset + count + kBeatBytes - 1) / kBeatBytes;
  for (uint32_t i = 0; i < beats; ++i) {
    Beat beat = kv[first + i];
    for (uint32_t byte = 0; byte < kBeatBytes; ++byte) {
#pragma HLS unroll
      const uint32_t at = i * kBeatBytes + byte;
      if (at >= offset && at - offset < count) {
        beat.bytes[byte] = static_cast<uint8_t>(bytes[at - offset]);
      }
    }
    kv[first + i] = beat;
  }
}

void StoreVector(Beat* kv, uint64_t area, uint32_t row, const DecodeCommand& command,
                 const int8_t* codes, uint32_t scale) {
  StoreBytes(kv, area + row * command.head_dim, command.head_dim, codes);
  uint8_t bytes[4];
  for (int i = 0; i < 4; ++i) bytes[i] = static_cast<uint8_t>(scale >> (8 * i));
  StoreBytes(kv, area + command.block_tokens * command.head_dim + 4 * row, 4, bytes);
}

void AttendKvHead(const DecodeCommand& command, Beat* kv, const uint32_t* blocks, uint32_t kv_head,
                  const Query* queries, uint32_t group, const Position& newest, Partial* partials) {
  Area keys;
  Area values;
  const uint32_t area_bytes =
      static_cast<uint32_t>(KvAreaBytes(command.block_tokens, command.head_dim));
  const uint32_t positions = command.position + 1;
  const uint32_t first =
      command.window == 0 || positions <= command.window ? 0 : positions - command.window;
  for (uint32_t block = first / command.block_tokens; block * command.block_tokens < positions;
       ++block) {
    const uint32_t slot = blocks[command.table_at + block];
    if (slot == kKvElsewhere) continue;
    const Areas areas = AreasOf(command, slot, kv_head);
    LoadArea(kv, areas.key, area_bytes, keys);
    LoadArea(kv, areas.value, area_bytes, values);
    for (uint32_t row = 0; row < command.block_tokens; ++row) {
      const uint32_t at = block * command.block_tokens + row;
      if (at < first || at >= positions) continue;
      Position position;
      if (at == command.position) {
        position = newest;
        StoreVector(kv, areas.key, row, command, newest.key, newest.key_scale);
        StoreVector(kv, areas.value, row, command, newest.value, newest.value_scale);
      } else {
        TakeRow(keys, values, row, command, position);
      }
      for (uint32_t i = 0; i < group; ++i) {
        AddPosition(Score(command, queries[i], position), position, command.head_dim, partials[i]);
      }
    }
  }
}

void Attend(const DecodeCommand& command, Beat* kv, const uint32_t* blocks, uint32_t index,
            uint32_t units, Stream<Beat>& in, Stream<Beat>& out, Stream<Beat>& partials_in,
            Stream<Beat>& partials_out) {
  const bool last = index + 1 >= units;
  const uint32_t group = command.heads / command.kv_heads;
  Query queries[kDecodeGroupMax];
  Partial partials[kDecodeGroupMax];
  Partial behind;
  Position newest = Position();
  for (uint32_t kv_head = 0; kv_head < command.kv_heads; ++kv_head) {
    const Beat scales = ReadOn(in, out, last);
    newest.key_scale = GetU32(scales, 0);
    newest.value_scale = GetU32(scales, 1);
    ReadCodes(in, out, last, command.head_dim, newest.key);
    ReadCodes(in, out, last, command.head_dim, newest.value);
    for (uint32_t i = 0; i < group; ++i) {
      ReadQuery(in, out, last, command.head_dim, queries[i]);
      partials[i] = Partial();
      partials[i].top = kNoTop;
    }
    AttendKvHead(command, kv, blocks, kv_head, queries, group, newest, partials);
    for (uint32_t i = 0; i < group; ++i) {
      if (index + 1 < units) {
        ReadPartial(partials_in, command.head_dim, behind);
        Merge(behind, command.head_dim, partials[i]);
      }
      WritePartial(partials[i], command.head_dim, partials_out);
    }
  }
}

}  // namespace

extern "C" void kv_attention(Beat* kv, const uint32_t* blocks, uint32_t index, uint32_t units,
                             Stream<DecodeCommand>& commands_in,
                             Stream<DecodeCommand>& commands_out, Stream<Beat>& heads_in,
                             Stream<Beat>& heads_out, Stream<Beat>& partials_in,
                             Stream<Beat>& partials_out) {
#pragma HLS interface m_axi port = kv bundle = kv
#pragma HLS interface m_axi port = blocks bundle = kv
#pragma HLS interface s_axilite port = index
#pragma HLS interface s_axilite port = units
#pragma HLS interface axis port = commands_in
#pragma HLS interface axis port = commands_out
#pragma HLS interface axis port = heads_in
#pragma HLS interface axis port = heads_out
#pragma HLS interface axis port = partials_in
#pragma HLS interface axis port = partials_out
  for (;;) {
    const DecodeCommand command = commands_in.read();
    if (index + 1 < units) commands_out.write(command);
    if (command.op != kOpAttend) return;
    Attend(command, kv, blocks, index, units, heads_in, heads_out, partials_in, partials_out);
  }
}

}  // namespace fpga
}  // namespace baton
