#include "engine/vector/distance.h"

#include <bit>
#include <cmath>
#include <random>
#include <vector>

#include "tests/engine/vector/vector_harness.h"

namespace baton {
namespace {

TEST_CASE("distances are the same bits at every level, dimension, row count and alignment") {
  std::mt19937 random(7);
  for (const Metric metric : {Metric::kCosine, Metric::kDot, Metric::kL2}) {
    for (const int dimension : {1, 3, 7, 15, 16, 17, 31, 32, 33, 64, 100, 768, 1000}) {
      for (const int rows : {0, 1, 2, 5}) {
        for (const int offset : {0, 1}) {
          CAPTURE(static_cast<int>(metric), dimension, rows, offset);
          const std::vector<float> query = RandomVector(random, dimension);
          const std::vector<float> memory = RandomVector(random, rows * dimension + offset);
          std::vector<float> expected;
          for (int row = 0; row < rows; ++row) {
            const auto first = memory.begin() + offset + row * dimension;
            expected.push_back(
                NaiveDistance(metric, query, std::vector<float>(first, first + dimension)));
          }
          for (const SimdLevel level : SupportedSimdLevels()) {
            CAPTURE(static_cast<int>(level));
            std::vector<float> distances(static_cast<size_t>(rows));
            DistanceFor(metric, level)(query.data(), memory.data() + offset, rows, dimension,
                                       distances.data());
            for (int row = 0; row < rows; ++row) {
              REQUIRE(std::bit_cast<uint32_t>(distances[row]) ==
                      std::bit_cast<uint32_t>(expected[row]));
            }
          }
        }
      }
    }
  }
}

TEST_CASE("distances are close to those in double precision") {
  std::mt19937 random(8);
  const std::vector<float> a = RandomVector(random, 768);
  const std::vector<float> b = RandomVector(random, 768);
  double product = 0;
  double squares = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    product += double{a[i]} * b[i];
    squares += (double{a[i]} - b[i]) * (double{a[i]} - b[i]);
  }
  float distance = 0;
  DistanceFor(Metric::kDot)(a.data(), b.data(), 1, 768, &distance);
  REQUIRE(distance == Approx(-product).margin(1e-4));
  DistanceFor(Metric::kL2)(a.data(), b.data(), 1, 768, &distance);
  REQUIRE(distance == Approx(squares).epsilon(1e-6));
}

}  // namespace
}  // namespace baton
