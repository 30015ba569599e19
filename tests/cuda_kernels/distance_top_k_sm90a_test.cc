#include "cuda_kernels/distance_top_k_sm90a.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <iostream>

#include "cuda_kernels/tile_map_sm90a.h"
#include "tests/cuda_kernels/kernel_suite.h"

namespace baton::cuda {
namespace {

struct Shape {
  int64_t queries = 150;
  int64_t rows = 3000;
  int64_t dimension = 96;
  int32_t k = 10;
  int32_t splits = 2;
  VectorMetric metric = VectorMetric::kL2;
  bool some_live = false;
};

// Both kernels over whole numbers, of which all sums are exact: they find the same.
std::string RunBoth(const Shape& s) {
  const int64_t cols = PackedColumns(s.dimension);
  const auto whole = [](int64_t count, uint64_t seed) {
    std::vector<float> values = RandomFloats(static_cast<size_t>(count), seed);
    for (float& x : values) x = std::nearbyint(x * 3);
    return values;
  };
  const DeviceArray<float> queries(whole(s.queries * s.dimension, 31));
  const DeviceArray<float> rows(whole(s.rows * s.dimension, 32));
  const DeviceArray<__nv_bfloat16> packed_queries(static_cast<size_t>(s.queries * cols));
  const DeviceArray<__nv_bfloat16> packed_rows(static_cast<size_t>(s.rows * cols));
  const DeviceArray<float> query_terms(static_cast<size_t>(s.queries));
  const DeviceArray<float> row_terms(static_cast<size_t>(s.rows));
  const auto pack = [&](const auto& from, const auto& to, const auto& terms, int64_t count) {
    return Failure(PackVectors({.vectors = from.data(),
                                .packed = to.data(),
                                .terms = terms.data(),
                                .rows = count,
                                .dimension = s.dimension,
                                .metric = s.metric},
                               nullptr));
  };
  std::string failure = pack(queries, packed_queries, query_terms, s.queries);
  if (failure.empty()) failure = pack(rows, packed_rows, row_terms, s.rows);
  if (!failure.empty()) return failure;
  const DeviceArray<uint32_t> live(
      std::vector<uint32_t>(static_cast<size_t>((s.rows + 31) / 32), 0xa5a5f00fu));
  const auto out = static_cast<size_t>(s.queries * s.k);
  std::vector<uint32_t> found[2];
  std::vector<float> far[2];
  for (int kernel = 0; kernel < 2; ++kernel) {
    const DeviceArray<float> distances(out);
    const DeviceArray<uint32_t> nearest(out);
    const DeviceArray<uint64_t> workspace(
        static_cast<size_t>(
            DistanceTopKWorkspaceBytes({.query_count = s.queries, .k = s.k, .splits = s.splits})) /
        sizeof(uint64_t));
    const DistanceTopKArgs args = {.queries = packed_queries.data(),
                                   .query_terms = query_terms.data(),
                                   .rows = packed_rows.data(),
                                   .row_terms = row_terms.data(),
                                   .live = s.some_live ? live.data() : nullptr,
                                   .live_stride = 0,
                                   .keys = nullptr,
                                   .distances = distances.data(),
                                   .nearest = nearest.data(),
                                   .workspace = workspace.data(),
                                   .query_count = s.queries,
                                   .row_count = s.rows,
                                   .cols = cols,
                                   .metric = s.metric,
                                   .k = s.k,
                                   .splits = s.splits};
    failure = Failure(kernel == 0 ? DistanceTopK(args, nullptr) : DistanceTopKSm90a(args, nullptr));
    if (!failure.empty()) return failure;
    found[kernel] = nearest.Read();
    far[kernel] = distances.Read();
  }
  failure = DifferenceExact("nearest", found[1], found[0]);
  return failure.empty() ? DifferenceExact("distances", far[1], far[0]) : failure;
}

TEST_CASE("warpgroups find the same as warps") {
  if (!IsSm90()) {
    std::cout << "SKIPPED: the device is not of compute capability 9.0\n";
    return;
  }
  std::vector<KernelCase> cases;
  const auto with = [&](const std::string& name, const Shape& shape) {
    cases.push_back({name, [=] { return RunBoth(shape); }});
  };
  with("L2", {});
  with("inner product", {.metric = VectorMetric::kInnerProduct});
  with("some live", {.k = 33, .some_live = true});
  with("ragged columns", {.queries = 129, .rows = 257, .dimension = 75});
  with("one tile", {.queries = 1, .rows = 5, .dimension = 8, .k = 3, .splits = 1});
  with("many rows", {.rows = 70000, .dimension = 200, .k = 100, .splits = 7});
  CheckKernel(cases, Barriers::kAll);
}

}  // namespace
}  // namespace baton::cuda
