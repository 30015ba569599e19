#pragma once

// Where keys and values lie: the contract of host and `kv_attention`. Block i of a sequence lies in
// bank i % units, in the slot that the sequence's table in that bank names at i / units. A block is
// as the host keeps it, so that a handoff is a copy:
//   [layers][2 (k, v)][kv_heads] areas, each [block_tokens][head_dim] int8 with the f32 scales
//   [block_tokens] behind them; value = scale * q, q in [-127, 127].
// Scales of values are below 256: above, a unit takes them for 256.

#include <stdint.h>

namespace baton {
namespace fpga {

constexpr int kKvUnits = 8;  // of a U55C; how many a card has, its xclbin says
constexpr int kKvBlockTokensMax = 64;

constexpr uint64_t KvAreaBytes(uint64_t block_tokens, uint64_t head_dim) {
  return block_tokens * (head_dim + 4);
}
constexpr uint64_t KvBlockBytes(uint64_t layers, uint64_t kv_heads, uint64_t area_bytes) {
  return layers * 2 * kv_heads * area_bytes;
}

}  // namespace fpga
}  // namespace baton
