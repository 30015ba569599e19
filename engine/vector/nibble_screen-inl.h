// No include guard: each nibble_screen_LEVEL.cc includes this once, into the namespace it names in
// BATON_SIMD_NAMESPACE, and is compiled for its instruction set. Includes nothing that defines
// inline functions with linkage, which the linker could otherwise share between the levels.
//
// defines: L2NibbleScreen, ProductNibbleScreen (NibbleScreenFn)

#include <immintrin.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "engine/vector/nibble_screen.h"

namespace baton::BATON_SIMD_NAMESPACE {

#include "engine/vector/scan_key-inl.h"

namespace {

// A scan reads each byte once: what it will need is asked for so far ahead that it is there when a
// group of blocks has been summed up, across pages, where the processor's own prefetching ends.
constexpr int64_t kAheadBytes = 4096;

inline const uint8_t* LinesOf(const std::byte* block) {
  return reinterpret_cast<const uint8_t*>(block) + kNibbleTermsBytes;
}

#if defined(__AVX512VNNI__)

// The products of kBlocks blocks' rows with the query: their chains of additions overlap, and they
// share the work of spreading the query.
template <int kBlocks>
inline void SumBlocks(const NibbleScreen& screen, const std::byte* blocks, int64_t block_bytes,
                      int32_t* products) {
  const __m512i low_bits = _mm512_set1_epi8(15);
  __m512i low[kBlocks];
  __m512i high[kBlocks];  // 16 times the sum
  for (int b = 0; b < kBlocks; ++b) low[b] = high[b] = _mm512_setzero_si512();
  for (int64_t line = 0; line < screen.lines; ++line) {
    const int8_t* const query = screen.query + line * kNibbleLineValues;
    const __m512i query_low = _mm512_set1_epi32(At<int32_t>(query));
    const __m512i query_high = _mm512_set1_epi32(At<int32_t>(query + 4));
    for (int b = 0; b < kBlocks; ++b) {
      const uint8_t* const at = LinesOf(blocks + b * block_bytes) + line * kNibbleLineBytes;
      __builtin_prefetch(at + kAheadBytes, 0, 3);
      const __m512i codes = _mm512_load_si512(at);
      low[b] = _mm512_dpbusd_epi32(low[b], _mm512_and_si512(codes, low_bits), query_low);
      high[b] = _mm512_dpbusd_epi32(high[b], _mm512_andnot_si512(low_bits, codes), query_high);
    }
  }
  for (int b = 0; b < kBlocks; ++b) {
    _mm512_storeu_si512(products + b * kNibbleBlockRows,
                        _mm512_add_epi32(low[b], _mm512_srai_epi32(high[b], 4)));
  }
}

#elif defined(__AVX2__)

template <int kBlocks>
inline void SumBlocks(const NibbleScreen& screen, const std::byte* blocks, int64_t block_bytes,
                      int32_t* products) {
  const __m256i low_bits = _mm256_set1_epi8(15);
  const __m256i ones = _mm256_set1_epi16(1);
  __m256i sums[kBlocks][2];
  for (int b = 0; b < kBlocks; ++b) sums[b][0] = sums[b][1] = _mm256_setzero_si256();
  for (int64_t line = 0; line < screen.lines; ++line) {
    const int8_t* const query = screen.query + line * kNibbleLineValues;
    const __m256i query_low = _mm256_set1_epi32(At<int32_t>(query));
    const __m256i query_high = _mm256_set1_epi32(At<int32_t>(query + 4));
    for (int b = 0; b < kBlocks; ++b) {
      const uint8_t* const at = LinesOf(blocks + b * block_bytes) + line * kNibbleLineBytes;
      __builtin_prefetch(at + kAheadBytes, 0, 3);
      for (int half = 0; half < 2; ++half) {
        const __m256i codes = At<__m256i>(at + half * 32);
        // 4 products of at most 15 * 127 each: 16 bits hold them.
        const __m256i four = _mm256_add_epi16(
            _mm256_maddubs_epi16(_mm256_and_si256(codes, low_bits), query_low),
            _mm256_maddubs_epi16(_mm256_and_si256(_mm256_srli_epi16(codes, 4), low_bits),
                                 query_high));
        sums[b][half] = _mm256_add_epi32(sums[b][half], _mm256_madd_epi16(four, ones));
      }
    }
  }
  for (int b = 0; b < kBlocks; ++b) {
    std::memcpy(products + b * kNibbleBlockRows, &sums[b], sizeof(sums[b]));
  }
}

#else

template <int kBlocks>
inline void SumBlocks(const NibbleScreen& screen, const std::byte* blocks, int64_t block_bytes,
                      int32_t* products) {
  for (int b = 0; b < kBlocks; ++b, products += kNibbleBlockRows) {
    for (int64_t row = 0; row < kNibbleBlockRows; ++row) products[row] = 0;
    const uint8_t* codes = LinesOf(blocks + b * block_bytes);
    for (int64_t line = 0; line < screen.lines; ++line) {
      const int8_t* const query = screen.query + line * kNibbleLineValues;
      for (int64_t row = 0; row < kNibbleBlockRows; ++row) {
        for (int64_t j = 0; j < 4; ++j, ++codes) {
          products[row] += query[j] * (*codes & 15) + query[4 + j] * (*codes >> 4);
        }
      }
    }
  }
}

#endif

template <bool kL2>
inline int64_t ScreenBlock(const ScanLimits& limits, const std::byte* block,
                           const int32_t* products, uint32_t place, uint32_t* places) {
  const auto* const terms = reinterpret_cast<const float*>(block);
  const ScanRows rows = {.low = terms,
                         .step = terms + kNibbleBlockRows,
                         .error = terms + 2 * kNibbleBlockRows,
                         .size = terms + 3 * kNibbleBlockRows};
  int64_t found = 0;
  for (int64_t i = 0; i < kNibbleBlockRows; i += kLanes) {
    const Floats product = __builtin_convertvector(At<Ints>(products + i), Floats);
    const Floats key = KeyOf<kL2>(limits, rows, i, product);
    uint32_t kept = NotBelowZero(LimitOf<kL2, Floats>(limits, rows, i) - key);
    for (; kept != 0; kept &= kept - 1) {
      places[found++] = place + static_cast<uint32_t>(i + __builtin_ctz(kept));
    }
  }
  return found;
}

template <bool kL2, int kBlocks>
inline int64_t ScreenBlocks(const ScanLimits& limits, const NibbleScreen& screen, int64_t first,
                            uint32_t* places) {
  const int64_t block_bytes = kNibbleTermsBytes + screen.lines * kNibbleLineBytes;
  const std::byte* const blocks = screen.blocks + first * block_bytes;
  int32_t products[kBlocks * kNibbleBlockRows];
  SumBlocks<kBlocks>(screen, blocks, block_bytes, products);
  int64_t found = 0;
  for (int b = 0; b < kBlocks; ++b) {
    const std::byte* const block = blocks + b * block_bytes;
    for (int64_t byte = 0; byte < kNibbleTermsBytes; byte += kNibbleLineBytes) {
      __builtin_prefetch(block + kAheadBytes + byte, 0, 3);
    }
    found +=
        ScreenBlock<kL2>(limits, block, products + b * kNibbleBlockRows,
                         static_cast<uint32_t>((first + b) * kNibbleBlockRows), places + found);
  }
  return found;
}

template <bool kL2>
inline int64_t Screen(const ScanLimits& limits, const NibbleScreen& screen, uint32_t* places) {
  int64_t found = 0;
  int64_t block = 0;
  for (; block + 4 <= screen.block_count; block += 4) {
    found += ScreenBlocks<kL2, 4>(limits, screen, block, places + found);
  }
  for (; block < screen.block_count; ++block) {
    found += ScreenBlocks<kL2, 1>(limits, screen, block, places + found);
  }
  return found;
}

}  // namespace

int64_t L2NibbleScreen(const ScanLimits& limits, const NibbleScreen& screen, uint32_t* places) {
  return Screen<true>(limits, screen, places);
}

int64_t ProductNibbleScreen(const ScanLimits& limits, const NibbleScreen& screen,
                            uint32_t* places) {
  return Screen<false>(limits, screen, places);
}

}  // namespace baton::BATON_SIMD_NAMESPACE
