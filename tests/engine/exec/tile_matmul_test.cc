#include <algorithm>
#include <bit>
#include <catch2/catch.hpp>
#include <cmath>
#include <cstring>
#include <random>
#include <utility>
#include <vector>

#include "engine/exec/cpu/kernels/kernels.h"
#include "engine/exec/cpu/matrix_products.h"
#include "tests/support/quantise.h"

namespace baton {
namespace {

constexpr uint32_t kTileSeed = 20261122;

const CpuKernels* TileKernels() {
  if (DetectedSimdLevel() < SimdLevel::kAmx) {
    WARN("SKIPPED: this machine has no tile registers");
    return nullptr;
  }
  return &KernelsFor(SimdLevel::kAmx);
}

std::vector<float> NormalVector(int64_t count, std::mt19937& random) {
  std::normal_distribution<float> normal;
  std::vector<float> values(static_cast<size_t>(count));
  for (float& value : values) value = normal(random);
  return values;
}

// To nearest, ties to even, of finite values.
float ToBF16(float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  return std::bit_cast<float>((bits + 0x7fff + (bits >> 16 & 1)) & 0xffff0000u);
}

struct TileRows {
  TileRows(const CpuKernels& kernels, const float* x, int64_t m, int64_t cols)
      : tiles(static_cast<size_t>(TileCount(m, cols))) {
    // What stands beyond the last row reaches no result.
    for (Bf16Tile& tile : tiles) std::memset(&tile, 0xff, sizeof(tile));
    // In two goes, cut where no tile need end.
    kernels.round_to_tiles({x, m, cols, 0, m / 3, tiles.data()});
    kernels.round_to_tiles({x, m, cols, m / 3, m, tiles.data()});
  }
  std::vector<Bf16Tile> tiles;
};

struct TileMatrix {
  TileMatrix(TensorType type, int64_t rows, int64_t cols, std::mt19937& random)
      : bytes(EncodeWeights(type, NormalVector(rows * cols, random))),
        view{.type = type,
             .data = reinterpret_cast<const std::byte*>(bytes.data()),
             .rows = rows,
             .cols = cols} {
    ThreadTeam team(1);
    HugeArena arena;
    prepared = {.file = view, .packed = PackedMatrix(view, team, arena), .tiled = true};
    weights.resize(static_cast<size_t>(rows * cols));
    for (int64_t r = 0; r < rows; ++r) {
      DequantizeRow(type, view.data + r * RowBytes(type, cols), cols, weights.data() + r * cols);
    }
  }
  std::string bytes;
  MatrixView view;
  PreparedMatrix prepared;
  std::vector<float> weights;
};

const std::vector<TensorType> kTileTypes = {
    TensorType::kQ8_0, TensorType::kQ5_0, TensorType::kQ4_0, TensorType::kQ4_1, TensorType::kQ5_1,
    TensorType::kQ4K,  TensorType::kQ5K,  TensorType::kQ6K,  TensorType::kBF16};

// Columns that rows of a type come in, in tiles.
int64_t TileBlock(TensorType type) { return std::max(kActivationBlock, BlockWeights(type)); }

std::vector<float> Multiply(const CpuKernels& kernels, const TileMatrix& w, const float* x,
                            int64_t m, int64_t stride, bool add, int64_t cut) {
  const TileRows rows(kernels, x, m, w.view.cols);
  std::vector<float> y(static_cast<size_t>(m * stride), 2.0f);
  std::vector<std::byte> scratch(static_cast<size_t>(kTileScratchBytes + 4));
  const int64_t panels = (w.view.rows + kPackedRows - 1) / kPackedRows;
  for (int64_t begin = 0; begin < panels; begin += cut) {
    kernels.tile_matmul({.w = w.prepared.TileWeights(),
                         .x = rows.tiles.data(),
                         .y = y.data(),
                         .y_stride = stride,
                         .m = m,
                         .panel_begin = begin,
                         .panel_end = std::min(begin + cut, panels),
                         .add = add,
                         .scratch = scratch.data() + 4,  // aligned as a float at most
                         .ahead_panels = add ? cut : 0});
  }
  return y;
}

}  // namespace

TEST_CASE("products in tiles equal their naive twin for ragged sizes") {
  const CpuKernels* const kernels = TileKernels();
  if (kernels == nullptr) return;
  const TensorType type = GENERATE(from_range(kTileTypes));
  std::mt19937 random(kTileSeed);
  CAPTURE(kTileSeed, Name(type));
  const int64_t block = TileBlock(type);
  for (const int64_t cols : {block, 2 * block, 5 * block, 544 / block * block, 9 * block}) {
    for (const int64_t rows : {1, 15, 16, 17, 48, 53}) {
      const TileMatrix w(type, rows, cols, random);
      for (const int64_t m : {0, 1, 2, 15, 16, 17, 31, 32, 33, 48, 70, 530}) {
        if (m > 100 && (rows != 53 || cols != 544 / block * block)) continue;  // over a block
        const std::vector<float> x = NormalVector(m * cols, random);
        const bool add = random() % 2 == 0;
        const int64_t stride = rows + 3;
        const auto cut = static_cast<int64_t>(1 + random() % 4);
        CAPTURE(cols, rows, m, add, cut);
        const std::vector<float> y = Multiply(*kernels, w, x.data(), m, stride, add, cut);
        float largest = 0;
        for (const float weight : w.weights) largest = std::max(largest, std::abs(weight));
        const float slack = largest * 0x1p-18f;
        for (int64_t t = 0; t < m; ++t) {
          for (int64_t r = 0; r < stride; ++r) {
            const float got = y[static_cast<size_t>(t * stride + r)];
            if (r >= rows) {
              if (got != 2.0f) FAIL("wrote beyond its rows");
              continue;
            }
            // A weight is rounded in f32 twice, once with 256 of its scales beside it, which are 17
            // times what four bits span: that may carry it across a tie of bf16. What is summed in
            // f32 differs by 2^-24 of the magnitudes for each sum.
            double want = add ? 2.0 : 0.0;
            double magnitude = want;
            double tolerance = 0;
            for (int64_t c = 0; c < cols; ++c) {
              const float a = ToBF16(x[static_cast<size_t>(t * cols + c)]);
              const float exact = w.weights[static_cast<size_t>(r * cols + c)];
              const float b = ToBF16(exact);
              const double term = double{a} * b;
              want += term;
              magnitude += std::abs(term);
              const float below = ToBF16(exact - slack);
              const float above = ToBF16(exact + slack);
              tolerance += std::abs(double{a}) * std::abs(double{above} - below);
            }
            tolerance += static_cast<double>(cols + 2) * 0x1p-24 * magnitude + 1e-30;
            if (!(std::abs(double{got} - want) <= tolerance)) {  // a CAPTURE costs more than a sum
              CAPTURE(t, r, got, want);
              REQUIRE(std::abs(double{got} - want) <= tolerance);
            }
          }
        }
      }
    }
  }
}

TEST_CASE("a row's products in tiles are bit-identical among any others") {
  const CpuKernels* const kernels = TileKernels();
  if (kernels == nullptr) return;
  const TensorType type = GENERATE(from_range(kTileTypes));
  std::mt19937 random(kTileSeed);
  const int64_t rows = 37;
  const int64_t cols = 768;
  const int64_t m_max = 67;
  const TileMatrix w(type, rows, cols, random);
  const std::vector<float> x = NormalVector(m_max * cols, random);
  const std::vector<float> all = Multiply(*kernels, w, x.data(), m_max, rows, true, 3);
  for (const int64_t m : {1, 2, 7, 16, 17, 33}) {
    for (int64_t first = 0; first + m <= m_max; first += 5) {
      const std::vector<float> some =
          Multiply(*kernels, w, x.data() + first * cols, m, rows, true, 1);
      CAPTURE(Name(type), m, first);
      REQUIRE(std::memcmp(some.data(), all.data() + first * rows, some.size() * sizeof(float)) ==
              0);
    }
  }
}

TEST_CASE("a norm on the way into tiles gives the bits of one before it") {
  const CpuKernels* const kernels = TileKernels();
  if (kernels == nullptr) return;
  std::mt19937 random(kTileSeed);
  constexpr float kEpsilon = 1e-5f;
  for (const int64_t cols : {32, 96, 512, 544, 1088}) {
    const std::vector<float> weight = NormalVector(cols, random);
    for (const int64_t m : {1, 15, 16, 17, 33, 70}) {
      CAPTURE(cols, m);
      std::vector<float> x = NormalVector(m * cols, random);
      std::fill_n(x.begin(), cols, 0.0f);  // a row that epsilon alone keeps from dividing by zero
      std::vector<float> normed(x.size());
      kernels->rms_norm({.x = x.data(),
                         .weight = weight.data(),
                         .y = normed.data(),
                         .rows = m,
                         .dim = cols,
                         .epsilon = kEpsilon});
      const TileRows want(*kernels, normed.data(), m, cols);
      std::vector<Bf16Tile> got(want.tiles.size());
      for (Bf16Tile& tile : got) std::memset(&tile, 0xff, sizeof(tile));
      for (const auto& [begin, end] : {std::pair{int64_t{0}, m / 3}, std::pair{m / 3, m}}) {
        kernels->round_to_tiles({.x = x.data(),
                                 .m = m,
                                 .cols = cols,
                                 .token_begin = begin,
                                 .token_end = end,
                                 .out = got.data(),
                                 .norm = weight.data(),
                                 .epsilon = kEpsilon});
      }
      REQUIRE(std::memcmp(got.data(), want.tiles.data(), got.size() * sizeof(Bf16Tile)) == 0);
    }
  }
}

// Both of one kind, as a gated product in tiles needs them.
TEST_CASE("a gated product in tiles is the gate of two products and rounded to bf16") {
  const CpuKernels* const kernels = TileKernels();
  if (kernels == nullptr) return;
  const TensorType type = GENERATE(from_range(kTileTypes));
  const bool silu = GENERATE(true, false);
  std::mt19937 random(kTileSeed);
  const int64_t cols = 2 * TileBlock(type);
  for (const int64_t rows : {32, 96, 288, 544}) {
    const TileMatrix gate(type, rows, cols, random);
    const TileMatrix up(type, rows, cols, random);
    for (const int64_t m : {0, 1, 15, 16, 17, 33, 70, 530}) {
      if (m > 100 && rows != 96) continue;  // more than a block of tokens
      const auto cut = static_cast<int64_t>(1 + random() % 5);
      CAPTURE(Name(type), silu, rows, m, cut);
      const std::vector<float> x = NormalVector(m * cols, random);
      std::vector<float> want = Multiply(*kernels, gate, x.data(), m, rows, false, 4);
      const std::vector<float> through = Multiply(*kernels, up, x.data(), m, rows, false, 4);
      (silu ? kernels->silu_gate
            : kernels->gelu_gate)({.gate = want.data(), .up = through.data(), .count = m * rows});
      const TileRows expected(*kernels, want.data(), m, rows);
      const TileRows input(*kernels, x.data(), m, cols);
      std::vector<Bf16Tile> got(expected.tiles.size());
      for (Bf16Tile& tile : got) std::memset(&tile, 0xff, sizeof(tile));
      std::vector<std::byte> scratch(static_cast<size_t>(kTileScratchBytes + 4));
      for (int64_t begin = 0; begin < rows / kPackedRows; begin += cut) {
        (silu ? kernels->tile_silu_gate
              : kernels->tile_gelu_gate)({.gate = gate.prepared.TileWeights(),
                                          .up = up.prepared.TileWeights(),
                                          .x = input.tiles.data(),
                                          .out = got.data(),
                                          .m = m,
                                          .panel_begin = begin,
                                          .panel_end = std::min(begin + cut, rows / kPackedRows),
                                          .scratch = scratch.data() + 4});
      }
      for (size_t i = 0; i < got.size(); ++i) {
        REQUIRE(std::memcmp(&got[i], &expected.tiles[i], sizeof(Bf16Tile)) == 0);
      }
    }
  }
}

TEST_CASE("what is not a number reaches its own row of a product in tiles, and no other") {
  const CpuKernels* const kernels = TileKernels();
  if (kernels == nullptr) return;
  std::mt19937 random(kTileSeed);
  const TileMatrix w(TensorType::kQ8_0, 20, 64, random);
  std::vector<float> x = NormalVector(18 * 64, random);
  x[16 * 64 + 40] = GENERATE(NAN, INFINITY);
  const std::vector<float> y = Multiply(*kernels, w, x.data(), 18, 20, false, 2);
  for (size_t i = 0; i < y.size(); ++i) {
    CAPTURE(i);
    REQUIRE(std::isfinite(y[i]) == (i / 20 != 16));
  }
}

}  // namespace baton
