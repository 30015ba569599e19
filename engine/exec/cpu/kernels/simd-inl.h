#pragma once

// A vector of floats as wide as the instruction set's registers, in GCC's vector extensions;
// intrinsics only where those have no word for an instruction. Compiled with -ffp-contract=off: a
// product and a sum are rounded together exactly where MulAdd says so, which is what makes a result
// independent of the code around it.

#include <immintrin.h>

#include <cstdint>

#if defined(__AVX512F__)
#define BATON_SIMD_BYTES 64
#elif defined(__AVX2__)
#define BATON_SIMD_BYTES 32
#else
#define BATON_SIMD_BYTES 16
#endif

namespace baton::BATON_SIMD_NAMESPACE {

constexpr int64_t kLanes = BATON_SIMD_BYTES / 4;

typedef float F32 __attribute__((vector_size(BATON_SIMD_BYTES)));
typedef int32_t I32 __attribute__((vector_size(BATON_SIMD_BYTES)));
typedef uint32_t U32 __attribute__((vector_size(BATON_SIMD_BYTES)));
typedef uint16_t U16 __attribute__((vector_size(BATON_SIMD_BYTES / 2)));
typedef int8_t I8 __attribute__((vector_size(BATON_SIMD_BYTES / 4)));

#define BATON_INLINE inline __attribute__((always_inline))

template <class Vector>
static BATON_INLINE Vector LoadAs(const void* p) {
  Vector v;
  __builtin_memcpy(&v, p, sizeof(v));
  return v;
}

static BATON_INLINE F32 Load(const float* p) { return LoadAs<F32>(p); }
static BATON_INLINE void Store(F32 v, float* p) { __builtin_memcpy(p, &v, sizeof(v)); }

// The first n lanes, 0 < n < kLanes; the others are 0.
static BATON_INLINE F32 LoadPartial(const float* p, int64_t n) {
#if defined(__AVX512F__)
  return _mm512_maskz_loadu_ps(static_cast<__mmask16>((1u << n) - 1), p);
#else
  F32 v = {};
  for (int64_t i = 0; i < n; ++i) v[i] = p[i];
  return v;
#endif
}

static BATON_INLINE void StorePartial(F32 v, float* p, int64_t n) {
#if defined(__AVX512F__)
  _mm512_mask_storeu_ps(p, static_cast<__mmask16>((1u << n) - 1), v);
#else
  for (int64_t i = 0; i < n; ++i) p[i] = v[i];
#endif
}

// x - 0 is x, even where x is -0, so that no subtraction is left of it.
static BATON_INLINE F32 Broadcast(float x) { return x - F32{}; }

// a * b + c, rounded once where the instruction set can.
static BATON_INLINE F32 MulAdd(F32 a, F32 b, F32 c) {
#if defined(__AVX512F__)
  return _mm512_fmadd_ps(a, b, c);
#elif defined(__AVX2__)
  return _mm256_fmadd_ps(a, b, c);
#else
  return a * b + c;
#endif
}

// The lanes' sum, always in the same order: halves onto each other.
static BATON_INLINE float Sum(F32 v) {
  typedef float F32x4 __attribute__((vector_size(16)));
#if defined(__AVX512F__)
  typedef float F32x8 __attribute__((vector_size(32)));
  const F32x8 v8 = __builtin_shufflevector(v, v, 0, 1, 2, 3, 4, 5, 6, 7) +
                   __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15);
  F32x4 v4 =
      __builtin_shufflevector(v8, v8, 0, 1, 2, 3) + __builtin_shufflevector(v8, v8, 4, 5, 6, 7);
#elif defined(__AVX2__)
  F32x4 v4 = __builtin_shufflevector(v, v, 0, 1, 2, 3) + __builtin_shufflevector(v, v, 4, 5, 6, 7);
#else
  F32x4 v4 = v;
#endif
  v4 += __builtin_shufflevector(v4, v4, 2, 3, 0, 1);
  return v4[0] + v4[1];
}

// x, but not below, or above, the limit. NaN stays NaN: these instructions give their second
// operand where one is not a number.
static BATON_INLINE F32 AtLeast(F32 x, F32 limit) {
#if defined(__AVX512F__)
  return _mm512_max_ps(limit, x);
#elif defined(__AVX2__)
  return _mm256_max_ps(limit, x);
#else
  return _mm_max_ps(limit, x);
#endif
}
static BATON_INLINE F32 AtMost(F32 x, F32 limit) {
#if defined(__AVX512F__)
  return _mm512_min_ps(limit, x);
#elif defined(__AVX2__)
  return _mm256_min_ps(limit, x);
#else
  return _mm_min_ps(limit, x);
#endif
}

// The largest lane. Of a vector with a NaN, any of its lanes.
static BATON_INLINE float Max(F32 v) {
  typedef float F32x4 __attribute__((vector_size(16)));
#if defined(__AVX512F__)
  typedef float F32x8 __attribute__((vector_size(32)));
  const F32x8 a = __builtin_shufflevector(v, v, 0, 1, 2, 3, 4, 5, 6, 7);
  const F32x8 b = __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15);
  const F32x8 v8 = a > b ? a : b;
  F32x4 v4 = __builtin_shufflevector(v8, v8, 0, 1, 2, 3);
  const F32x4 other = __builtin_shufflevector(v8, v8, 4, 5, 6, 7);
  v4 = v4 > other ? v4 : other;
#elif defined(__AVX2__)
  F32x4 v4 = __builtin_shufflevector(v, v, 0, 1, 2, 3);
  const F32x4 other = __builtin_shufflevector(v, v, 4, 5, 6, 7);
  v4 = v4 > other ? v4 : other;
#else
  F32x4 v4 = v;
#endif
  const F32x4 swapped = __builtin_shufflevector(v4, v4, 2, 3, 0, 1);
  v4 = v4 > swapped ? v4 : swapped;
  return v4[0] > v4[1] ? v4[0] : v4[1];
}

// Lane by lane `yes` where the mask is set, else `no`.
static BATON_INLINE F32 Select(I32 mask, F32 yes, F32 no) {
  return reinterpret_cast<F32>((mask & reinterpret_cast<I32>(yes)) |
                               (~mask & reinterpret_cast<I32>(no)));
}

// kLanes IEEE halves to floats, exactly.
static BATON_INLINE F32 LoadF16(const void* p) {
#if defined(__AVX512F__)
  return _mm512_cvtph_ps(_mm256_loadu_si256(static_cast<const __m256i*>(p)));
#elif defined(__AVX2__)
  return _mm256_cvtph_ps(_mm_loadu_si128(static_cast<const __m128i*>(p)));
#else
  // Moves exponent and mantissa to their places in a float, whose exponent is then too small by
  // 127 - 15 = 112; the multiplication mends that for denormals too. Infinity and NaN (exponent all
  // ones) need the float's exponent to be all ones.
  const U32 half = __builtin_convertvector(LoadAs<U16>(p), U32);
  const U32 magnitude = half & 0x7fff;
  const U32 scaled = reinterpret_cast<U32>(reinterpret_cast<F32>(magnitude << 13) * 0x1p112f);
  const U32 special = reinterpret_cast<U32>(magnitude >= 0x7c00) & 0x7f800000;
  return reinterpret_cast<F32>(((half & 0x8000) << 16) | scaled | special);
#endif
}

static BATON_INLINE F32 LoadF16Partial(const void* p, int64_t n) {
#if defined(__AVX512F__)
  return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(static_cast<__mmask16>((1u << n) - 1), p));
#else
  U16 halves = {};
  __builtin_memcpy(&halves, p, static_cast<size_t>(n) * 2);
  return LoadF16(&halves);
#endif
}

static BATON_INLINE float LoadF16Scalar(const void* p) {
  uint16_t half;
  __builtin_memcpy(&half, p, sizeof(half));
#if defined(__F16C__)
  return _cvtsh_ss(half);
#else
  U16 halves = {};
  halves[0] = half;
  return LoadF16(&halves)[0];
#endif
}

// kLanes bfloat16, the upper halves of floats, to floats, exactly.
static BATON_INLINE F32 LoadBF16(const void* p) {
#if defined(__AVX512F__)
  const __m512i wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256(static_cast<const __m256i*>(p)));
  return reinterpret_cast<F32>(reinterpret_cast<U32>(wide) << 16);
#elif defined(__AVX2__)
  const __m256i wide = _mm256_cvtepu16_epi32(_mm_loadu_si128(static_cast<const __m128i*>(p)));
  return reinterpret_cast<F32>(reinterpret_cast<U32>(wide) << 16);
#else
  return reinterpret_cast<F32>(__builtin_convertvector(LoadAs<U16>(p), U32) << 16);
#endif
}

static BATON_INLINE F32 LoadBF16Partial(const void* p, int64_t n) {
  U16 halves = {};
  __builtin_memcpy(&halves, p, static_cast<size_t>(n) * 2);
  return LoadBF16(&halves);
}

// kLanes signed bytes to floats.
static BATON_INLINE F32 LoadI8(const int8_t* p) {
#if defined(__AVX512F__)
  return _mm512_cvtepi32_ps(
      _mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))));
#elif defined(__AVX2__)
  return _mm256_cvtepi32_ps(
      _mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p))));
#else
  return __builtin_convertvector(__builtin_convertvector(LoadAs<I8>(p), I32), F32);
#endif
}

static BATON_INLINE F32 LoadI8Partial(const void* p, int64_t n) {
#if defined(__AVX512F__)
  const __m128i some = _mm_maskz_loadu_epi8(static_cast<__mmask16>((1u << n) - 1), p);
  const I32 lanes = reinterpret_cast<I32>(_mm512_cvtepi8_epi32(some));
#else
  I8 bytes = {};
  __builtin_memcpy(&bytes, p, static_cast<size_t>(n));
  const I32 lanes = __builtin_convertvector(bytes, I32);
#endif
  return __builtin_convertvector(lanes, F32);
}

static BATON_INLINE F32 Abs(F32 x) {
  return reinterpret_cast<F32>(reinterpret_cast<I32>(x) & 0x7fffffff);
}

// The nearest integer, ties to even, for |x| <= 2^22: adding 1.5 * 2^23 leaves it in the low
// mantissa bits. Any integer for others.
static BATON_INLINE I32 Round(F32 x) {
  const F32 magic = Broadcast(0x1.8p23f);
  return reinterpret_cast<I32>(x + magic) - reinterpret_cast<I32>(magic);
}

static BATON_INLINE void StoreI8(I32 v, void* p) {
  const I8 bytes = __builtin_convertvector(v, I8);
  __builtin_memcpy(p, &bytes, sizeof(bytes));
}

static BATON_INLINE void StoreI8Partial(I32 v, void* p, int64_t n) {
  const I8 bytes = __builtin_convertvector(v, I8);
  __builtin_memcpy(p, &bytes, static_cast<size_t>(n));
}

// kLanes floats to IEEE halves, to nearest, ties to even; beyond 65,504 to infinity.
static BATON_INLINE U16 ToF16(F32 x) {
#if defined(__AVX512F__)
  return reinterpret_cast<U16>(_mm512_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT));
#elif defined(__AVX2__)
  return reinterpret_cast<U16>(_mm256_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT));
#else
  const I32 bits = reinterpret_cast<I32>(x);
  const I32 magnitude = bits & 0x7fffffff;
  const auto pick = [](I32 mask, I32 yes, I32 no) { return (mask & yes) | (~mask & no); };
  // The exponent is too large by 127 - 15 = 112; the 13 bits that go round the one above them, and
  // a carry into the exponent is as it should be.
  const I32 rounded = magnitude - (112 << 23) + 0xfff + ((magnitude >> 13) & 1);
  I32 half = rounded >> 13;
  half = pick(half > 0x7c00, I32{} + 0x7c00, half);
  // Below 2^-14 a half counts in units of 2^-24, which adding 2^23 leaves in the low mantissa bits.
  const F32 magic = Broadcast(0x1p23f);
  const I32 small = reinterpret_cast<I32>(Abs(x) * 0x1p24f + magic) - reinterpret_cast<I32>(magic);
  half = pick(magnitude < ((127 - 14) << 23), small, half);
  half = pick(magnitude > 0x7f800000, I32{} + 0x7e00, half);  // NaN
  return __builtin_convertvector(reinterpret_cast<U32>(half | ((bits >> 16) & 0x8000)), U16);
#endif
}

static BATON_INLINE void StoreF16(F32 v, void* p) {
  const U16 halves = ToF16(v);
  __builtin_memcpy(p, &halves, sizeof(halves));
}

static BATON_INLINE void StoreF16Partial(F32 v, void* p, int64_t n) {
  const U16 halves = ToF16(v);
  __builtin_memcpy(p, &halves, static_cast<size_t>(n) * 2);
}

// kLanes floats to bfloat16, to nearest, ties to even; a carry into the exponent is as it should
// be.
static BATON_INLINE U16 ToBF16(F32 x) {
  const U32 bits = reinterpret_cast<U32>(x);
  const U32 rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
  const U32 quiet = (bits >> 16) | 0x40;
  const U32 nan = reinterpret_cast<U32>((bits & 0x7fffffff) > 0x7f800000);
  return __builtin_convertvector((nan & quiet) | (~nan & rounded), U16);
}

static BATON_INLINE void StoreBF16(F32 v, void* p) {
  const U16 halves = ToBF16(v);
  __builtin_memcpy(p, &halves, sizeof(halves));
}

static BATON_INLINE void StoreBF16Partial(F32 v, void* p, int64_t n) {
  const U16 halves = ToBF16(v);
  __builtin_memcpy(p, &halves, static_cast<size_t>(n) * 2);
}

// e^x within 2 units in the last place for x in [-87.3, 88.3]; clamped to that range, so neither 0
// nor infinity comes out. NaN stays NaN.
static BATON_INLINE F32 Exp(F32 x) {
  x = AtMost(AtLeast(x, Broadcast(-87.3f)), Broadcast(88.3f));
  // n = round(x / ln 2): adding 1.5 * 2^23 leaves the integer in the low mantissa bits.
  const F32 magic = Broadcast(0x1.8p23f);
  const F32 shifted = MulAdd(x, Broadcast(0x1.715476p0f), magic);
  const F32 n = shifted - magic;
  // r = x - n ln 2, in [-0.35, 0.35]; ln 2 in two parts so that the first product is exact.
  F32 r = MulAdd(n, Broadcast(-0x1.62e4p-1f), x);
  r = MulAdd(n, Broadcast(-0x1.7f7d1cp-20f), r);
  F32 p = Broadcast(1.0f / 5040);
  p = MulAdd(p, r, Broadcast(1.0f / 720));
  p = MulAdd(p, r, Broadcast(1.0f / 120));
  p = MulAdd(p, r, Broadcast(1.0f / 24));
  p = MulAdd(p, r, Broadcast(1.0f / 6));
  p = MulAdd(p, r, Broadcast(0.5f));
  p = MulAdd(p, r, Broadcast(1.0f));
  p = MulAdd(p, r, Broadcast(1.0f));
  const I32 exponent = reinterpret_cast<I32>(shifted) - reinterpret_cast<I32>(magic) + 127;
  return p * reinterpret_cast<F32>(exponent << 23);
}

}  // namespace baton::BATON_SIMD_NAMESPACE
