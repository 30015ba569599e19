#pragma once

#include <cstdint>
#include <vector>

#include "engine/vector/code_products.h"
#include "engine/vector/graph_rows.h"
#include "engine/vector/query_planes.h"

namespace baton {

// How the values of a segment's vectors become one byte each: value j is about
// low[j] + step[j] * code[j]. Each value has a range of its own, since those at one place of an
// embedding may be many times as large as the others.
//
// A query is taken from an origin, scaled by the steps and then by one number, to whole numbers of
// 13 bits or so (a byte would not do where steps differ much): its sum of products with a code
// comes close to the inner product with the vector, less a constant. Under kL2, |q - v|^2 = |q|^2 +
// |v|^2 - 2 q v whatever the origin, and |q|^2 is the same for all rows. Where all steps are the
// same and the origin is `low`, |v|^2 is the sum of squares of the code, times square_factor.
// Otherwise the origin is the mean of the vectors, which keeps numbers small, and |v|^2, of the
// vector as its code has it, is stored with the row: its norm.
struct CodeBook {
  int64_t dimension = 0;
  float square_factor = 0;        // 0: squares do not count
  const float* low = nullptr;     // [dimension]
  const float* step = nullptr;    // [dimension], not negative
  const float* origin = nullptr;  // [dimension]
};

// How a code book was made.
struct CodeBookFit {
  bool exact = false;    // low + step * code is a row's value, as of pixels and small whole numbers
  bool squares = false;  // under kL2: norms are the squares of codes
};

// Fills low, step and origin, [dimension] each, for rows.
CodeBookFit FitCodeBook(const GraphRows& rows, float* low, float* step, float* origin);

// code: [CodeStride(dimension)], zero beyond the dimension. Returns |v|^2 from the origin.
float EncodeRow(const CodeBook& book, const float* vector, uint8_t* code);

// What QueryEncoder leaves out of a distance to all rows, where `vector` is the query and `norm`
// its own, as EncodeRow has it.
float QueryConstant(const CodeBook& book, Metric metric, const float* vector, float norm);

// vector: [dimension]; the one that was encoded, or close to it.
void DecodeRow(const CodeBook& book, const uint8_t* code, float* vector);

// |query - origin|^2 of the first `count` values; whole cache lines of a code, or all.
float LengthSquared(const CodeBook& book, const float* query, int64_t count);

// A query's code. Keeps its memory for the next.
class QueryEncoder {
 public:
  // A row's distance to `query`, [dimension], less what is the same for all rows, is about
  //   norm (or square_factor * sum of squares of the code) + factor * sum of products with the code
  // under kL2, and without the first term otherwise.
  void Encode(const CodeBook& book, Metric metric, const float* query);
  QueryCode code() const { return planes_.code(); }  // zero beyond the dimension
  float factor() const { return factor_; }

 private:
  float factor_ = 0;
  QueryPlanes planes_;
};

}  // namespace baton
