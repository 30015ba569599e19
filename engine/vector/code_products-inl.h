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

// Sums over a code, in 8 lanes.
struct CodeSums {
  __m256i products;
  __m256i squares;
};

// length: a multiple of 16
template <bool kSquares>
inline CodeSums ShortSums(const QueryCode& query, const uint8_t* code, int64_t length) {
  CodeSums sums = {_mm256_setzero_si256(), _mm256_setzero_si256()};
  for (int64_t i = 0; i < length; i += 16) {
    const __m256i q = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(query.values + i));
    const __m256i c =
        _mm256_cvtepu8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(code + i)));
    sums.products = _mm256_add_epi32(sums.products, _mm256_madd_epi16(q, c));
    if (kSquares) sums.squares = _mm256_add_epi32(sums.squares, _mm256_madd_epi16(c, c));
  }
  return sums;
}

#endif

#if defined(__AVX512F__)

inline __m256i Halved(__m512i sum) {
  return _mm256_add_epi32(_mm512_castsi512_si256(sum), _mm512_extracti64x4_epi64(sum, 1));
}

#if defined(__AVX512VNNI__)

template <bool kSquares>
inline CodeSums LongSums(const QueryCode& query, const uint8_t* code, int64_t length) {
  __m512i high = _mm512_setzero_si512();
  __m512i low = _mm512_setzero_si512();
  __m512i square = _mm512_setzero_si512();
  __m512i square_top = _mm512_setzero_si512();
  for (int64_t i = 0; i < length; i += 64) {
    const __m512i c = _mm512_loadu_si512(code + i);
    high = _mm512_dpbusd_epi32(high, c, _mm512_loadu_si512(query.high + i));
    low = _mm512_dpbusd_epi32(low, c, _mm512_loadu_si512(query.low + i));
    if (kSquares) {
      // One factor must be signed: c = rest + 128 * top, and 64 * top is taken twice.
      const __m512i rest = _mm512_and_si512(c, _mm512_set1_epi8(127));
      const __m512i top = _mm512_and_si512(_mm512_srli_epi16(c, 1), _mm512_set1_epi8(64));
      square = _mm512_dpbusd_epi32(square, c, rest);
      square_top = _mm512_dpbusd_epi32(square_top, c, top);
    }
  }
  return {Halved(_mm512_add_epi32(_mm512_slli_epi32(high, 7), low)),
          Halved(_mm512_add_epi32(_mm512_slli_epi32(square_top, 1), square))};
}

#else

template <bool kSquares>
inline CodeSums LongSums(const QueryCode& query, const uint8_t* code, int64_t length) {
  __m512i products = _mm512_setzero_si512();
  __m512i squares = _mm512_setzero_si512();
  for (int64_t i = 0; i < length; i += 32) {
    const __m512i c =
        _mm512_cvtepu8_epi16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(code + i)));
    const __m512i q = _mm512_loadu_si512(query.values + i);
    products = _mm512_add_epi32(products, _mm512_madd_epi16(c, q));
    if (kSquares) squares = _mm512_add_epi32(squares, _mm512_madd_epi16(c, c));
  }
  return {Halved(products), Halved(squares)};
}

#endif

template <bool kSquares>
inline CodeSums Sums(const QueryCode& query, const uint8_t* code, int64_t length) {
  return length < 64 ? ShortSums<kSquares>(query, code, length)
                     : LongSums<kSquares>(query, code, length);
}

#elif defined(__AVX2__)

template <bool kSquares>
inline CodeSums Sums(const QueryCode& query, const uint8_t* code, int64_t length) {
  return ShortSums<kSquares>(query, code, length);
}

#endif

#if defined(__AVX2__)

inline void Store(__m128i sums, int64_t count, int32_t* out) {
  if (count == kRows) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out), sums);
    return;
  }
  int32_t all[kRows];
  _mm_storeu_si128(reinterpret_cast<__m128i*>(all), sums);
  for (int64_t r = 0; r < count; ++r) out[r] = all[r];
}

template <bool kSquares>
inline void SumRows(const QueryCode& query, const uint8_t* codes, int64_t stride, int64_t length,
                    const uint32_t* rows, int64_t count, int32_t* products, int32_t* squares) {
  for (int64_t i = 0; i < count; i += kRows) {
    const int64_t present = count - i < kRows ? count - i : kRows;
    __m256i product_sums[kRows];
    __m256i square_sums[kRows];
    for (int64_t r = 0; r < kRows; ++r) {
      // The last row stands in for those that are missing.
      const CodeSums sums =
          Sums<kSquares>(query, codes + rows[i + (r < present ? r : present - 1)] * stride, length);
      product_sums[r] = sums.products;
      square_sums[r] = sums.squares;
    }
    Store(AddUp(product_sums), present, products + i);
    if (kSquares) Store(AddUp(square_sums), present, squares + i);
  }
}

#else

template <bool kSquares>
inline void SumRows(const QueryCode& query, const uint8_t* codes, int64_t stride, int64_t length,
                    const uint32_t* rows, int64_t count, int32_t* products, int32_t* squares) {
  for (int64_t i = 0; i < count; ++i) {
    const uint8_t* const code = codes + rows[i] * stride;
    int32_t product = 0;
    int32_t square = 0;
    for (int64_t j = 0; j < length; ++j) {
      product += int32_t{query.values[j]} * code[j];
      if (kSquares) square += int32_t{code[j]} * code[j];
    }
    products[i] = product;
    if (kSquares) squares[i] = square;
  }
}

#endif

}  // namespace

void CodeProducts(const QueryCode& query, const uint8_t* codes, int64_t stride, int64_t length,
                  const uint32_t* rows, int64_t count, int32_t* products, int32_t* squares) {
  if (squares == nullptr) {
    SumRows<false>(query, codes, stride, length, rows, count, products, nullptr);
  } else {
    SumRows<true>(query, codes, stride, length, rows, count, products, squares);
  }
}

}  // namespace baton::BATON_SIMD_NAMESPACE
