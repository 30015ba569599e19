// No include guard: each pq8_scan_LEVEL.cc includes this once, into the namespace it names in
// BATON_SIMD_NAMESPACE, and is compiled for its instruction set. Includes nothing that defines
// inline functions with linkage, which the linker could otherwise share between the levels.
//
// defines: ScanPq8 (PqScanFn)

#include <immintrin.h>

#include <cstdint>

#include "engine/vector/pq_scan.h"

namespace baton::BATON_SIMD_NAMESPACE {

#include "engine/vector/pq_keys-inl.h"

namespace {

constexpr int64_t kTableBytes = 256;

#if defined(__AVX2__)

// Bytes are added up as 16-bit numbers, all of them, and the odd ones alone; the even ones are the
// difference, for which it does not matter that the first sums overflow.
#if defined(__AVX512VBMI__)

// Of kBlocks blocks, two to a register, which share the loads of the tables.
template <int kBlocks>
inline void SumBlocks(const uint8_t* tables, int64_t groups, const uint8_t* blocks,
                      RowSums (&sums)[kBlocks]) {
  constexpr int kPairs = (kBlocks + 1) / 2;
  __m512i all[kPairs];
  __m512i odd[kPairs];
  for (int p = 0; p < kPairs; ++p) all[p] = odd[p] = _mm512_setzero_si512();
  for (int64_t m = 0; m < kPq8Group * groups; ++m) {
    __m512i table[4];
    for (int part = 0; part < 4; ++part) {
      table[part] = _mm512_loadu_si512(tables + m * kTableBytes + part * 64);
    }
    for (int p = 0; p < kPairs; ++p) {
      const auto codes_of = [&](int block) {
        return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(
            blocks + block * groups * kPqLineBytes + m * kPqBlockRows));
      };
      __m512i codes = _mm512_castsi256_si512(codes_of(2 * p));
      if (2 * p + 1 < kBlocks) codes = _mm512_inserti64x4(codes, codes_of(2 * p + 1), 1);
      // 7 bits of a code choose from 128 entries, the eighth between two such choices.
      const __m512i entries = _mm512_mask_blend_epi8(
          _mm512_movepi8_mask(codes), _mm512_permutex2var_epi8(table[0], codes, table[1]),
          _mm512_permutex2var_epi8(table[2], codes, table[3]));
      all[p] = _mm512_add_epi16(all[p], entries);
      odd[p] = _mm512_add_epi16(odd[p], _mm512_srli_epi16(entries, 8));
    }
  }
  for (int b = 0; b < kBlocks; ++b) {
    const __m512i odd_sums = odd[b / 2];
    const __m512i even_sums = _mm512_sub_epi16(all[b / 2], _mm512_slli_epi16(odd_sums, 8));
    sums[b].even =
        b % 2 == 0 ? _mm512_castsi512_si256(even_sums) : _mm512_extracti64x4_epi64(even_sums, 1);
    sums[b].odd =
        b % 2 == 0 ? _mm512_castsi512_si256(odd_sums) : _mm512_extracti64x4_epi64(odd_sums, 1);
  }
}

// Blocks taken together.
constexpr int kTogether = 8;

#else

template <int kBlocks>
inline void SumBlocks(const uint8_t* tables, int64_t groups, const uint8_t* blocks,
                      RowSums (&sums)[kBlocks]) {
  __m256i all[kBlocks];
  __m256i odd[kBlocks];
  for (int b = 0; b < kBlocks; ++b) all[b] = odd[b] = _mm256_setzero_si256();
  const __m256i beyond = _mm256_set1_epi8(0x70);
  for (int64_t m = 0; m < kPq8Group * groups; ++m) {
    __m256i codes[kBlocks];
    __m256i entries[kBlocks];
    for (int b = 0; b < kBlocks; ++b) {
      codes[b] = _mm256_loadu_si256(
          reinterpret_cast<const __m256i*>(blocks + b * groups * kPqLineBytes + m * kPqBlockRows));
      entries[b] = _mm256_setzero_si256();
    }
    for (int part = 0; part < 16; ++part) {
      const __m256i table = _mm256_broadcastsi128_si256(
          _mm_loadu_si128(reinterpret_cast<const __m128i*>(tables + m * kTableBytes + part * 16)));
      const __m256i high = _mm256_set1_epi8(static_cast<char>(part << 4));
      for (int b = 0; b < kBlocks; ++b) {
        // Codes of another part become 128 or more, and look up zero.
        const __m256i low = _mm256_adds_epu8(_mm256_xor_si256(codes[b], high), beyond);
        entries[b] = _mm256_or_si256(entries[b], _mm256_shuffle_epi8(table, low));
      }
    }
    for (int b = 0; b < kBlocks; ++b) {
      all[b] = _mm256_add_epi16(all[b], entries[b]);
      odd[b] = _mm256_add_epi16(odd[b], _mm256_srli_epi16(entries[b], 8));
    }
  }
  for (int b = 0; b < kBlocks; ++b) {
    sums[b] = {.even = _mm256_sub_epi16(all[b], _mm256_slli_epi16(odd[b], 8)), .odd = odd[b]};
  }
}

constexpr int kTogether = 2;

#endif

#else

template <int kBlocks>
inline void SumBlocks(const uint8_t* tables, int64_t groups, const uint8_t* blocks,
                      RowSums (&sums)[kBlocks]) {
  const uint8_t* codes = blocks;
  for (RowSums& block : sums) {
    block = {};
    for (int64_t m = 0; m < kPq8Group * groups; ++m, codes += kPqBlockRows) {
      const uint8_t* const table = tables + m * kTableBytes;
      for (int64_t r = 0; r < kPqBlockRows; ++r) block.row[r] += table[codes[r]];
    }
  }
}

constexpr int kTogether = 1;

#endif

}  // namespace

#include "engine/vector/pq_blocks-inl.h"

void ScanPq8(const PqScan& scan) { ScanAllBlocks(scan); }

}  // namespace baton::BATON_SIMD_NAMESPACE
