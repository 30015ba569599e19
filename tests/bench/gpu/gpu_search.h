#pragma once

#include <cstdint>

#include "cuda_kernels/distance_top_k.h"
#include "tests/bench/gpu/gpu_bench.h"

namespace baton::gpu_bench {

struct SearchShape {
  int64_t rows;
  int64_t dimension;
  int64_t queries;
  int32_t k;
};

// Random vectors and queries, packed, under L2.
class SearchInput {
 public:
  Error Make(const Bench& bench, const SearchShape& shape);
  const cuda::DistanceTopKArgs& args() const { return args_; }
  double flops() const { return flops_; }

 private:
  Buffer rows_;
  Buffer row_terms_;
  Buffer queries_;
  Buffer query_terms_;
  Buffer distances_;
  Buffer nearest_;
  Buffer workspace_;
  cuda::DistanceTopKArgs args_ = {};
  double flops_ = 0;
};

}  // namespace baton::gpu_bench
