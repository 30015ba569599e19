#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "engine/request/vector_request.h"

namespace baton {

// What to build: the same numbers on both sides.
struct FaissIvf {
  Metric metric = Metric::kL2;
  int64_t dimension = 0;
  int32_t lists = 0;
  int32_t sub_quantizers = 0;  // of 4 bits; 0: one byte per value
};

// Debian's FAISS as its user would run it: inverted lists, the nearest by code rescored by their
// vectors, which it keeps. On one thread. Throws what FAISS throws.
class FaissPeer {
 public:
  // vectors: [rows, dimension], row-major
  FaissPeer(const FaissIvf& ivf, const float* vectors, int64_t rows);
  ~FaissPeer();
  FaissPeer(const FaissPeer&) = delete;
  FaissPeer& operator=(const FaissPeer&) = delete;

  // nprobe lists; `candidates` are rescored.
  void SetEffort(int32_t nprobe, int32_t candidates);
  // Rows of the k nearest, in no order. `query`: [dimension].
  void Search(const float* query, int32_t k, std::vector<int64_t>* rows) const;

 private:
  class Index;
  const std::unique_ptr<Index> index_;
};

}  // namespace baton
