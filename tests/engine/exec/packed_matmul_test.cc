#include <catch2/catch.hpp>
#include <cmath>
#include <cstring>
#include <random>
#include <utility>
#include <vector>

#include "engine/exec/cpu/kernels/kernels.h"
#include "engine/exec/cpu/packed_matrix.h"
#include "tests/support/quantise.h"

namespace baton {
namespace {

constexpr uint32_t kSeed = 20261121;

std::vector<SimdLevel> IntegerLevels() {
  std::vector<SimdLevel> levels;
  for (const SimdLevel level : SupportedSimdLevels()) {
    if (KernelsFor(level).packed_matmul != nullptr) levels.push_back(level);
  }
  if (levels.empty()) WARN("SKIPPED: this machine has no integer dot product for packed weights");
  if (DetectedSimdLevel() < SimdLevel::kAmx) WARN("SKIPPED: no AMX here to compare its tiles with");
  return levels;
}

std::vector<float> RandomVector(int64_t count, std::mt19937& random) {
  std::normal_distribution<float> normal;
  std::vector<float> values(static_cast<size_t>(count));
  for (float& value : values) value = normal(random);
  return values;
}

// Activations in 8 bits, with their memory.
struct Activations {
  Activations(const CpuKernels& kernels, const float* x, int64_t tokens, int64_t columns)
      : m(tokens),
        cols(columns),
        q(static_cast<size_t>(m * cols)),
        scales(static_cast<size_t>(m * cols / 32)),
        sums_16(static_cast<size_t>(m * cols / 16)),
        sums_32(static_cast<size_t>(m * cols / 32)),
        tiled(kernels.token_tiles && m >= kPackedWideFrom),
        byte_tiled(kernels.token_tiles && !tiled && m >= kByteTilesFrom ? kTileTokens : 0),
        byte_tiles(static_cast<size_t>(cols / 32)),
        tiles(static_cast<size_t>((m + kTileTokens - 1) / kTileTokens * (cols / 32))),
        rows{q.data(),       scales.data(),     sums_16.data(),
             sums_32.data(), byte_tiles.data(), tiles.data()} {
    // In two goes, cut where no tile need end.
    for (const auto& [begin, end] : {std::pair<int64_t, int64_t>{0, m / 3}, {m / 3, m}}) {
      kernels.quantise(
          {.x = x, .m = m, .cols = cols, .token_begin = begin, .token_end = end, .out = rows});
    }
  }
  // Where the i-th of a token's `each` numbers in all stands, side by side with its tile's.
  size_t Index(int64_t token, int64_t i, int64_t each) const {
    const ActivationTile tile = TileOf(token, m);
    return static_cast<size_t>(tile.first * each + i * tile.tokens + token - tile.first);
  }
  const TokenTile& Tile(int64_t token, int64_t column) const {
    return tiles[static_cast<size_t>(token / kTileTokens * (cols / 32) + column / 32)];
  }
  const ByteTile& Bytes(int64_t column) const {
    return byte_tiles[static_cast<size_t>(column / 32)];
  }
  float Scale(int64_t token, int64_t column) const {
    if (token < byte_tiled) return Bytes(column).scales[token];
    if (tiled) return Tile(token, column).scales[token % kTileTokens];
    return scales[Index(token, column / 32, cols / 32)];
  }
  int32_t Quant(int64_t token, int64_t column) const {
    if (token < byte_tiled) return Bytes(column).q[token][column % 32];
    if (tiled) {
      const int64_t in_four = column % 4;
      const int64_t place = in_four == 1 ? 2 : in_four == 2 ? 1 : in_four;
      const uint32_t bits =
          uint32_t{Tile(token, column).q[token % kTileTokens][column % 32 / 4 * 4 + place]} << 16;
      float value;
      std::memcpy(&value, &bits, sizeof(value));
      return static_cast<int32_t>(value);
    }
    return q[Index(token, column / 4, cols / 4) * 4 + static_cast<size_t>(column % 4)];
  }
  // As the kernels read it back.
  std::vector<float> Dequantised() const {
    std::vector<float> x;
    for (int64_t token = 0; token < m; ++token) {
      for (int64_t column = 0; column < cols; ++column) {
        x.push_back(Scale(token, column) * static_cast<float>(Quant(token, column)));
      }
    }
    return x;
  }
  int64_t m;
  int64_t cols;
  std::vector<int8_t> q;
  std::vector<float> scales;
  std::vector<int32_t> sums_16;
  std::vector<int32_t> sums_32;
  bool tiled;
  int64_t byte_tiled;  // so many tokens
  std::vector<ByteTile> byte_tiles;
  std::vector<TokenTile> tiles;
  QuantisedRows rows;
};

struct RandomMatrix {
  RandomMatrix(TensorType type, int64_t rows, int64_t cols, std::mt19937& random)
      : bytes(EncodeWeights(type, RandomVector(rows * cols, random))),
        view{.type = type,
             .data = reinterpret_cast<const std::byte*>(bytes.data()),
             .rows = rows,
             .cols = cols} {}
  std::string bytes;
  MatrixView view;
};

const std::vector<TensorType> kPackedTypes = {
    TensorType::kQ8_0, TensorType::kQ5_0, TensorType::kQ4_0, TensorType::kQ4_1,
    TensorType::kQ5_1, TensorType::kQ4K,  TensorType::kQ5K,  TensorType::kQ6K};

}  // namespace

TEST_CASE("activations are rounded to the nearest of 255 values") {
  const std::vector<SimdLevel> levels = IntegerLevels();
  if (levels.empty()) return;
  const CpuKernels& kernels = KernelsFor(GENERATE_COPY(from_range(levels)));
  std::mt19937 random(kSeed);
  const int64_t m = GENERATE(2, 3, 8, 15, 18, 24);
  const int64_t cols = 96;
  std::vector<float> x = RandomVector(m * cols, random);
  std::fill(x.begin() + 32, x.begin() + 64, 0.0f);
  x[100] = 1e6f;
  const Activations activations(kernels, x.data(), m, cols);
  const std::vector<float> back = activations.Dequantised();
  for (int64_t block = 0; block < m * cols / 32; ++block) {
    const int64_t token = block / (cols / 32);
    const int64_t part = block % (cols / 32);
    float largest = 0;
    int32_t sum = 0;
    for (int64_t c = 0; c < 32; ++c) {
      largest = std::max(largest, std::abs(x[static_cast<size_t>(block * 32 + c)]));
      sum += activations.Quant(token, part * 32 + c);
    }
    CAPTURE(block);
    if (activations.tiled) {
      const TokenTile& tile = activations.Tile(token, part * 32);
      CHECK(tile.scaled_sums[token % kTileTokens] ==
            tile.scales[token % kTileTokens] * static_cast<float>(sum));
    } else if (token < activations.byte_tiled) {
      const ByteTile& tile = activations.Bytes(part * 32);
      CHECK(tile.scaled_sums[token] == tile.scales[token] * static_cast<float>(sum));
      CHECK(tile.offsets[token] == -kPackedOffset8Bit * sum);
    } else {
      CHECK(activations.sums_32[activations.Index(token, part, cols / 32)] == sum);
      CHECK(activations.sums_16[activations.Index(token, 2 * part, cols / 16)] +
                activations.sums_16[activations.Index(token, 2 * part + 1, cols / 16)] ==
            sum);
    }
    for (auto i = static_cast<size_t>(block * 32); i < static_cast<size_t>(block * 32 + 32); ++i) {
      REQUIRE(std::abs(back[i] - x[i]) <= largest / 127 * 0.5001f);
    }
  }
}

TEST_CASE("packed products equal their naive twin for ragged sizes") {
  const std::vector<SimdLevel> levels = IntegerLevels();
  if (levels.empty()) return;
  const CpuKernels& kernels = KernelsFor(GENERATE_COPY(from_range(levels)));
  const TensorType type = GENERATE(from_range(kPackedTypes));
  std::mt19937 random(kSeed);
  ThreadTeam team(2);
  HugeArena arena;
  std::vector<std::byte> scratch(static_cast<size_t>(PackedScratchBytes(2048)));
  CAPTURE(kSeed, Name(type));
  const int64_t block = BlockWeights(type);
  for (const int64_t cols : {block, 2 * block, 5 * block, 544 / block * block}) {
    for (const int64_t rows : {1, 15, 16, 17, 48, 53}) {
      const RandomMatrix w(type, rows, cols, random);
      const PackedMatrix packed(w.view, team, arena);
      REQUIRE_FALSE(packed.empty());
      std::vector<float> weights(static_cast<size_t>(rows * cols));
      for (int64_t r = 0; r < rows; ++r) {
        DequantizeRow(type, w.view.data + r * RowBytes(type, cols), cols,
                      weights.data() + r * cols);
      }
      for (const int64_t m : {0, 1, 2, 3, 4, 5, 7, 8, 9, 12, 13, 16, 17, 19, 23, 24, 31, 260}) {
        if (m > 100 && rows != 53) continue;  // more than one block of tokens: once is enough
        CAPTURE(cols, rows, m);
        const std::vector<float> x = RandomVector(m * cols, random);
        const Activations activations(kernels, x.data(), m, cols);
        const std::vector<float> rounded = activations.Dequantised();
        const bool add = random() % 2 == 0;
        const int64_t stride = rows + 3;
        std::vector<float> y(static_cast<size_t>(m * stride) + 1, 2.0f);
        kernels.packed_matmul({.w = packed.weights(),
                               .x = activations.rows,
                               .y = y.data(),
                               .y_stride = stride,
                               .m = m,
                               .panel_begin = 0,
                               .panel_end = (rows + kPackedRows - 1) / kPackedRows,
                               .add = add,
                               .scratch = scratch.data()});
        for (int64_t t = 0; t < m; ++t) {
          for (int64_t r = 0; r < stride; ++r) {
            const float got = y[static_cast<size_t>(t * stride + r)];
            if (r >= rows) {
              if (got != 2.0f) FAIL("wrote beyond its rows");
              continue;
            }
            double want = add ? 2.0 : 0.0;
            double magnitude = want;
            for (int64_t c = 0; c < cols; ++c) {
              const double term = double{rounded[static_cast<size_t>(t * cols + c)]} *
                                  weights[static_cast<size_t>(r * cols + c)];
              want += term;
              magnitude += std::abs(term);
            }
            const double tolerance = 4e-6 * magnitude + 1e-30;
            if (!(std::abs(double{got} - want) <=
                  tolerance)) {  // a CAPTURE costs more than the sum
              CAPTURE(t, r, got, want);
              REQUIRE(std::abs(double{got} - want) <= tolerance);
            }
          }
        }
      }
    }
  }
}

TEST_CASE("a packed row's products are bit-identical in every batch") {
  const std::vector<SimdLevel> levels = IntegerLevels();
  if (levels.empty()) return;
  const CpuKernels& kernels = KernelsFor(GENERATE_COPY(from_range(levels)));
  const TensorType type = GENERATE(from_range(kPackedTypes));
  std::mt19937 random(kSeed);
  ThreadTeam team(1);
  HugeArena arena;
  std::vector<std::byte> scratch(static_cast<size_t>(PackedScratchBytes(2048)));
  const int64_t rows = 37;
  const int64_t cols = 768;
  const int64_t m_max = 32;
  const RandomMatrix w(type, rows, cols, random);
  const PackedMatrix packed(w.view, team, arena);
  const std::vector<float> x = RandomVector(m_max * cols, random);
  const auto multiply = [&](int64_t first, int64_t m) {
    const Activations activations(kernels, x.data() + first * cols, m, cols);
    std::vector<float> y(static_cast<size_t>(m * rows));
    kernels.packed_matmul({.w = packed.weights(),
                           .x = activations.rows,
                           .y = y.data(),
                           .y_stride = rows,
                           .m = m,
                           .panel_begin = 0,
                           .panel_end = 3,
                           .add = false,
                           .scratch = scratch.data()});
    return y;
  };
  const std::vector<float> all = multiply(0, m_max);
  for (int64_t m = 1; m <= m_max; ++m) {
    for (int64_t first = 0; first + m <= m_max; ++first) {
      const std::vector<float> some = multiply(first, m);
      CAPTURE(Name(type), m, first);
      REQUIRE(std::memcmp(some.data(), all.data() + first * rows, some.size() * sizeof(float)) ==
              0);
    }
  }
}

TEST_CASE("matrices without a packed form stay as they are") {
  std::mt19937 random(kSeed);
  ThreadTeam team(1);
  HugeArena arena;
  for (const TensorType type : {TensorType::kF32, TensorType::kF16, TensorType::kBF16}) {
    CHECK(PackedMatrix(RandomMatrix(type, 4, 32, random).view, team, arena).empty());
  }
}

}  // namespace baton
