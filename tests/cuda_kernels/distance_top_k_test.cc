#include "cuda_kernels/distance_top_k.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <memory>

#include "engine/vector/distance.h"
#include "engine/vector/top_k.h"
#include "tests/cuda_kernels/kernel_suite.h"

namespace baton::cuda {
namespace {

enum class Live { kAll, kSome, kByQuery, kNone };
enum class Values {
  kWhole,   // small whole numbers: all that the kernel computes is exact
  kRandom,  // distances are those of rounded vectors
  kFalling  // whole; each row is nearer than all before it
};
struct Shape {
  int64_t queries = 3;
  int64_t rows = 300;
  int64_t dimension = 40;
  int32_t k = 10;
  int32_t splits = 1;
  VectorMetric metric = VectorMetric::kL2;
  Live live = Live::kAll;
  Values values = Values::kWhole;
  int32_t variant = -1;  // of kDistanceVariants; -1: what the launcher takes
};

struct Found {
  std::vector<float> distances;
  std::vector<uint32_t> rows;
};

std::vector<float> Vectors(const Shape& s, int64_t count, bool of_queries) {
  std::vector<float> vectors =
      RandomFloats(static_cast<size_t>(count * s.dimension), of_queries ? 81 : 82);
  if (s.values == Values::kRandom) return vectors;
  for (int64_t row = 0; row < count; ++row) {
    for (int64_t i = 0; i < s.dimension; ++i) {
      float& x = vectors[row * s.dimension + i];
      x = std::nearbyint(x * 3);
      if (s.values != Values::kFalling) continue;
      // Digits of the rows still to come, which queries at zero are as far from.
      x = of_queries ? 0 : i == 0 ? static_cast<float>((count - row) / 64) : 0;
    }
  }
  return vectors;
}

bool IsLive(Live live, int64_t query, int64_t row) {
  switch (live) {
    case Live::kAll:
      return true;
    case Live::kSome:
      return row % 3 != 1;
    case Live::kByQuery:
      return (row + query) % 4 == 0;
    case Live::kNone:
      break;
  }
  return false;
}

std::string Search(const Shape& s, const std::vector<float>& queries,
                   const std::vector<float>& rows, Found* found) {
  const int64_t cols = PackedColumns(s.dimension);
  const auto packed = [&](const std::vector<float>& vectors, int64_t count, auto& to, auto& terms) {
    const DeviceArray<float> device(vectors);
    return Failure(PackVectors({.vectors = device.data(),
                                .packed = to.data(),
                                .terms = terms.data(),
                                .rows = count,
                                .dimension = s.dimension,
                                .metric = s.metric},
                               nullptr));
  };
  const DeviceArray<__nv_bfloat16> device_queries(static_cast<size_t>(s.queries * cols));
  const DeviceArray<__nv_bfloat16> device_rows(static_cast<size_t>(s.rows * cols));
  const DeviceArray<float> query_terms(static_cast<size_t>(s.queries));
  const DeviceArray<float> row_terms(static_cast<size_t>(s.rows));
  std::string failure = packed(queries, s.queries, device_queries, query_terms);
  if (failure.empty()) failure = packed(rows, s.rows, device_rows, row_terms);
  if (!failure.empty()) return failure;

  const int64_t words = (s.rows + 31) / 32;
  const int64_t live_stride = s.live == Live::kByQuery ? words + 1 : 0;
  std::vector<uint32_t> live(static_cast<size_t>(words + s.queries * live_stride), 0);
  for (int64_t query = 0; query < (live_stride > 0 ? s.queries : 1); ++query) {
    for (int64_t row = 0; row < s.rows; ++row) {
      if (IsLive(s.live, query, row)) live[query * live_stride + row / 32] |= 1u << (row % 32);
    }
  }
  const DeviceArray<uint32_t> device_live(live);
  const auto out = static_cast<size_t>(s.queries * s.k);
  const DeviceArray<float> distances(out);
  const DeviceArray<uint32_t> nearest(out);
  const DeviceArray<uint64_t> workspace(
      static_cast<size_t>(
          DistanceTopKWorkspaceBytes({.query_count = s.queries, .k = s.k, .splits = s.splits})) /
      sizeof(uint64_t));
  const DistanceTopKArgs args = {.queries = device_queries.data(),
                                 .query_terms = query_terms.data(),
                                 .rows = device_rows.data(),
                                 .row_terms = row_terms.data(),
                                 .live = s.live == Live::kAll ? nullptr : device_live.data(),
                                 .live_stride = live_stride,
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
  failure = Failure(s.variant < 0 ? DistanceTopK(args, nullptr)
                                  : DistanceTopKVariant(args, s.variant, nullptr));
  *found = {distances.Read(), nearest.Read()};
  return failure;
}

// The engine's exact search of the vectors as they are; cosine as its definition, in f64.
std::vector<Neighbor> ExactSearch(const Shape& s, const float* query, int64_t number,
                                  const std::vector<float>& rows, int32_t k) {
  TopK nearest(k, s.rows);
  for (int64_t row = 0; row < s.rows; ++row) {
    if (!IsLive(s.live, number, row)) continue;
    const float* const vector = rows.data() + row * s.dimension;
    float distance = 0;
    if (s.metric == VectorMetric::kCosine) {
      double product = 0;
      double squares[2] = {};
      for (int64_t i = 0; i < s.dimension; ++i) {
        product += double{query[i]} * vector[i];
        squares[0] += double{query[i]} * query[i];
        squares[1] += double{vector[i]} * vector[i];
      }
      // Rounded as the kernel does, so that what is as near is so here.
      const auto length = [](double of) {
        return of > 0 ? 1 / std::sqrt(static_cast<float>(of)) : 0.0f;
      };
      distance = -(static_cast<float>(product) * length(squares[0]) * length(squares[1]));
    } else {
      const Metric metric = s.metric == VectorMetric::kL2 ? Metric::kL2 : Metric::kDot;
      DistanceFor(metric)(query, vector, 1, s.dimension, &distance);
    }
    nearest.Add({distance + 0.0f, PointId(static_cast<uint64_t>(row))});
  }
  return nearest.Take();
}

std::string RunDistanceTopK(const Shape& s) {
  const std::vector<float> queries = Vectors(s, s.queries, /*of_queries=*/true);
  const std::vector<float> rows = Vectors(s, s.rows, /*of_queries=*/false);
  const bool rescored = s.values == Values::kRandom;
  Shape asked = s;
  if (rescored) asked.k = 2 * s.k + 16;
  Found found;
  const std::string failure = Search(asked, queries, rows, &found);
  if (!failure.empty()) return failure;
  Found want;
  Found got;
  for (int64_t query = 0; query < s.queries; ++query) {
    const float* const vector = queries.data() + query * s.dimension;
    std::vector<Neighbor> exact = ExactSearch(s, vector, query, rows, s.k);
    for (int32_t i = 0; i < s.k; ++i) {
      const bool there = i < std::ssize(exact);
      want.distances.push_back(there ? exact[i].distance : INFINITY);
      want.rows.push_back(there ? static_cast<uint32_t>(exact[i].id) : kNoRow);
    }
    const size_t from = static_cast<size_t>(query) * asked.k;
    if (!rescored) {
      for (size_t i = from; i < from + s.k; ++i) {
        got.distances.push_back(found.distances[i]);
        got.rows.push_back(found.rows[i]);
      }
      continue;
    }
    TopK nearest(s.k, asked.k);
    for (int32_t i = 0; i < asked.k; ++i) {
      const uint32_t row = found.rows[from + i];
      float distance = 0;
      DistanceFor(s.metric == VectorMetric::kL2 ? Metric::kL2 : Metric::kDot)(
          vector, rows.data() + int64_t{row} * s.dimension, 1, s.dimension, &distance);
      nearest.Add({distance, PointId(uint64_t{row})});
      if (std::fabs(found.distances[from + i] - distance) > 0.03 * std::sqrt(s.dimension)) {
        return "a distance is " + std::to_string(found.distances[from + i]) + ", not about " +
               std::to_string(distance);
      }
    }
    for (const Neighbor& neighbor : nearest.Take()) {
      got.distances.push_back(neighbor.distance);
      got.rows.push_back(static_cast<uint32_t>(neighbor.id));
    }
  }
  const std::string of_rows = DifferenceExact("nearest", got.rows, want.rows);
  if (!of_rows.empty()) return of_rows;
  return Difference("distances", got.distances, want.distances, {1e-6, 1e-6});
}

TEST_CASE("the nearest rows are those of the engine's exact search, in its order") {
  std::vector<KernelCase> cases;
  const auto with = [&](const std::string& name, const Shape& shape) {
    cases.push_back({name, [=] { return RunDistanceTopK(shape); }});
  };
  with("L2", {});
  with("several stages", {.queries = 2, .rows = 530, .dimension = 300, .splits = 2});
  with("inner product", {.metric = VectorMetric::kInnerProduct});
  with("cosine", {.dimension = 5, .metric = VectorMetric::kCosine});
  with("nearer and nearer",
       {.queries = 2, .rows = 4000, .dimension = 3, .values = Values::kFalling});
  with("the most there may be", {.queries = 1,
                                 .rows = 7000,
                                 .dimension = 8,
                                 .k = kTopKMax,
                                 .splits = 6,
                                 .values = Values::kFalling});
  with("many queries", {.queries = 131, .rows = 260, .dimension = 33, .k = 7, .splits = 2});
  with("many queries, nearer and nearer",
       {.queries = 33, .rows = 1200, .dimension = 2, .k = 1, .values = Values::kFalling});
  with("deleted rows", {.k = 200, .live = Live::kSome});
  with("a filter to each query", {.queries = 40, .rows = 129, .k = 33, .live = Live::kByQuery});
  with("nothing lives", {.live = Live::kNone});
  with("fewer rows than k", {.rows = 9, .k = 20});
  with("one row", {.rows = 1, .dimension = 1, .k = 1});
  with("no rows", {.rows = 0});
  with("no queries", {.queries = 0});
  with("random, L2", {.queries = 4, .rows = 500, .dimension = 64, .values = Values::kRandom});
  with("random, inner product", {.queries = 35,
                                 .rows = 300,
                                 .dimension = 96,
                                 .metric = VectorMetric::kInnerProduct,
                                 .values = Values::kRandom});
  CheckKernel(cases, Barriers::kAll);
}

TEST_CASE("other tiles find the same") {
  std::vector<KernelCase> cases;
  for (int32_t variant = 0; variant < std::ssize(kDistanceVariants); ++variant) {
    const auto with = [&](const std::string& name, Shape shape) {
      shape.variant = variant;
      cases.push_back({std::string(kDistanceVariants[variant]) + " " + name,
                       [=] { return RunDistanceTopK(shape); }});
    };
    with("ragged", {.queries = 131, .rows = 259, .dimension = 24, .k = 3, .splits = 2});
    with("some live", {.queries = 257, .rows = 300, .dimension = 40, .live = Live::kByQuery});
  }
  // Without leaving barriers out: they are those of the first test, whose cases notice each.
  for (const KernelCase& kernel_case : cases) {
    INFO(kernel_case.name);
    CHECK(RunCase(kernel_case) == "");
  }
}

TEST_CASE("rows are split so that multiprocessors are busy") {
  CHECK(DistanceTopKSplits({.query_count = 1, .row_count = 1'000'000, .multiprocessors = 132}) ==
        kDistanceSplitsMax);
  CHECK(DistanceTopKSplits({.query_count = 1024, .row_count = 1'000'000, .multiprocessors = 132}) ==
        33);
  CHECK(DistanceTopKSplits({.query_count = 1024, .row_count = 100, .multiprocessors = 132}) == 1);
  CHECK(DistanceTopKSplits({.query_count = 1, .row_count = 0, .multiprocessors = 132}) == 1);
  CHECK(DistanceTopKSplits({.query_count = 0, .row_count = 9, .multiprocessors = 132}) == 1);
}

TEST_CASE("what distances cannot be computed of is refused") {
  alignas(16) __nv_bfloat16 memory[16] = {};
  DistanceTopKArgs args = {};
  args.queries = memory;
  args.rows = memory;
  args.query_count = 1;
  args.row_count = 300;
  args.cols = 8;
  args.k = 10;
  args.splits = 1;
  CHECK(CanRun(args));
  const auto refused = [](DistanceTopKArgs with, auto change) {
    change(with);
    return DistanceTopK(with, nullptr) == cudaErrorInvalidValue;
  };
  CHECK(refused(args, [](auto& a) { a.k = 0; }));
  CHECK(refused(args, [](auto& a) { a.k = kTopKMax + 1; }));
  CHECK(refused(args, [](auto& a) { a.cols = 12; }));
  CHECK(refused(args, [](auto& a) { a.row_count = int64_t{1} << 32; }));
  CHECK(refused(args, [](auto& a) { a.splits = 0; }));
  CHECK(refused(args, [](auto& a) { a.splits = 3; }));
  CHECK(refused(args, [](auto& a) { a.queries += 1; }));
}

}  // namespace
}  // namespace baton::cuda
