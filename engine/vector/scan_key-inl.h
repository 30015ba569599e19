// No include guard: each source that screens rows includes this once, in the namespace of its
// instruction set. Includes nothing that defines inline functions with linkage.
//
// defines: kLanes, Floats, Ints, NotBelowZero, At, KeyOf, LimitOf

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

}  // namespace
