#pragma once

#include <cstdint>

#include "engine/exec/executor_abi.h"
#include "engine/kv/kv_layout.h"

namespace baton {

inline int32_t AbiKvTypeOf(KvType type) {
  switch (type) {
    case KvType::kF32:
      return BATON_KV_F32;
    case KvType::kF16:
      return BATON_KV_F16;
    case KvType::kBF16:
      return BATON_KV_BF16;
    case KvType::kInt8:
      break;
  }
  return BATON_KV_INT8;
}

inline baton_kv_layout AbiKvLayoutOf(const KvLayout& layout) {
  return {.layers = layout.layers,
          .kv_heads = layout.kv_heads,
          .head_dim = layout.head_dim,
          .block_tokens = layout.block_tokens,
          .type = AbiKvTypeOf(layout.type),
          .reserved = 0};
}

}  // namespace baton
