#pragma once

#include <cstdint>
#include <vector>

#include "engine/vector/code_products.h"
#include "engine/vector/hnsw_graph.h"

namespace baton {

// How the values of a segment's vectors become one byte each: value j is about
// low[j] + step[j] * code[j]. Each value has a range of its own, since those at one place of an
// embedding may be many times as large as the others.
//
// A query is scaled by the steps and then by one number, to whole numbers of 13 bits or so (a byte
// would not do where steps differ much): its sum of products with a code comes close to the inner
// product with the vector, less a constant. Under kL2 both are taken from the mean of the vectors,
// which keeps numbers small and changes no distance: |q - v|^2 = |q|^2 + |v|^2 - 2 q v, where |q|^2
// is the same for all rows, and |v|^2, of the vector as its code has it, is stored with the row:
// its norm.
struct CodeBook {
  int64_t dimension = 0;
  Metric metric = Metric::kCosine;
  const float* low = nullptr;   // [dimension]
  const float* step = nullptr;  // [dimension], not negative
  const float* mean = nullptr;  // [dimension]; all zero unless kL2
};

// Fills low, step and mean, [dimension] each, for rows. True where low + step * code is a row's
// value exactly, as of pixels and other small whole numbers.
bool FitCodeBook(const GraphRows& rows, float* low, float* step, float* mean);

// code: [CodeStride(dimension)], zero beyond the dimension. Returns the norm; 0 unless kL2.
float EncodeRow(const CodeBook& book, const float* vector, uint8_t* code);

// vector: [dimension]; the one that was encoded, or close to it.
void DecodeRow(const CodeBook& book, const uint8_t* code, float* vector);

// A query's code. Keeps its memory for the next.
class QueryEncoder {
 public:
  // A row's distance to `query`, [dimension], less what is the same for all rows, is about
  //   norm + factor * sum of products of query and code
  void Encode(const CodeBook& book, const float* query);
  QueryCode code() const;  // zero beyond the dimension
  float factor() const { return factor_; }

 private:
  float factor_ = 0;
  std::vector<int16_t> values_;
  std::vector<int8_t> high_;
  std::vector<int8_t> low_;
};

}  // namespace baton
