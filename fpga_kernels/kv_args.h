#pragma once

// Where keys and values lie: the contract of host and `kv_attention`. A block of a sequence lies in
// any one of the banks: the sequence's table in each bank says for all its blocks which slot of the
// bank they are in, or kKvElsewhere. Units work side by side where blocks are spread over them. A
// block is as the host keeps it, so that a handoff is a copy:
//   [layers][2 (k, v)][kv_heads] areas, each [block_tokens][head_dim] int8 with the f32 scales
//   [block_tokens] behind them; value = scale * q, q in [-127, 127].
// Scales of values are below 256: above, a unit takes them for 256.

#include <stdint.h>

namespace baton {
namespace fpga {

constexpr int kKvUnits = 8;  // of a U55C; how many a card has, its xclbin says
constexpr int kKvBlockTokensMax = 64;
constexpr uint32_t kKvElsewhere = UINT32_MAX;  // a slot: the block is in another bank

constexpr uint64_t KvAreaBytes(uint64_t block_tokens, uint64_t head_dim) {
  return block_tokens * (head_dim + 4);
}
constexpr uint64_t KvBlockBytes(uint64_t layers, uint64_t kv_heads, uint64_t area_bytes) {
  return layers * 2 * kv_heads * area_bytes;
}

}  // namespace fpga
}  // namespace baton
