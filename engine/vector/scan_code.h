#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "engine/request/vector_request.h"
#include "engine/vector/code_products.h"
#include "engine/vector/query_planes.h"
#include "engine/vector/scan_screen.h"

namespace baton {

// How rows are coded one by one, as they come, so that a scan reads a byte for each value and still
// finds exactly what comparing all vectors would: value j of a row is about low + step * code[j],
// and the length of the difference is kept. By the triangle inequality a row's distance to a query
// is then no further from that of its code than the two codes' errors, which says of most rows that
// they cannot be among the nearest.

// The same by 4 bits a value is half of the bytes: a scan reads those first (nibble_screen.h), of
// 16 rows together, and the codes of a byte only of rows that they do not exclude.

// Shorter vectors are compared as quickly without codes.
inline constexpr int64_t kScanCodeDimensionMin = 32;

// One number of each array of ScanRows. `error` is at least the length of what the code leaves out;
// `size` at least the sum of |step * code| and |low| as vectors, under kL2 instead at most the
// code's squared length. All with room for what sums of floats lose.
struct ScanTerms {
  float low = 0;
  float step = 0;
  float error = 0;
  float size = 0;
};

// vector: [dimension], as distances take it; code: [CodeStride(dimension)], zero beyond the
// dimension. Whole numbers within a range of 255, as of pixels, are coded without error.
ScanTerms EncodeScanRow(Metric metric, const float* vector, int64_t dimension, uint8_t* code);

// The same within a range of 15, a value to a byte. code: [8 * NibbleLines(dimension)]
ScanTerms EncodeNibbleRow(Metric metric, const float* vector, int64_t dimension, uint8_t* code);

// Puts 16 such rows where screens expect them.
//   terms: [16]; codes: [16, 8 * NibbleLines(dimension)]; block: [NibbleBlockBytes(dimension)]
void StoreNibbleBlock(const ScanTerms* terms, const uint8_t* codes, int64_t dimension,
                      std::byte* block);

// What is known of a query that was coded in whole numbers: what its keys are made of.
class ScanBounds {
 public:
  // query: [dimension], as distances take it; it was coded as unit * values[j].
  template <class T>
  void Fit(Metric metric, const float* query, int64_t dimension, float unit, const T* values);
  // With these no row is refused for which DistanceFor returns `farthest` or less.
  ScanLimits LimitsFor(float farthest) const;

 private:
  Metric metric_ = Metric::kL2;
  ScanLimits limits_;     // all but the radius
  double error_ = 0;      // length of what the code leaves out
  double rounding_ = 0;   // relative error of a distance's sum
  double underflow_ = 0;  // absolute
};

// A query's side of it. Keeps its memory for the next.
class ScanQuery {
 public:
  // query: [dimension], as distances take it
  void Encode(Metric metric, const float* query, int64_t dimension);
  QueryCode code() const { return planes_.code(); }  // [CodeStride(dimension)]
  ScanLimits LimitsFor(float farthest) const { return bounds_.LimitsFor(farthest); }

 private:
  QueryPlanes planes_;
  ScanBounds bounds_;
};

// The same for rows of 4 bits a value.
class NibbleQuery {
 public:
  void Encode(Metric metric, const float* query, int64_t dimension);
  const int8_t* values() const { return values_.data(); }  // [NibbleLines(dimension), 8]
  ScanLimits LimitsFor(float farthest) const { return bounds_.LimitsFor(farthest); }

 private:
  std::vector<int8_t> values_;
  ScanBounds bounds_;
};

}  // namespace baton
