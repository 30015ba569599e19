#pragma once

#include "engine/exec/cpu/kernels/kernels.h"
#include "engine/exec/cpu/kernels/simd-inl.h"

namespace baton::BATON_SIMD_NAMESPACE {

static BATON_INLINE F32 SiluTimes(F32 gate, F32 up) { return gate / (1.0f + Exp(-gate)) * up; }

static void SiluGate(const SiluGateArgs& args) {
  int64_t i = 0;
  for (; i + kLanes <= args.count; i += kLanes) {
    Store(SiluTimes(Load(args.gate + i), Load(args.up + i)), args.gate + i);
  }
  if (const int64_t rest = args.count - i; rest > 0) {
    const F32 last = SiluTimes(LoadPartial(args.gate + i, rest), LoadPartial(args.up + i, rest));
    StorePartial(last, args.gate + i, rest);
  }
}

}  // namespace baton::BATON_SIMD_NAMESPACE
