#include <algorithm>
#include <bit>
#include <catch2/catch.hpp>
#include <cmath>
#include <cstring>
#include <random>
#include <span>
#include <vector>

#include "engine/exec/cpu/kernels/kernels.h"
#include "engine/kv/kv_layout.h"
#include "tests/support/quantise.h"

namespace baton {
namespace {

constexpr uint32_t kSeed = 20260802;

// One layer's keys and values in blocks of a KvLayout, for each query position a group of queries
// for one of the heads, and what of the keys and values was kept, read back element by element.
struct Problem {
  int64_t queries;
  int64_t window;
  int64_t positions;  // the first query's
  KvLayout layout;
  int64_t kv_head;
  int64_t group;
  float score_cap;
  std::vector<std::vector<std::byte>> blocks;
  std::vector<float> q;
  std::vector<std::vector<float>> keys;  // [all()][head_dim], of kv_head; from first(0) on
  std::vector<std::vector<float>> values;

  int64_t all() const { return positions + queries - 1; }
  // What query i attends to first.
  int64_t first(int64_t i) const {
    return window > 0 ? std::max(int64_t{0}, positions + i - window) : 0;
  }
};

// One element as the layout's comment says.
float Element(const KvLayout& layout, const std::byte* area, int64_t position, int64_t d) {
  const int64_t at = position * layout.head_dim + d;
  switch (layout.type) {
    case KvType::kF32: {
      float value;
      std::memcpy(&value, area + 4 * at, sizeof(value));
      return value;
    }
    case KvType::kF16: {
      uint16_t half;
      std::memcpy(&half, area + 2 * at, sizeof(half));
      return F16ToF32(half);
    }
    case KvType::kBF16: {
      uint16_t half;
      std::memcpy(&half, area + 2 * at, sizeof(half));
      return std::bit_cast<float>(uint32_t{half} << 16);
    }
    case KvType::kInt8:
      break;
  }
  float scale;
  std::memcpy(&scale,
              area + layout.block_tokens * layout.head_dim + position * int64_t{sizeof(scale)},
              sizeof(scale));
  return scale * static_cast<float>(static_cast<int8_t>(area[at]));
}

void Store(const CpuKernels& kernels, const KvLayout& layout, std::span<const float> x,
           int64_t position, std::byte* out) {
  kernels.store_kv({.x = x.data(),
                    .out = out,
                    .type = layout.type,
                    .area_bytes = layout.area_bytes(),
                    .position = position,
                    .block_tokens = layout.block_tokens,
                    .heads = layout.kv_heads,
                    .head_dim = layout.head_dim});
}

Problem RandomProblem(const CpuKernels& kernels, Problem problem, float spread,
                      std::mt19937& random) {
  const KvLayout& layout = problem.layout;
  std::normal_distribution<float> normal(0.0f, spread);
  const int64_t count = (problem.all() + layout.block_tokens - 1) / layout.block_tokens;
  problem.blocks.resize(static_cast<size_t>(count));
  for (std::vector<std::byte>& block : problem.blocks) {
    // What lies outside the positions is never read as a score or a value: NaN in f32 and f16, and
    // as a scale of int8.
    block.assign(static_cast<size_t>(layout.block_bytes()), std::byte{0xff});
  }
  problem.keys.resize(static_cast<size_t>(problem.all()));
  problem.values.resize(static_cast<size_t>(problem.all()));
  std::vector<float> vectors(static_cast<size_t>(layout.kv_heads * layout.head_dim));
  for (int64_t position = problem.first(0); position < problem.all(); ++position) {
    const int64_t in_block = position % layout.block_tokens;
    std::byte* const block = problem.blocks[position / layout.block_tokens].data();
    for (const bool key : {true, false}) {
      for (float& value : vectors) value = normal(random);
      std::byte* const plane = block + (key ? 0 : layout.plane_bytes());
      Store(kernels, layout, vectors, in_block, plane);
      for (int64_t d = 0; d < layout.head_dim; ++d) {
        (key ? problem.keys : problem.values)[position].push_back(
            Element(layout, plane + problem.kv_head * layout.area_bytes(), in_block, d));
      }
    }
  }
  problem.q.resize(static_cast<size_t>(problem.queries * problem.group * layout.head_dim));
  for (float& value : problem.q) value = normal(random);
  return problem;
}

// The queries [begin, begin + count) of the problem, in one call.
std::vector<float> Run(const CpuKernels& kernels, const Problem& problem, float scale,
                       int64_t begin, int64_t count, bool in_tiles = false) {
  const KvLayout& layout = problem.layout;
  const int64_t stride = problem.group * layout.head_dim;
  std::vector<const std::byte*> blocks;
  for (const std::vector<std::byte>& block : problem.blocks) blocks.push_back(block.data());
  std::vector<float> out(static_cast<size_t>(count * stride), NAN);
  const int64_t vectors = count * problem.group;
  std::vector<float> scratch(static_cast<size_t>(
      in_tiles ? TileAttentionScratch(vectors, layout.head_dim)
               : AttentionScratch(vectors, layout.block_tokens, layout.head_dim)));
  (in_tiles ? kernels.tile_attention : kernels.attention)(
      {.q = problem.q.data() + begin * stride,
       .out = out.data(),
       .stride = stride,
       .queries = count,
       .blocks = blocks.data(),
       .type = layout.type,
       .key_offset = problem.kv_head * layout.area_bytes(),
       .value_offset = layout.plane_bytes() + problem.kv_head * layout.area_bytes(),
       .block_tokens = layout.block_tokens,
       .positions = problem.positions + begin,
       .window = problem.window,
       .group = problem.group,
       .head_dim = layout.head_dim,
       .scale = scale,
       .score_cap = problem.score_cap,
       .scratch = scratch.data()});
  return out;
}
std::vector<float> Run(const CpuKernels& kernels, const Problem& problem, float scale) {
  return Run(kernels, problem, scale, 0, problem.queries);
}

// `bounds`, where wanted: how far each output may be from it where queries, keys, values and the
// softmax's weights are rounded to bf16, by 2^-9 each. A score moves by at most d, 2^-8 of the
// magnitudes that it sums, so a weight's share by a factor within e^(2d).
std::vector<double> Naive(const Problem& problem, float scale,
                          std::vector<double>* bounds = nullptr) {
  const int64_t head_dim = problem.layout.head_dim;
  std::vector<double> out(problem.q.size(), 0.0);
  if (bounds != nullptr) bounds->assign(out.size(), 0.0);
  for (int64_t h = 0; h < problem.queries * problem.group; ++h) {
    const int64_t first = problem.first(h / problem.group);
    const int64_t end = problem.positions + h / problem.group;
    std::vector<double> scores;
    double maximum = -INFINITY;
    double moved = 0;
    for (int64_t position = first; position < end; ++position) {
      double score = 0;
      double magnitude = 0;
      for (int64_t d = 0; d < head_dim; ++d) {
        const double term = double{problem.q[h * head_dim + d]} * problem.keys[position][d];
        score += term;
        magnitude += std::abs(term);
      }
      score *= scale;
      moved = std::max(moved, magnitude * scale * 0x1.01p-8);
      if (problem.score_cap > 0) score = problem.score_cap * std::tanh(score / problem.score_cap);
      scores.push_back(score);
      maximum = std::max(maximum, scores.back());
    }
    double sum = 0;
    for (double& score : scores) sum += score = std::exp(score - maximum);
    for (int64_t position = first; position < end; ++position) {
      for (int64_t d = 0; d < head_dim; ++d) {
        const double term = scores[position - first] / sum * problem.values[position][d];
        out[h * head_dim + d] += term;
        if (bounds == nullptr) continue;
        (*bounds)[h * head_dim + d] += std::abs(term) * (std::expm1(2 * moved) + 0x1.01p-8 + 1e-5);
      }
    }
  }
  return out;
}

}  // namespace

TEST_CASE("attention over blocks equals its naive twin") {
  const SimdLevel level = GENERATE(from_range(SupportedSimdLevels()));
  const KvType type = GENERATE(KvType::kF32, KvType::kF16, KvType::kBF16, KvType::kInt8);
  const int32_t block_tokens = GENERATE(8, 64);
  std::mt19937 random(kSeed);
  CAPTURE(kSeed, Name(level), Name(type), block_tokens);
  for (const int32_t head_dim : {1, 3, 8, 16, 20, 32, 64, 80, 100, 128, 256}) {
    for (const int64_t positions : {1, 2, 5, 8, 9, 17, 63, 64, 65, 130}) {
      for (const int64_t group : {1, 2, 3, 8}) {
        // 1: ordinary scores; 60: one position takes nearly all, and the maximum often moves.
        const float spread = random() % 2 == 0 ? 1.0f : 60.0f;
        const float score_cap = random() % 2 == 0 ? 0.0f : 5.0f;
        const auto queries = random() % 2 == 0 ? 1 : static_cast<int64_t>(2 + random() % 4);
        // Everything, or a window that starts anywhere.
        const int64_t window =
            random() % 2 == 0 ? 0 : static_cast<int64_t>(1 + random() % (positions + queries));
        const Problem problem = RandomProblem(KernelsFor(level),
                                              {.queries = queries,
                                               .window = window,
                                               .positions = positions,
                                               .layout = {.layers = 1,
                                                          .kv_heads = 3,
                                                          .head_dim = head_dim,
                                                          .block_tokens = block_tokens,
                                                          .type = type},
                                               .kv_head = static_cast<int64_t>(random() % 3),
                                               .group = group,
                                               .score_cap = score_cap,
                                               .blocks = {},
                                               .q = {},
                                               .keys = {},
                                               .values = {}},
                                              spread, random);
        const float scale = 1.0f / std::sqrt(static_cast<float>(head_dim));
        const std::vector<float> out = Run(KernelsFor(level), problem, scale);
        const std::vector<double> want = Naive(problem, scale);
        // A score's rounding error grows with the products it sums, and shifts the weights by it.
        const double tolerance = 1e-5 * spread * (1 + spread * spread * 0.3);
        for (size_t i = 0; i < out.size(); ++i) {
          if (!(std::abs(out[i] - want[i]) <= tolerance)) {
            CAPTURE(head_dim, queries, window, positions, group, spread, score_cap, i, out[i],
                    want[i]);
            REQUIRE(std::abs(out[i] - want[i]) <= tolerance);
          }
        }
      }
    }
  }
  SUCCEED();
}

TEST_CASE("a position's attention is the same bits alone and beside others") {
  const SimdLevel level = GENERATE(from_range(SupportedSimdLevels()));
  const KvType type = GENERATE(KvType::kF32, KvType::kF16, KvType::kBF16, KvType::kInt8);
  const int64_t group = GENERATE(1, 3, 4);
  const int32_t head_dim = GENERATE(20, 32, 64);
  const int64_t window = GENERATE(0, 5, 70);
  std::mt19937 random(kSeed);
  CAPTURE(kSeed, Name(level), Name(type), group, head_dim, window);
  const Problem problem = RandomProblem(
      KernelsFor(level),
      {.queries = 19,
       .window = window,
       .positions = 55,
       .layout =
           {.layers = 1, .kv_heads = 2, .head_dim = head_dim, .block_tokens = 16, .type = type},
       .kv_head = 1,
       .group = group,
       .score_cap = 0,
       .blocks = {},
       .q = {},
       .keys = {},
       .values = {}},
      1.0f, random);
  const std::vector<float> all = Run(KernelsFor(level), problem, 0.25f);
  for (const int64_t count : {1, 2, 3, 7}) {
    for (int64_t begin = 0; begin + count <= problem.queries; ++begin) {
      const std::vector<float> some = Run(KernelsFor(level), problem, 0.25f, begin, count);
      CAPTURE(begin, count);
      REQUIRE(std::memcmp(some.data(), all.data() + begin * group * head_dim,
                          some.size() * sizeof(float)) == 0);
    }
  }
}

// Kernels with tile registers, or null.
static const CpuKernels* TileAttentionKernels() {
  if (DetectedSimdLevel() < SimdLevel::kAmx) {
    WARN("SKIPPED: this machine has no tile registers");
    return nullptr;
  }
  return &KernelsFor(SimdLevel::kAmx);
}

TEST_CASE("attention in tiles equals its naive twin but for the rounding to bf16") {
  const CpuKernels* const kernels = TileAttentionKernels();
  if (kernels == nullptr) return;
  const KvType type = GENERATE(KvType::kF32, KvType::kF16, KvType::kBF16, KvType::kInt8);
  const int32_t block_tokens = GENERATE(8, 24, 64);
  std::mt19937 random(kSeed);
  CAPTURE(kSeed, Name(type), block_tokens);
  for (const int32_t head_dim : {1, 8, 20, 64, 80, 128, 256}) {
    for (const int64_t positions : {1, 9, 63, 64, 65, 130}) {
      for (const int64_t group : {1, 3, 8}) {
        const float score_cap = random() % 2 == 0 ? 0.0f : 5.0f;
        const auto queries = static_cast<int64_t>(1 + random() % 70);
        const int64_t window =
            random() % 2 == 0 ? 0 : static_cast<int64_t>(1 + random() % (positions + queries));
        const Problem problem = RandomProblem(*kernels,
                                              {.queries = queries,
                                               .window = window,
                                               .positions = positions,
                                               .layout = {.layers = 1,
                                                          .kv_heads = 2,
                                                          .head_dim = head_dim,
                                                          .block_tokens = block_tokens,
                                                          .type = type},
                                               .kv_head = static_cast<int64_t>(random() % 2),
                                               .group = group,
                                               .score_cap = score_cap,
                                               .blocks = {},
                                               .q = {},
                                               .keys = {},
                                               .values = {}},
                                              random() % 2 == 0 ? 1.0f : 2.0f, random);
        const float scale = 1.0f / std::sqrt(static_cast<float>(head_dim));
        const std::vector<float> out = Run(*kernels, problem, scale, 0, queries, /*in_tiles=*/true);
        std::vector<double> bounds;
        const std::vector<double> want = Naive(problem, scale, &bounds);
        for (size_t i = 0; i < out.size(); ++i) {
          if (!(std::abs(out[i] - want[i]) <= bounds[i])) {
            CAPTURE(head_dim, queries, window, positions, group, score_cap, i, out[i], want[i],
                    bounds[i]);
            REQUIRE(std::abs(out[i] - want[i]) <= bounds[i]);
          }
        }
      }
    }
  }
  SUCCEED();
}

TEST_CASE("a position's attention in tiles is the same bits alone and beside others") {
  const CpuKernels* const kernels = TileAttentionKernels();
  if (kernels == nullptr) return;
  const KvType type = GENERATE(KvType::kF32, KvType::kF16, KvType::kBF16, KvType::kInt8);
  const int64_t group = GENERATE(1, 3, 8);
  const int32_t head_dim = GENERATE(20, 64);
  const int64_t window = GENERATE(0, 5, 70);
  std::mt19937 random(kSeed);
  CAPTURE(kSeed, Name(type), group, head_dim, window);
  const Problem problem = RandomProblem(
      *kernels,
      {.queries = 79,
       .window = window,
       .positions = 55,
       .layout =
           {.layers = 1, .kv_heads = 2, .head_dim = head_dim, .block_tokens = 16, .type = type},
       .kv_head = 1,
       .group = group,
       .score_cap = 0,
       .blocks = {},
       .q = {},
       .keys = {},
       .values = {}},
      1.0f, random);
  const std::vector<float> all = Run(*kernels, problem, 0.25f, 0, 79, /*in_tiles=*/true);
  for (const int64_t count : {1, 2, 7, 30}) {
    for (int64_t begin = 0; begin + count <= problem.queries; ++begin) {
      const std::vector<float> some =
          Run(*kernels, problem, 0.25f, begin, count, /*in_tiles=*/true);
      CAPTURE(begin, count);
      REQUIRE(some == std::vector(all.begin() + begin * group * head_dim,
                                  all.begin() + (begin + count) * group * head_dim));
    }
  }
}

TEST_CASE("keys and values are stored to the nearest of their type, beside one another") {
  const SimdLevel level = GENERATE(from_range(SupportedSimdLevels()));
  const KvType type = GENERATE(KvType::kF32, KvType::kF16, KvType::kBF16, KvType::kInt8);
  CAPTURE(kSeed, Name(level), Name(type));
  std::mt19937 random(kSeed);
  for (const int32_t head_dim : {1, 2, 7, 8, 15, 16, 17, 33, 64, 80, 128, 256}) {
    for (const float spread : {1e-38f, 1e-7f, 1e-3f, 1.0f, 3e4f, 1e30f}) {
      CAPTURE(head_dim, spread);
      const KvLayout layout = {
          .layers = 1, .kv_heads = 2, .head_dim = head_dim, .block_tokens = 8, .type = type};
      std::normal_distribution<float> normal(0.0f, spread);
      std::vector<float> x(static_cast<size_t>(layout.kv_heads * head_dim));
      for (float& value : x) value = normal(random);
      if (head_dim == 7) std::fill_n(x.begin(), head_dim, 0.0f);
      const int64_t position = static_cast<int64_t>(random() % 8);
      constexpr auto kUntouched = std::byte{0x5a};
      std::vector<std::byte> plane(static_cast<size_t>(layout.plane_bytes()), kUntouched);
      Store(KernelsFor(level), layout, x, position, plane.data());
      int64_t written = 0;
      for (const std::byte byte : plane) written += byte != kUntouched ? 1 : 0;
      REQUIRE(written <= layout.token_bytes() / 2);
      for (int64_t head = 0; head < layout.kv_heads; ++head) {
        const std::byte* const area = plane.data() + head * layout.area_bytes();
        const float* const vector = x.data() + head * head_dim;
        float largest = 0;
        for (int64_t d = 0; d < head_dim; ++d) largest = std::max(largest, std::abs(vector[d]));
        for (int64_t d = 0; d < head_dim; ++d) {
          const float got = Element(layout, area, position, d);
          CAPTURE(head, d, vector[d], got);
          if (type == KvType::kF32) {
            REQUIRE(got == vector[d]);
          } else if (type == KvType::kF16) {
            REQUIRE(got == F16ToF32(F32ToF16(vector[d])));
          } else if (type == KvType::kBF16) {  // half a unit of its 8 bits, ties to even
            const float down = std::bit_cast<float>(std::bit_cast<uint32_t>(vector[d]) & ~0xffffu);
            const float up =
                std::bit_cast<float>((std::bit_cast<uint32_t>(vector[d]) & ~0xffffu) + 0x10000u);
            const double below = std::abs(double{vector[d]} - down);
            const double above = std::abs(double{up} - vector[d]);
            const bool even = (std::bit_cast<uint32_t>(down) & 0x10000u) == 0;
            REQUIRE(got == (below < above || (below == above && even) ? down : up));
          } else {  // half a step of 127, or too small for a scale; and f32 rounding
            REQUIRE(std::abs(got - vector[d]) <= largest * (0.5f / 127 + 1e-6f) + 0x1p-100f);
          }
        }
      }
    }
  }
}

TEST_CASE("every f16 and every tie between two is stored as the reference rounds it") {
  const SimdLevel level = GENERATE(from_range(SupportedSimdLevels()));
  const KvLayout layout = {
      .layers = 1, .kv_heads = 1, .head_dim = 5, .block_tokens = 8, .type = KvType::kF16};
  std::vector<std::byte> plane(static_cast<size_t>(layout.plane_bytes()));
  for (uint32_t half = 0; half < 0x7c00; ++half) {
    const float value = F16ToF32(static_cast<uint16_t>(half));
    const float next = half == 0x7bff ? 65536.0f : F16ToF32(static_cast<uint16_t>(half + 1));
    const float tie = (value + next) / 2;
    const float x[] = {value, -value, tie, -tie, std::nextafter(tie, 0.0f)};
    Store(KernelsFor(level), layout, x, 0, plane.data());
    for (int64_t d = 0; d < layout.head_dim; ++d) {
      const float want = F16ToF32(F32ToF16(x[d]));
      if (Element(layout, plane.data(), 0, d) != want) {
        CAPTURE(half, d, x[d], want);
        REQUIRE(Element(layout, plane.data(), 0, d) == want);
      }
    }
  }
  SUCCEED();
}

TEST_CASE("a value that is not a number reaches attention's output") {
  const SimdLevel level = GENERATE(from_range(SupportedSimdLevels()));
  const KvType type = GENERATE(KvType::kF32, KvType::kF16, KvType::kBF16, KvType::kInt8);
  std::mt19937 random(kSeed);
  Problem problem = RandomProblem(
      KernelsFor(level),
      {.queries = 1,
       .window = 0,
       .positions = 20,
       .layout = {.layers = 1, .kv_heads = 1, .head_dim = 16, .block_tokens = 8, .type = type},
       .kv_head = 0,
       .group = 1,
       .score_cap = GENERATE(0.0f, 50.0f),
       .blocks = {},
       .q = {},
       .keys = {},
       .values = {}},
      1.0f, random);
  const bool in_tiles = KernelsFor(level).tile_attention != nullptr && GENERATE(false, true);
  SECTION("of the query") { problem.q[3] = NAN; }
  SECTION("of a key") {
    std::vector<float> key(16, 1.0f);
    key[11] = GENERATE(NAN, INFINITY);
    problem.q[11] = 0;  // infinity times 0 is not a number in any type
    Store(KernelsFor(level), problem.layout, key, 2, problem.blocks[1].data());
  }
  for (const float value : Run(KernelsFor(level), problem, 0.25f, 0, 1, in_tiles)) {
    REQUIRE(std::isnan(value));
  }
}

}  // namespace baton
