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
namespace {

#if defined(__AVX512F__)
constexpr int64_t kLanes = 16;
#elif defined(__AVX__)
constexpr int64_t kLanes = 8;
#else
constexpr int64_t kLanes = 4;
#endif
typedef float Floats __attribute__((vector_size(kLanes * sizeof(float))));
typedef int32_t Ints __attribute__((vector_size(kLanes * sizeof(int32_t))));

// A bit for each lane that is not below zero; NaN is not.
inline uint32_t NotBelowZero(Floats room) {
#if defined(__AVX512F__)
  return _mm512_cmp_ps_mask((__m512)room, _mm512_setzero_ps(), _CMP_NLT_UQ);
#elif defined(__AVX__)
  const __m256 kept = _mm256_cmp_ps((__m256)room, _mm256_setzero_ps(), _CMP_NLT_UQ);
  return static_cast<uint32_t>(_mm256_movemask_ps(kept));
#else
  return static_cast<uint32_t>(_mm_movemask_ps(_mm_cmpnlt_ps((__m128)room, _mm_setzero_ps())));
#endif
}

template <class T>
inline T At(const void* from) {
  T value;
  std::memcpy(&value, from, sizeof(value));
  return value;
}

// `product` as floats. T: float or Floats.
template <bool kL2, class T>
inline T KeyOf(const ScanLimits& limits, const ScanRows& rows, int64_t i, T product) {
  const T step = At<T>(rows.step + i);
  const T low = At<T>(rows.low + i);
  const T key =
      (step * product) * limits.product_factor + low * limits.low_factor + limits.key_base;
  return kL2 ? key + At<T>(rows.size + i) : key;
}

template <bool kL2, class T>
inline T LimitOf(const ScanLimits& limits, const ScanRows& rows, int64_t i) {
  const T error = At<T>(rows.error + i);
  if (kL2) {
    const T radius = error + limits.radius;
    return radius * radius;
  }
  return error * limits.error_factor + At<T>(rows.size + i) * limits.size_factor + limits.radius;
}

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
