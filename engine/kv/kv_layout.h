#pragma once

#include <cstdint>

#include "engine/kv/kv_type.h"

namespace baton {

// Shape of one KV block: `block_tokens` positions of every layer, contiguous.
//   [layers][2 (k, v)][kv_heads], each an area of one head's vectors:
//     [block_tokens][head_dim] elements of `type`, then of int8 [block_tokens] f32 scales.
// A head's vectors lie together because that is how attention walks them.
struct KvLayout {
  int32_t layers = 0;
  int32_t kv_heads = 0;
  int32_t head_dim = 0;
  int32_t block_tokens = 0;  // a power of two, 8 to 64
  KvType type = KvType::kF32;

  bool operator==(const KvLayout&) const = default;

  int64_t element_bytes() const { return type == KvType::kF32 ? 4 : type == KvType::kInt8 ? 1 : 2; }
  int64_t scale_bytes() const { return type == KvType::kInt8 ? int64_t{sizeof(float)} : 0; }
  // A multiple of 8, so that every area's elements and scales are aligned.
  int64_t area_bytes() const { return block_tokens * (head_dim * element_bytes() + scale_bytes()); }
  int64_t plane_bytes() const { return area_bytes() * kv_heads; }  // one layer's k, or v
  int64_t layer_bytes() const { return 2 * plane_bytes(); }
  int64_t block_bytes() const { return layer_bytes() * layers; }
  int64_t token_bytes() const { return block_bytes() / block_tokens; }
};

// The largest power of two from 8 to 64 whose block stays within 2 MB (8 where none does): large
// enough to be worth a transfer, small enough not to strand memory at a sequence's end.
// `layout.block_tokens` is what is chosen; the rest is given.
KvLayout WithBlockTokens(KvLayout layout);

}  // namespace baton
