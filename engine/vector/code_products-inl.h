// No include guard: each code_products_LEVEL.cc includes this once, into the namespace it names in
// BATON_SIMD_NAMESPACE, and is compiled for its instruction set. Includes nothing that defines
// inline functions with linkage, which the linker could otherwise share between the levels.
//
// defines: CodeProducts (CodeProductsFn)

#include <immintrin.h>

#include <cstdint>

#include "engine/vector/query_code.h"

namespace baton::BATON_SIMD_NAMESPACE {
namespace {

#if defined(__AVX2__)

// Rows taken together: their sums are added up across lanes at once, and their loads overlap.
constexpr int64_t kRows = 4;

// Lane r of the result: the sum of all lanes of sums[r].
inline __m128i AddUp(const __m256i (&sums)[kRows]) {
  const __m256i pairs =
      _mm256_hadd_epi32(_mm256_hadd_epi32(sums[0], sums[1]), _mm256_hadd_epi32(sums[2], sums[3]));
  return _mm_add_epi32(_mm256_castsi256_si128(pairs), _mm256_extracti128_si256(pairs, 1));
}

// Products of 16 values, added in pairs.
inline __m256i Products16(const int16_t* query, const uint8_t* code) {
  const __m256i q = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(query));
  const __m256i c = _mm256_cvtepu8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(code)));
  return _mm256_madd_epi16(q, c);
}

// stride: 16, or a multiple of 32
inline __m256i ShortProduct(const QueryCode& query, const uint8_t* code, int64_t stride) {
  __m256i sum = Products16(query.values, code);
  for (int64_t i = 16; i < stride; i += 16) {
    sum = _mm256_add_epi32(sum, Products16(query.values + i, code + i));
  }
  return sum;
}

#endif

#if defined(__AVX512F__)

inline __m256i Halved(__m512i sum) {
  return _mm256_add_epi32(_mm512_castsi512_si256(sum), _mm512_extracti64x4_epi64(sum, 1));
}

#if defined(__AVX512VNNI__)

inline __m256i LongProduct(const QueryCode& query, const uint8_t* code, int64_t stride) {
  __m512i high = _mm512_setzero_si512();
  __m512i low = _mm512_setzero_si512();
  for (int64_t i = 0; i < stride; i += 64) {
    const __m512i c = _mm512_loadu_si512(code + i);
    high = _mm512_dpbusd_epi32(high, c, _mm512_loadu_si512(query.high + i));
    low = _mm512_dpbusd_epi32(low, c, _mm512_loadu_si512(query.low + i));
  }
  return Halved(_mm512_add_epi32(_mm512_slli_epi32(high, 7), low));
}

#else

inline __m256i LongProduct(const QueryCode& query, const uint8_t* code, int64_t stride) {
  __m512i sum = _mm512_setzero_si512();
  for (int64_t i = 0; i < stride; i += 32) {
    const __m512i c =
        _mm512_cvtepu8_epi16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(code + i)));
    sum = _mm512_add_epi32(sum, _mm512_madd_epi16(c, _mm512_loadu_si512(query.values + i)));
  }
  return Halved(sum);
}

#endif

inline __m256i Product(const QueryCode& query, const uint8_t* code, int64_t stride) {
  return stride < 64 ? ShortProduct(query, code, stride) : LongProduct(query, code, stride);
}

#elif defined(__AVX2__)

inline __m256i Product(const QueryCode& query, const uint8_t* code, int64_t stride) {
  return ShortProduct(query, code, stride);
}

#endif

}  // namespace

#if defined(__AVX2__)

void CodeProducts(const QueryCode& query, const uint8_t* codes, int64_t stride,
                  const uint32_t* rows, int64_t count, int32_t* out) {
  for (int64_t i = 0; i < count; i += kRows) {
    const int64_t present = count - i < kRows ? count - i : kRows;
    __m256i sums[kRows];
    for (int64_t r = 0; r < kRows; ++r) {
      // The last row stands in for those that are missing.
      sums[r] = Product(query, codes + rows[i + (r < present ? r : present - 1)] * stride, stride);
    }
    const __m128i products = AddUp(sums);
    if (present == kRows) {
      _mm_storeu_si128(reinterpret_cast<__m128i*>(out + i), products);
      continue;
    }
    int32_t last[kRows];
    _mm_storeu_si128(reinterpret_cast<__m128i*>(last), products);
    for (int64_t r = 0; r < present; ++r) out[i + r] = last[r];
  }
}

#else

void CodeProducts(const QueryCode& query, const uint8_t* codes, int64_t stride,
                  const uint32_t* rows, int64_t count, int32_t* out) {
  for (int64_t i = 0; i < count; ++i) {
    const uint8_t* const code = codes + rows[i] * stride;
    int32_t sum = 0;
    for (int64_t j = 0; j < stride; ++j) sum += int32_t{query.values[j]} * code[j];
    out[i] = sum;
  }
}

#endif

}  // namespace baton::BATON_SIMD_NAMESPACE
