#pragma once

#include "engine/exec/cpu/kernels/kernels.h"
#include "engine/exec/cpu/kernels/simd-inl.h"

namespace baton::BATON_SIMD_NAMESPACE {

// gelu(v) = max(v, 0) - |v| * Phi(-|v|), with the normal distribution's tail
//   Phi(-|v|) = erfc(z) / 2 = t * exp(-z^2) * P(t) / 2,  z = |v| / sqrt(2),  t = 1 / (1 + z / 2).
// P is the interpolation of exp(z^2) * erfc(z) / t at Chebyshev's nodes on t in [0, 1], of degree
// 10: within 1.2e-8 of it, so that what f32 rounds is all that is lost.
static BATON_INLINE F32 GeluOf(F32 v) {
  const F32 zero = {};
  const F32 magnitude = Select(v < 0.0f, -v, v);
  const F32 z = magnitude * 0x1.6a09e6p-1f;
  const F32 t = 1.0f / MulAdd(z, Broadcast(0.5f), Broadcast(1.0f));
  F32 p = Broadcast(0.0431730673f);
  p = MulAdd(p, t, Broadcast(-0.234605506f));
  p = MulAdd(p, t, Broadcast(0.493385762f));
  p = MulAdd(p, t, Broadcast(-0.454563737f));
  p = MulAdd(p, t, Broadcast(0.131850049f));
  p = MulAdd(p, t, Broadcast(-0.0590509064f));
  p = MulAdd(p, t, Broadcast(0.0934147462f));
  p = MulAdd(p, t, Broadcast(0.175324082f));
  p = MulAdd(p, t, Broadcast(0.246883884f));
  p = MulAdd(p, t, Broadcast(0.282093763f));
  p = MulAdd(p, t, Broadcast(0.282094806f));
  const F32 tail = 0.5f * t * Exp(-z * z) * p;
  return Select(v > 0.0f, v, zero) - magnitude * tail;
}

static void Gelu(const GeluArgs& args) {
  for (int64_t row = 0; row < args.rows; ++row) {
    float* x = args.x + row * args.dim;
    int64_t i = 0;
    for (; i + kLanes <= args.dim; i += kLanes) {
      Store(GeluOf(Load(x + i) + Load(args.bias + i)), x + i);
    }
    if (const int64_t rest = args.dim - i; rest > 0) {
      const F32 last = LoadPartial(x + i, rest) + LoadPartial(args.bias + i, rest);
      StorePartial(GeluOf(last), x + i, rest);
    }
  }
}

}  // namespace baton::BATON_SIMD_NAMESPACE
