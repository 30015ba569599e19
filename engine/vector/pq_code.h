#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "engine/vector/pq_scan.h"

namespace baton {

// Codes of a product quantiser: a vector is cut into parts of equal length, the last ones padded
// with zeros, and each part is coded by the number of the nearest of its 16 or 256 centroids.
struct PqShape {
  int32_t dimension = 0;
  int32_t part = 0;            // values of a part
  int32_t parts = 0;           // with a value of the vector
  int32_t sub_quantizers = 0;  // parts, and as many empty ones as make groups
  int32_t bits = 4;            // of a code; or 8

  int64_t centroids() const { return int64_t{1} << bits; }  // of each part
  int64_t group() const { return bits == 8 ? kPq8Group : kPqGroup; }
  int64_t groups() const { return sub_quantizers / group(); }
  int64_t padded() const { return int64_t{sub_quantizers} * part; }
  int64_t book_values() const { return padded() * centroids(); }
};

// The shape of codes of about so many bytes; never longer than a value to a code. bits: 4 or 8
PqShape PqShapeFor(int32_t dimension, int32_t code_bytes, int32_t bits = 4);
inline constexpr int32_t kPqBytesMax = kPqSubQuantizersMax / 2;

// The centroids of all parts, [sub_quantizers, part, centroids]: those of one place lie side by
// side.
struct PqBook {
  PqShape shape;
  const float* values = nullptr;
};

// From [parts, centroids, part], as they are trained. book: [shape.book_values()]
void ArrangeBook(const PqShape& shape, const std::vector<float>& trained, float* book);

// codes[m] = the nearest centroid of part m, the first of several; vector: [padded]
void EncodePq(const PqBook& book, const float* vector, uint8_t* codes);

// vector: [padded]
void DecodePq(const PqBook& book, const uint8_t* codes, float* vector);

// Puts a row's codes where scans expect them: `row` of a block's lines.
void StorePqCodes(const PqShape& shape, const uint8_t* codes, int64_t row, uint8_t* block);

// A query's products with all centroids, in whole numbers. Keeps its memory for the next.
class PqTables {
 public:
  // bias() + scale() * sum over m of entries[m][codes[m]] is about factor * the product of `query`,
  // [padded], with the vector of the codes.
  void Fill(const PqBook& book, const float* query, float factor);
  const uint8_t* entries() const { return entries_.data(); }  // [sub_quantizers, centroids]
  float bias() const { return bias_; }
  float scale() const { return scale_; }

 private:
  template <size_t kCentroids>
  void FillOf(const PqBook& book, const float* query, float factor, int32_t entry_max);

  float bias_ = 0;
  float scale_ = 0;
  std::vector<float> products_;
  std::vector<uint8_t> entries_;
};

}  // namespace baton
