#pragma once

#include "engine/exec/cpu/kernels/kernels.h"
#include "engine/exec/cpu/kernels/kv_row-inl.h"

namespace baton::BATON_SIMD_NAMESPACE {

static void StoreKv(const StoreKvArgs& args) {
  const float* x = args.x;
  std::byte* area = args.out;
  const auto scale_bytes = int64_t{sizeof(float)};
  for (int64_t h = 0; h < args.heads; ++h, x += args.head_dim, area += args.area_bytes) {
    switch (args.type) {
      case KvType::kF32:
        __builtin_memcpy(area + args.position * args.head_dim * 4, x,
                         static_cast<size_t>(args.head_dim * 4));
        break;
      case KvType::kF16:
        StoreRow<F16Out>(F32Row{x}, Broadcast(1.0f), args.head_dim,
                         area + args.position * args.head_dim * 2);
        break;
      case KvType::kBF16:
        StoreRow<BF16Out>(F32Row{x}, Broadcast(1.0f), args.head_dim,
                          area + args.position * args.head_dim * 2);
        break;
      case KvType::kInt8: {
        const float scale =
            StoreRowInt8(F32Row{x}, args.head_dim, area + args.position * args.head_dim);
        __builtin_memcpy(area + args.block_tokens * args.head_dim + args.position * scale_bytes,
                         &scale, sizeof(scale));
        break;
      }
    }
  }
}

}  // namespace baton::BATON_SIMD_NAMESPACE
