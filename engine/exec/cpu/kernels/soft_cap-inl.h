#pragma once

#include "engine/exec/cpu/kernels/kernels.h"
#include "engine/exec/cpu/kernels/simd-inl.h"

namespace baton::BATON_SIMD_NAMESPACE {

// cap * tanh(x / cap), by tanh(u) = (1 - e^-2|u|) / (1 + e^-2|u|): absolute error within 2e-7 cap.
static BATON_INLINE F32 SoftCapped(F32 x, float cap) {
  const F32 u = x / cap;
  const F32 power = Exp(Select(u < 0.0f, u, -u) * 2.0f);
  const F32 magnitude = (1.0f - power) / (1.0f + power) * cap;
  return Select(u < 0.0f, -magnitude, magnitude);
}

static void SoftCap(const SoftCapArgs& args) {
  int64_t i = 0;
  for (; i + kLanes <= args.count; i += kLanes) {
    Store(SoftCapped(Load(args.x + i), args.cap), args.x + i);
  }
  if (const int64_t rest = args.count - i; rest > 0) {
    StorePartial(SoftCapped(LoadPartial(args.x + i, rest), args.cap), args.x + i, rest);
  }
}

}  // namespace baton::BATON_SIMD_NAMESPACE
