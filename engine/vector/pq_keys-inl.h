// No include guard: each source that scans product codes includes this once, in the namespace of
// its instruction set. Includes nothing that defines inline functions with linkage.
//
// defines: RowSums, StoreBlock

namespace {

#if defined(__AVX2__)

// Sums of a block's rows: 16 bits each, those of even rows and those of odd rows.
struct RowSums {
  __m256i even;
  __m256i odd;
};

#if defined(__AVX512F__)

// 16 rows.
inline uint32_t StoreKeys(const PqScan& scan, __m256i sums, int64_t row) {
  __m512 key = _mm512_set1_ps(scan.base);
  if (scan.terms != nullptr) key = _mm512_add_ps(key, _mm512_loadu_ps(scan.terms + row));
  key = _mm512_add_ps(key, _mm512_mul_ps(_mm512_set1_ps(scan.scale),
                                         _mm512_cvtepi32_ps(_mm512_cvtepu16_epi32(sums))));
  _mm512_storeu_ps(scan.keys + row, key);
  return _mm512_cmp_ps_mask(key, _mm512_set1_ps(scan.bound), _CMP_LT_OQ);
}

#else

// 8 rows.
inline uint32_t StoreEight(const PqScan& scan, __m128i sums, int64_t row) {
  __m256 key = _mm256_set1_ps(scan.base);
  if (scan.terms != nullptr) key = _mm256_add_ps(key, _mm256_loadu_ps(scan.terms + row));
  key = _mm256_add_ps(key, _mm256_mul_ps(_mm256_set1_ps(scan.scale),
                                         _mm256_cvtepi32_ps(_mm256_cvtepu16_epi32(sums))));
  _mm256_storeu_ps(scan.keys + row, key);
  return static_cast<uint32_t>(
      _mm256_movemask_ps(_mm256_cmp_ps(key, _mm256_set1_ps(scan.bound), _CMP_LT_OQ)));
}

// 16 rows.
inline uint32_t StoreKeys(const PqScan& scan, __m256i sums, int64_t row) {
  return StoreEight(scan, _mm256_castsi256_si128(sums), row) |
         StoreEight(scan, _mm256_extracti128_si256(sums, 1), row + 8) << 8;
}

#endif

inline void StoreBlock(const PqScan& scan, const RowSums& sums, int64_t block) {
  // Rows 0 to 7 and 16 to 23; 8 to 15 and 24 to 31.
  const __m256i low = _mm256_unpacklo_epi16(sums.even, sums.odd);
  const __m256i high = _mm256_unpackhi_epi16(sums.even, sums.odd);
  const int64_t row = block * kPqBlockRows;
  const uint32_t nearer = StoreKeys(scan, _mm256_permute2x128_si256(low, high, 0x20), row);
  scan.nearer[block] =
      nearer | StoreKeys(scan, _mm256_permute2x128_si256(low, high, 0x31), row + 16) << 16;
}

#else

// Sums of a block's rows.
struct RowSums {
  int32_t row[kPqBlockRows];
};

inline void StoreBlock(const PqScan& scan, const RowSums& sums, int64_t block) {
  uint32_t nearer = 0;
  for (int64_t r = 0; r < kPqBlockRows; ++r) {
    const int64_t row = block * kPqBlockRows + r;
    float key = scan.base;
    if (scan.terms != nullptr) key += scan.terms[row];
    key += scan.scale * static_cast<float>(sums.row[r]);
    scan.keys[row] = key;
    nearer |= (key < scan.bound ? uint32_t{1} : uint32_t{0}) << r;
  }
  scan.nearer[block] = nearer;
}

#endif

}  // namespace
