#include <catch2/catch.hpp>
#include <cmath>
#include <random>
#include <vector>

#include "engine/exec/cpu/kernels/kernels.h"

namespace baton {
namespace {

constexpr uint32_t kSeed = 20260802;

// One layer's keys and values in blocks, as a KV pool would hold them: [block][k, v][tokens][heads]
// [head_dim], and a group of queries for one of the heads.
struct Problem {
  int64_t first;
  int64_t positions;
  int64_t block_tokens;
  int64_t kv_heads;
  int64_t kv_head;
  int64_t group;
  int64_t head_dim;
  float score_cap;
  std::vector<std::vector<float>> blocks;
  std::vector<float> q;

  int64_t row() const { return kv_heads * head_dim; }
  const float* Key(int64_t position) const {
    return blocks[position / block_tokens].data() + position % block_tokens * row() +
           kv_head * head_dim;
  }
  const float* Value(int64_t position) const { return Key(position) + block_tokens * row(); }
};

Problem RandomProblem(Problem problem, float spread, std::mt19937& random) {
  std::normal_distribution<float> normal(0.0f, spread);
  const int64_t count = (problem.positions + problem.block_tokens - 1) / problem.block_tokens;
  problem.blocks.resize(static_cast<size_t>(count));
  for (std::vector<float>& block : problem.blocks) {
    // What lies outside the positions is never read as a score or a value.
    block.assign(static_cast<size_t>(2 * problem.block_tokens * problem.row()), NAN);
  }
  for (int64_t position = problem.first; position < problem.positions; ++position) {
    for (int64_t d = 0; d < problem.head_dim; ++d) {
      const_cast<float*>(problem.Key(position))[d] = normal(random);
      const_cast<float*>(problem.Value(position))[d] = normal(random);
    }
  }
  problem.q.resize(static_cast<size_t>(problem.group * problem.head_dim));
  for (float& value : problem.q) value = normal(random);
  return problem;
}

std::vector<float> Run(const CpuKernels& kernels, const Problem& problem, float scale) {
  std::vector<const float*> blocks;
  for (const std::vector<float>& block : problem.blocks) blocks.push_back(block.data());
  std::vector<float> out(problem.q.size(), NAN);
  std::vector<float> scratch(
      static_cast<size_t>(AttentionScratch(problem.group, problem.block_tokens)));
  kernels.attention(
      {.q = problem.q.data(),
       .out = out.data(),
       .blocks = blocks.data(),
       .key_offset = problem.kv_head * problem.head_dim,
       .value_offset = problem.block_tokens * problem.row() + problem.kv_head * problem.head_dim,
       .row_stride = problem.row(),
       .block_tokens = problem.block_tokens,
       .first = problem.first,
       .positions = problem.positions,
       .group = problem.group,
       .head_dim = problem.head_dim,
       .scale = scale,
       .score_cap = problem.score_cap,
       .scratch = scratch.data()});
  return out;
}

std::vector<double> Naive(const Problem& problem, float scale) {
  std::vector<double> out(problem.q.size(), 0.0);
  for (int64_t h = 0; h < problem.group; ++h) {
    std::vector<double> scores;
    double maximum = -INFINITY;
    for (int64_t position = problem.first; position < problem.positions; ++position) {
      double score = 0;
      for (int64_t d = 0; d < problem.head_dim; ++d) {
        score += double{problem.q[h * problem.head_dim + d]} * problem.Key(position)[d];
      }
      score *= scale;
      if (problem.score_cap > 0) score = problem.score_cap * std::tanh(score / problem.score_cap);
      scores.push_back(score);
      maximum = std::max(maximum, scores.back());
    }
    double sum = 0;
    for (double& score : scores) sum += score = std::exp(score - maximum);
    for (int64_t position = problem.first; position < problem.positions; ++position) {
      for (int64_t d = 0; d < problem.head_dim; ++d) {
        out[h * problem.head_dim + d] +=
            scores[position - problem.first] / sum * problem.Value(position)[d];
      }
    }
  }
  return out;
}

}  // namespace

TEST_CASE("attention over blocks equals its naive twin") {
  const SimdLevel level = GENERATE(from_range(SupportedSimdLevels()));
  const int64_t block_tokens = GENERATE(8, 64);
  // 1: ordinary scores; 60: one position takes nearly all, and the maximum often moves.
  const float spread = GENERATE(1.0f, 60.0f);
  const float score_cap = GENERATE(0.0f, 5.0f);
  std::mt19937 random(kSeed);
  CAPTURE(kSeed, Name(level), block_tokens, spread, score_cap);
  for (const int64_t head_dim : {1, 3, 8, 16, 20, 64, 100, 128}) {
    for (const int64_t positions : {1, 2, 5, 8, 9, 17, 63, 64, 65, 130}) {
      for (const int64_t group : {1, 2, 3, 8}) {
        // Everything, or a window that starts anywhere.
        const int64_t first = random() % 2 == 0 ? 0 : static_cast<int64_t>(random() % positions);
        const Problem problem = RandomProblem({.first = first,
                                               .positions = positions,
                                               .block_tokens = block_tokens,
                                               .kv_heads = 3,
                                               .kv_head = static_cast<int64_t>(random() % 3),
                                               .group = group,
                                               .head_dim = head_dim,
                                               .score_cap = score_cap,
                                               .blocks = {},
                                               .q = {}},
                                              spread, random);
        const float scale = 1.0f / std::sqrt(static_cast<float>(head_dim));
        const std::vector<float> out = Run(KernelsFor(level), problem, scale);
        const std::vector<double> want = Naive(problem, scale);
        // A score's rounding error grows with the products it sums, and shifts the weights by it.
        const double tolerance = 1e-5 * spread * (1 + spread * spread * 0.3);
        for (size_t i = 0; i < out.size(); ++i) {
          if (!(std::abs(out[i] - want[i]) <= tolerance)) {
            CAPTURE(head_dim, first, positions, group, i, out[i], want[i]);
            REQUIRE(std::abs(out[i] - want[i]) <= tolerance);
          }
        }
      }
    }
  }
  SUCCEED();
}

TEST_CASE("a value that is not a number reaches attention's output") {
  const SimdLevel level = GENERATE(from_range(SupportedSimdLevels()));
  std::mt19937 random(kSeed);
  Problem problem = RandomProblem({.first = 0,
                                   .positions = 20,
                                   .block_tokens = 8,
                                   .kv_heads = 1,
                                   .kv_head = 0,
                                   .group = 1,
                                   .head_dim = 16,
                                   .score_cap = GENERATE(0.0f, 50.0f),
                                   .blocks = {},
                                   .q = {}},
                                  1.0f, random);
  problem.q[3] = NAN;
  for (const float value : Run(KernelsFor(level), problem, 0.25f)) REQUIRE(std::isnan(value));
}

}  // namespace baton
