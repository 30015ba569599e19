#include <catch2/catch.hpp>
#include <cmath>
#include <random>
#include <vector>

#include "engine/exec/cpu/kernels/kernels.h"

namespace baton {
namespace {

constexpr uint32_t kSeed = 20261121;

// Queries, keys and values of one head beside those of another: rows of [q, q', k, k', v, v'].
struct Problem {
  int64_t positions;
  int64_t head_dim;
  std::vector<float> rows;

  int64_t stride() const { return 6 * head_dim + 1; }
  const float* At(int64_t position, int64_t part) const {
    return rows.data() + 1 + position * stride() + part * 2 * head_dim;
  }
};

Problem RandomProblem(int64_t positions, int64_t head_dim, float spread, std::mt19937& random) {
  Problem problem{.positions = positions, .head_dim = head_dim, .rows = {}};
  std::normal_distribution<float> normal(0.0f, spread);
  problem.rows.resize(static_cast<size_t>(positions * problem.stride()) + 1);
  for (float& value : problem.rows) value = normal(random);
  return problem;
}

// [queries, head_dim] of the queries from `first` on; the rest of an output row stays NaN.
std::vector<float> Run(const CpuKernels& kernels, const Problem& problem, int64_t first,
                       int64_t queries) {
  const int64_t out_stride = problem.head_dim + 3;
  std::vector<float> out(static_cast<size_t>(queries * out_stride) + 1, NAN);
  std::vector<float> scratch(
      static_cast<size_t>(EncoderAttentionScratch(problem.positions, problem.head_dim)), NAN);
  kernels.encoder_attention({.q = problem.At(first, 0),
                             .k = problem.At(0, 1),
                             .v = problem.At(0, 2),
                             .out = out.data() + 1,
                             .row_stride = problem.stride(),
                             .out_stride = out_stride,
                             .queries = queries,
                             .positions = problem.positions,
                             .key_stride = EncoderAttentionStride(problem.positions),
                             .head_dim = problem.head_dim,
                             .scale = 0.3f,
                             .scratch = scratch.data()});
  std::vector<float> dense;
  for (int64_t i = 0; i < queries; ++i) {
    const auto row = out.begin() + 1 + i * out_stride;
    dense.insert(dense.end(), row, row + problem.head_dim);
    for (int64_t d = problem.head_dim; d < out_stride; ++d) REQUIRE(std::isnan(row[d]));
  }
  return dense;
}

std::vector<double> Naive(const Problem& problem, int64_t query) {
  std::vector<double> scores;
  double largest = -INFINITY;
  for (int64_t t = 0; t < problem.positions; ++t) {
    double score = 0;
    for (int64_t d = 0; d < problem.head_dim; ++d) {
      score += 0.3 * problem.At(query, 0)[d] * problem.At(t, 1)[d];
    }
    scores.push_back(score);
    largest = std::max(largest, score);
  }
  double sum = 0;
  for (double& score : scores) {
    score = std::exp(score - largest);
    sum += score;
  }
  std::vector<double> out(static_cast<size_t>(problem.head_dim));
  for (int64_t t = 0; t < problem.positions; ++t) {
    for (int64_t d = 0; d < problem.head_dim; ++d) {
      out[static_cast<size_t>(d)] += scores[static_cast<size_t>(t)] / sum * problem.At(t, 2)[d];
    }
  }
  return out;
}

}  // namespace

TEST_CASE("encoder attention equals its naive twin over ragged sizes") {
  const SimdLevel level = GENERATE(from_range(SupportedSimdLevels()));
  std::mt19937 random(kSeed);
  CAPTURE(kSeed, Name(level));
  for (const int64_t positions : {1, 2, 15, 16, 17, 63, 64, 65, 130}) {
    for (const int64_t head_dim : {1, 2, 7, 16, 20, 32, 64, 100}) {
      for (const float spread : {1.0f, 20.0f}) {  // flat and peaked weights
        CAPTURE(positions, head_dim, spread);
        const Problem problem = RandomProblem(positions, head_dim, spread, random);
        const std::vector<float> all = Run(KernelsFor(level), problem, 0, positions);
        for (int64_t query = 0; query < positions; query += 3) {
          const std::vector<double> want = Naive(problem, query);
          for (int64_t d = 0; d < head_dim; ++d) {
            // A peaked softmax shows the rounding of its largest scores.
            REQUIRE(std::abs(all[static_cast<size_t>(query * head_dim + d)] -
                             want[static_cast<size_t>(d)]) <= (spread > 1 ? 1e-1 : 1e-5));
          }
        }
      }
    }
  }
}

TEST_CASE("encoder attention gives the same bits for any part of the queries") {
  const SimdLevel level = GENERATE(from_range(SupportedSimdLevels()));
  std::mt19937 random(kSeed);
  const Problem problem = RandomProblem(37, 20, 1.0f, random);
  const std::vector<float> all = Run(KernelsFor(level), problem, 0, 37);
  CHECK(Run(KernelsFor(level), problem, 3, 0).empty());
  for (const int64_t first : {0, 1, 5, 36}) {
    for (int64_t queries = 1; first + queries <= 37; ++queries) {
      const std::vector<float> part = Run(KernelsFor(level), problem, first, queries);
      REQUIRE(std::equal(part.begin(), part.end(), all.begin() + first * 20));
    }
  }
}

}  // namespace baton
