#include "engine/vector/link_space.h"

#include <cmath>
#include <numeric>
#include <random>
#include <vector>

#include "tests/engine/vector/vector_harness.h"

namespace baton {
namespace {

// Values far from zero, and of ranges that differ, where `uneven`: what a code's origin and steps
// are for.
std::vector<float> Vectors(std::mt19937& random, int64_t count, int32_t dimension, bool uneven) {
  std::vector<float> vectors = RandomVector(random, static_cast<int>(count) * dimension);
  for (size_t i = 0; uneven && i < vectors.size(); ++i) {
    const auto j = static_cast<int32_t>(i % static_cast<size_t>(dimension));
    vectors[i] = vectors[i] * (j % 7 == 0 ? 20.0f : 1.0f) + static_cast<float>(j % 5);
  }
  return vectors;
}

TEST_CASE("distances by codes are close to those by vectors, and comparable between queries") {
  std::mt19937 random(41);
  const int dimension = GENERATE(16, 17, 33, 100, 300);
  const Metric metric = GENERATE(Metric::kL2, Metric::kCosine, Metric::kDot);
  const bool uneven = GENERATE(false, true);
  CAPTURE(dimension, metric, uneven);
  constexpr int64_t kCount = 60;
  std::vector<float> vectors = Vectors(random, kCount, dimension, uneven);
  const GraphRows rows{.vectors = vectors.data(),
                       .rows = kCount,
                       .dimension = dimension,
                       .metric = metric,
                       .m = 8,
                       .ef_construction = 50};
  const GraphNodes nodes(rows);
  const VectorSpace exact(rows, nodes);
  CodeSpace codes(rows, nodes);
  REQUIRE(codes.TellsNeighborsApart(exact));
  std::vector<uint32_t> all(nodes.count());
  std::iota(all.begin(), all.end(), 0u);
  std::vector<float> wanted(all.size());
  std::vector<float> got(all.size());
  double error_max = 0;
  double square_sum = 0;
  for (const uint32_t node : all) {
    VectorSpace::Query query;
    exact.Prepare(node, &query);
    exact.Score(query, all, wanted.data());
    CodeSpace::Query code_query;
    codes.Prepare(node, &code_query);
    codes.Score(code_query, all, got.data());
    for (size_t i = 0; i < all.size(); ++i) {
      error_max = std::max(error_max, std::abs(double{got[i]} - wanted[i]));
      square_sum += double{wanted[i]} * wanted[i];
    }
  }
  const double typical = std::sqrt(square_sum / (kCount * kCount));
  CAPTURE(error_max, typical);
  REQUIRE(error_max < 0.05 * typical);
}

TEST_CASE("codes that cannot tell neighbors apart are known as such") {
  std::mt19937 random(42);
  constexpr int32_t kDimension = 24;
  constexpr int64_t kCount = 400;
  std::vector<float> vectors = RandomVector(random, kCount * kDimension);
  for (int32_t j = 0; j < kDimension; ++j) vectors[static_cast<size_t>(j)] = 1e5f;  // one far row
  const GraphRows rows{.vectors = vectors.data(),
                       .rows = kCount,
                       .dimension = kDimension,
                       .metric = Metric::kL2,
                       .m = 8,
                       .ef_construction = 50};
  const GraphNodes nodes(rows);
  const VectorSpace exact(rows, nodes);
  CodeSpace codes(rows, nodes);
  REQUIRE_FALSE(codes.TellsNeighborsApart(exact));
}

}  // namespace
}  // namespace baton
