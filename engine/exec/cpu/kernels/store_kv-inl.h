#pragma once

#include "engine/exec/cpu/kernels/kernels.h"
#include "engine/exec/cpu/kernels/simd-inl.h"

namespace baton::BATON_SIMD_NAMESPACE {

static BATON_INLINE void StoreRowF16(const float* x, int64_t count, std::byte* out) {
  int64_t d = 0;
  for (; d + kLanes <= count; d += kLanes) StoreF16(Load(x + d), out + 2 * d);
  if (d < count) StoreF16Partial(LoadPartial(x + d, count - d), out + 2 * d, count - d);
}

// Returns the scale; NaN where an element is not finite.
static BATON_INLINE float StoreRowInt8(const float* x, int64_t count, std::byte* out) {
  F32 largest = {};
  F32 poison = {};  // 0, or NaN
  int64_t d = 0;
  const auto look = [&](F32 v) {
    const F32 magnitude = Abs(v);
    largest = Select(magnitude > largest, magnitude, largest);
    poison += v * 0.0f;
  };
  for (; d + kLanes <= count; d += kLanes) look(Load(x + d));
  if (d < count) look(LoadPartial(x + d, count - d));
  float maximum = 0;
  for (int64_t i = 0; i < kLanes; ++i) maximum = largest[i] > maximum ? largest[i] : maximum;
  // Below it, 127 / maximum would not be a float; such a vector is as good as none.
  const bool none = maximum < 0x1p-100f;
  const float inverse = none ? 0.0f : 127.0f / maximum;
  for (d = 0; d + kLanes <= count; d += kLanes) StoreI8(Round(Load(x + d) * inverse), out + d);
  if (d < count) {
    StoreI8Partial(Round(LoadPartial(x + d, count - d) * inverse), out + d, count - d);
  }
  return (none ? 0.0f : maximum / 127.0f) + Sum(poison);
}

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
        StoreRowF16(x, args.head_dim, area + args.position * args.head_dim * 2);
        break;
      case KvType::kInt8: {
        const float scale = StoreRowInt8(x, args.head_dim, area + args.position * args.head_dim);
        __builtin_memcpy(area + args.block_tokens * args.head_dim + args.position * scale_bytes,
                         &scale, sizeof(scale));
        break;
      }
    }
  }
}

}  // namespace baton::BATON_SIMD_NAMESPACE
