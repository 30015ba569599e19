#include "engine/exec/search_bound.h"

#include <bit>
#include <catch2/catch.hpp>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "engine/vector/distance.h"

namespace baton {
namespace {

float ToBf16(float value) {  // by the two neighbors, to the nearer one, ties to even
  const auto bits = std::bit_cast<uint32_t>(value);
  const auto down = std::bit_cast<float>(bits & 0xffff0000u);
  const auto up = std::bit_cast<float>((bits & 0xffff0000u) + 0x10000u);
  const double to_down = std::abs(static_cast<double>(value) - down);
  const double to_up = std::abs(static_cast<double>(up) - value);
  if (to_down != to_up) return to_down < to_up ? down : up;
  return (bits >> 16 & 1) == 0 ? down : up;
}

std::vector<float> Rounded(std::vector<float> vector) {
  for (float& value : vector) value = ToBf16(value);
  return vector;
}

// As a device computes it.
double DeviceDistance(Metric metric, const std::vector<float>& a, const std::vector<float>& b) {
  float product = 0;
  float a_square = 0;
  float b_square = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    product += a[i] * b[i];
    a_square += a[i] * a[i];
    b_square += b[i] * b[i];
  }
  if (metric != Metric::kL2) return -product;
  return std::max(0.0f, a_square + (b_square - 2 * product));
}

TEST_CASE("no distance is below what is known of it and some are near to that") {
  std::mt19937 random(4);
  for (const Metric metric : {Metric::kL2, Metric::kDot}) {
    for (const int dimension : {1, 7, 64, 769}) {
      for (const float scale : {1e-20f, 1.0f, 1e6f}) {
        CAPTURE(static_cast<int>(metric), dimension, scale);
        std::normal_distribution<float> normal(0.5f, 1);
        const auto draw = [&] {
          std::vector<float> vector;
          for (int i = 0; i < dimension; ++i) vector.push_back(normal(random) * scale);
          return vector;
        };
        const std::vector<float> query = draw();
        std::vector<std::vector<float>> rows;
        RoundedRows rounded;
        for (int i = 0; i < 200; ++i) {
          rows.push_back(draw());
          // Near ones, where roots make the most of it.
          if (i % 2 == 0) {
            for (int j = 0; j < dimension; ++j) rows[i][j] = query[j] + rows[i][j] * 0.01f;
          }
          rounded.Add(rows.back().data(), 1, dimension);
        }
        const SearchBound bound(metric, query, rounded);
        int wrong = 0;
        for (const std::vector<float>& row : rows) {
          float exact = 0;
          DistanceFor(metric)(query.data(), row.data(), 1, dimension, &exact);
          const double least = bound.Least(DeviceDistance(metric, Rounded(query), Rounded(row)));
          if (!(least <= exact)) ++wrong;
        }
        CHECK(wrong == 0);
      }
    }
  }
}

TEST_CASE("what rounding does not move is known almost exactly") {
  const std::vector<float> query = {1, 2, -3};
  const std::vector<float> row = {0.5f, -1, 2};
  RoundedRows rounded;
  rounded.Add(row.data(), 1, 3);
  CHECK(rounded.moved_max == 0);
  CHECK(rounded.norm_max == Approx(std::sqrt(5.25)));
  CHECK(SearchBound(Metric::kL2, query, rounded).Least(34.25) == Approx(34.25).epsilon(1e-3));
  CHECK(SearchBound(Metric::kDot, query, rounded).Least(7.5) == Approx(7.5).epsilon(1e-3));
}

TEST_CASE("of what is not finite nothing is known") {
  constexpr double kNothing = -std::numeric_limits<double>::infinity();
  for (const float value : {INFINITY, NAN, 3.4e38f}) {
    const std::vector<float> row = {value, 1};
    const std::vector<float> query = {1, 1};
    RoundedRows rounded;
    rounded.Add(row.data(), 1, 2);
    for (const Metric metric : {Metric::kL2, Metric::kDot}) {
      CHECK(SearchBound(metric, query, rounded).Least(1) == kNothing);
    }
  }
}

}  // namespace
}  // namespace baton
