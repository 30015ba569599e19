#pragma once

#include "engine/exec/cpu/kernels/kernels.h"
#include "engine/exec/cpu/kernels/simd-inl.h"

namespace baton::BATON_SIMD_NAMESPACE {

struct Silu {
  static BATON_INLINE F32 Apply(F32 x) { return x / (1.0f + Exp(-x)); }
};

// 0.5 (1 + tanh(u)) = 1 / (1 + e^-2u), with u = sqrt(2 / pi) (x + 0.044715 x^3): Hendrycks and
// Gimpel, "Gaussian Error Linear Units" (2016).
struct GeluTanh {
  static BATON_INLINE F32 Apply(F32 x) {
    const F32 minus_2u = x * -1.5957691216f * (1.0f + 0.044715f * (x * x));
    return x / (1.0f + Exp(minus_2u));
  }
};

template <class Activation>
static void Gate(const GateArgs& args) {
  int64_t i = 0;
  for (; i + kLanes <= args.count; i += kLanes) {
    Store(Activation::Apply(Load(args.gate + i)) * Load(args.up + i), args.gate + i);
  }
  if (const int64_t rest = args.count - i; rest > 0) {
    const F32 last = Activation::Apply(LoadPartial(args.gate + i, rest));
    StorePartial(last * LoadPartial(args.up + i, rest), args.gate + i, rest);
  }
}

}  // namespace baton::BATON_SIMD_NAMESPACE
