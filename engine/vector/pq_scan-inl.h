// No include guard: each pq_scan_LEVEL.cc includes this once, into the namespace it names in
// BATON_SIMD_NAMESPACE, and is compiled for its instruction set. Includes nothing that defines
// inline functions with linkage, which the linker could otherwise share between the levels.
//
// defines: ScanPq (PqScanFn)

#include <immintrin.h>

#include <cstdint>

#include "engine/vector/pq_scan.h"

namespace baton::BATON_SIMD_NAMESPACE {

#include "engine/vector/pq_keys-inl.h"

namespace {

#if defined(__AVX2__)

// Bytes are added up as 16-bit numbers, all of them, and the odd ones alone: that is one shift and
// two additions for each register, and the even ones are the difference.
#if defined(__AVX512F__)

// Of kBlocks blocks, which share the work of spreading the tables.
template <int kBlocks>
inline void SumBlocks(const uint8_t* tables, int64_t groups, const uint8_t* blocks,
                      RowSums (&sums)[kBlocks]) {
  const __m512i low_bits = _mm512_set1_epi8(15);
  __m512i all[kBlocks];
  __m512i odd[kBlocks];
  for (int b = 0; b < kBlocks; ++b) all[b] = odd[b] = _mm512_setzero_si512();
  for (int64_t group = 0; group < groups; ++group) {
    // Lanes 0 and 1 look up codes of one pair of sub-quantisers, 2 and 3 of the next.
    const __m512i table = _mm512_loadu_si512(tables + group * 64);
    const __m512i first = _mm512_shuffle_i64x2(table, table, _MM_SHUFFLE(2, 2, 0, 0));
    const __m512i second = _mm512_shuffle_i64x2(table, table, _MM_SHUFFLE(3, 3, 1, 1));
    for (int b = 0; b < kBlocks; ++b) {
      const __m512i codes = _mm512_loadu_si512(blocks + (b * groups + group) * kPqLineBytes);
      const __m512i low = _mm512_and_si512(codes, low_bits);
      const __m512i high = _mm512_and_si512(_mm512_srli_epi16(codes, 4), low_bits);
      const __m512i both =
          _mm512_add_epi8(_mm512_shuffle_epi8(first, low), _mm512_shuffle_epi8(second, high));
      all[b] = _mm512_add_epi16(all[b], both);
      odd[b] = _mm512_add_epi16(odd[b], _mm512_srli_epi16(both, 8));
    }
  }
  for (int b = 0; b < kBlocks; ++b) {
    const __m512i even = _mm512_sub_epi16(all[b], _mm512_slli_epi16(odd[b], 8));
    sums[b].even =
        _mm256_add_epi16(_mm512_castsi512_si256(even), _mm512_extracti64x4_epi64(even, 1));
    sums[b].odd =
        _mm256_add_epi16(_mm512_castsi512_si256(odd[b]), _mm512_extracti64x4_epi64(odd[b], 1));
  }
}

#else

template <int kBlocks>
inline void SumBlocks(const uint8_t* tables, int64_t groups, const uint8_t* blocks,
                      RowSums (&sums)[kBlocks]) {
  const __m256i low_bits = _mm256_set1_epi8(15);
  __m256i all[kBlocks];
  __m256i odd[kBlocks];
  for (int b = 0; b < kBlocks; ++b) all[b] = odd[b] = _mm256_setzero_si256();
  const auto table_of = [tables](int64_t m) {
    return _mm256_broadcastsi128_si256(
        _mm_loadu_si128(reinterpret_cast<const __m128i*>(tables + m * 16)));
  };
  for (int64_t pair = 0; pair < 2 * groups; ++pair) {
    const __m256i first = table_of(2 * pair);
    const __m256i second = table_of(2 * pair + 1);
    for (int b = 0; b < kBlocks; ++b) {
      const __m256i codes = _mm256_loadu_si256(
          reinterpret_cast<const __m256i*>(blocks + b * groups * kPqLineBytes + pair * 32));
      const __m256i low = _mm256_and_si256(codes, low_bits);
      const __m256i high = _mm256_and_si256(_mm256_srli_epi16(codes, 4), low_bits);
      const __m256i both =
          _mm256_add_epi8(_mm256_shuffle_epi8(first, low), _mm256_shuffle_epi8(second, high));
      all[b] = _mm256_add_epi16(all[b], both);
      odd[b] = _mm256_add_epi16(odd[b], _mm256_srli_epi16(both, 8));
    }
  }
  for (int b = 0; b < kBlocks; ++b) {
    sums[b] = {.even = _mm256_sub_epi16(all[b], _mm256_slli_epi16(odd[b], 8)), .odd = odd[b]};
  }
}

#endif

// Blocks taken together: their chains of additions overlap, and fit into 16 registers.
constexpr int kTogether = 4;

#else

template <int kBlocks>
inline void SumBlocks(const uint8_t* tables, int64_t groups, const uint8_t* blocks,
                      RowSums (&sums)[kBlocks]) {
  const uint8_t* codes = blocks;
  for (RowSums& block : sums) {
    block = {};
    for (int64_t pair = 0; pair < 2 * groups; ++pair, codes += kPqBlockRows) {
      const uint8_t* const first = tables + 2 * pair * 16;
      const uint8_t* const second = first + 16;
      for (int64_t r = 0; r < kPqBlockRows; ++r) {
        block.row[r] += first[codes[r] & 15] + second[codes[r] >> 4];
      }
    }
  }
}

constexpr int kTogether = 1;

#endif

}  // namespace

#include "engine/vector/pq_blocks-inl.h"

void ScanPq(const PqScan& scan) { ScanAllBlocks(scan); }

}  // namespace baton::BATON_SIMD_NAMESPACE
