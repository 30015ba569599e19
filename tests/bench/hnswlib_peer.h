#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "engine/request/vector_request.h"

namespace baton {

// Debian's hnswlib as its user would run it, compiled for this very machine: the peer of the vector
// bench. Rows and queries are scaled to unit length by the caller under kCosine. Throws what
// hnswlib throws.
class HnswlibPeer {
 public:
  HnswlibPeer(Metric metric, int64_t dimension, int64_t rows, int32_t m, int32_t ef_construction);
  // From Save's file.
  HnswlibPeer(Metric metric, int64_t dimension, const std::string& path);
  ~HnswlibPeer();
  HnswlibPeer(const HnswlibPeer&) = delete;
  HnswlibPeer& operator=(const HnswlibPeer&) = delete;

  void Add(int64_t row, const float* vector);
  void Save(const std::string& path) const;
  void SetEf(int64_t ef);
  // Rows of the k nearest, in no order. `query`: [dimension].
  void Search(const float* query, int32_t k, std::vector<int64_t>* rows) const;

 private:
  class Index;
  const std::unique_ptr<Index> index_;
};

// Distances of one query to all rows, by a plain loop: squared for kL2, 1 - product otherwise.
//   query: [dimension]; rows: [count, dimension], row-major; out: [count]
void PlainDistances(Metric metric, const float* query, const float* rows, int64_t count,
                    int64_t dimension, float* out);

}  // namespace baton
