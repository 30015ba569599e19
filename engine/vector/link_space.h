#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "engine/base/huge_buffer.h"
#include "engine/vector/code_book.h"
#include "engine/vector/code_products.h"
#include "engine/vector/distance.h"
#include "engine/vector/graph_rows.h"

namespace baton {

// What GraphLinker measures lengths in: distances between nodes by their vectors.
class VectorSpace {
 public:
  // `rows` and `nodes` outlive it.
  VectorSpace(const GraphRows& rows, const GraphNodes& nodes);

  // A node that others are compared with.
  struct Query {
    const float* vector = nullptr;
  };
  void Prepare(uint32_t node, Query* query) const { query->vector = VectorOf(node); }
  // The node will be scored soon.
  void Want(uint32_t node) const;
  // distances: [nodes]. Comparable between queries.
  void Score(const Query& query, std::span<const uint32_t> nodes, float* distances) const;

 private:
  const float* VectorOf(uint32_t node) const {
    return rows_.vectors + int64_t{nodes_.first_row[node]} * rows_.dimension;
  }

  const GraphRows rows_;
  const GraphNodes& nodes_;
  const DistanceFn distance_;
};

// The same by codes: close to it, for a quarter of the memory traffic.
class CodeSpace {
 public:
  CodeSpace(const GraphRows& rows, const GraphNodes& nodes);

  struct Query {
    QueryEncoder encoder;
    float constant = 0;
  };
  void Prepare(uint32_t node, Query* query) const;
  void Want(uint32_t node) const {
    const uint8_t* const code = Code(node);
    for (int64_t i = 0; i < prefetch_bytes_; i += 64) __builtin_prefetch(code + i);
    __builtin_prefetch(&norms_[node]);
  }
  void Score(const Query& query, std::span<const uint32_t> nodes, float* distances);

  // Whether what is nearest by vectors is among the nearest by codes, tried with some nodes.
  bool TellsNeighborsApart(const VectorSpace& vectors);

 private:
  const uint8_t* Code(uint32_t node) const {
    return reinterpret_cast<const uint8_t*>(codes_.data()) + int64_t{node} * stride_;
  }

  const GraphRows rows_;
  const GraphNodes& nodes_;
  const int64_t stride_;
  const int64_t prefetch_bytes_;
  const CodeProductsFn products_;
  std::vector<float> book_values_;  // [3, dimension]
  CodeBook book_;
  HugeBuffer codes_;              // u8 [nodes, stride]
  std::vector<float> norms_;      // [nodes]: under kL2, of the decoded vector; zero otherwise
  std::vector<float> constants_;  // [nodes]: QueryConstant
  std::vector<int32_t> sums_;     // scratch of Score
};

}  // namespace baton
