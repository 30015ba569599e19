// No include guard: each scan_screen_LEVEL.cc includes this once, into the namespace it names in
// BATON_SIMD_NAMESPACE, and is compiled for its instruction set. Includes nothing that defines
// inline functions with linkage, which the linker could otherwise share between the levels.
//
// defines: L2Screen, ProductScreen (ScanScreenFn)

#include <immintrin.h>

#include <cstdint>
#include <cstring>

#include "engine/vector/scan_screen.h"

namespace baton::BATON_SIMD_NAMESPACE {
#include "engine/vector/scan_key-inl.h"

namespace {

template <bool kL2>
inline int64_t Screen(const ScanLimits& limits, const ScanRows& rows, const int32_t* products,
                      int64_t count, uint32_t* places, float* keys) {
  int64_t found = 0;
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    const Floats product = __builtin_convertvector(At<Ints>(products + i), Floats);
    const Floats key = KeyOf<kL2>(limits, rows, i, product);
    uint32_t kept = NotBelowZero(LimitOf<kL2, Floats>(limits, rows, i) - key);
    if (__builtin_expect(kept == 0, 1)) continue;
    for (; kept != 0; kept &= kept - 1) {
      const int lane = __builtin_ctz(kept);
      places[found] = static_cast<uint32_t>(i + lane);
      keys[found++] = key[lane];
    }
  }
  for (; i < count; ++i) {
    const float key = KeyOf<kL2>(limits, rows, i, static_cast<float>(products[i]));
    if (LimitOf<kL2, float>(limits, rows, i) - key < 0) continue;
    places[found] = static_cast<uint32_t>(i);
    keys[found++] = key;
  }
  return found;
}

}  // namespace

int64_t L2Screen(const ScanLimits& limits, const ScanRows& rows, const int32_t* products,
                 int64_t count, uint32_t* places, float* keys) {
  return Screen<true>(limits, rows, products, count, places, keys);
}

int64_t ProductScreen(const ScanLimits& limits, const ScanRows& rows, const int32_t* products,
                      int64_t count, uint32_t* places, float* keys) {
  return Screen<false>(limits, rows, products, count, places, keys);
}

}  // namespace baton::BATON_SIMD_NAMESPACE
