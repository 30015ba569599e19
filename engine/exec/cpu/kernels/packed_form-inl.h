#pragma once

#include "engine/exec/cpu/kernels/kernels.h"
#include "engine/exec/cpu/kernels/simd-inl.h"

namespace baton::BATON_SIMD_NAMESPACE {

// How the values of a kind's quants come about: the scales of 32 columns, their offset (0: none),
// and whether they have minimums.
template <PackedKind kKind>
struct PackedForm {
  static constexpr bool kSubScales = kKind == PackedKind::k4BitK || kKind == PackedKind::k8BitK;
  static constexpr bool kMinimums =
      kSubScales || kKind == PackedKind::k4BitMin || kKind == PackedKind::k8BitMin;
  static constexpr int kScales = kKind == PackedKind::k6BitK ? 2 : 1;
  static constexpr int kOffset = kKind == PackedKind::k8Bit    ? kPackedOffset8Bit
                                 : kKind == PackedKind::k4Bit  ? 8
                                 : kKind == PackedKind::k6BitK ? 32
                                                               : 0;
};

constexpr int QuantBits(PackedKind kind) {
  switch (kind) {
    case PackedKind::k8Bit:
    case PackedKind::k8BitMin:
    case PackedKind::k8BitK:
      return 8;
    case PackedKind::k6BitK:
      return 6;
    default:
      return 4;
  }
}

// Calls of(kind) with the kind as a constant, of weights that are packed.
template <class Of>
static BATON_INLINE void ForPackedKind(PackedKind kind, const Of& of) {
  switch (kind) {
    case PackedKind::k8Bit:
      return of.template operator()<PackedKind::k8Bit>();
    case PackedKind::k4Bit:
      return of.template operator()<PackedKind::k4Bit>();
    case PackedKind::k4BitMin:
      return of.template operator()<PackedKind::k4BitMin>();
    case PackedKind::k8BitMin:
      return of.template operator()<PackedKind::k8BitMin>();
    case PackedKind::k4BitK:
      return of.template operator()<PackedKind::k4BitK>();
    case PackedKind::k8BitK:
      return of.template operator()<PackedKind::k8BitK>();
    case PackedKind::k6BitK:
      return of.template operator()<PackedKind::k6BitK>();
    case PackedKind::kRowsBF16:
      __builtin_trap();  // of products in tile registers alone
  }
}

// How far ahead of the arithmetic weights are asked for.
constexpr int64_t kPackedAheadBytes = 3072;

// Asks for the piece `index` of as many bytes of a block; a few lines at a time, for the processor
// waits where more are under way than it can note down.
template <int64_t kBytes>
static BATON_INLINE void FetchAhead(const std::byte* block, int64_t index) {
  for (int64_t i = 0; i < kBytes; i += 64) {
    __builtin_prefetch(block + kPackedAheadBytes + index * kBytes + i, 0, 3);
  }
}

}  // namespace baton::BATON_SIMD_NAMESPACE
