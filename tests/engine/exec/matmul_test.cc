#include <bit>
#include <catch2/catch.hpp>
#include <cmath>
#include <cstring>
#include <random>
#include <vector>

#include "engine/exec/cpu/kernels/kernels.h"

namespace baton {
namespace {

constexpr uint32_t kSeed = 20260801;

float Uniform(std::mt19937& random) {
  return std::uniform_real_distribution<float>(-1.0f, 1.0f)(random);
}

// Random weights as a file holds them, `offset` bytes into their memory.
struct Weights {
  Weights(TensorType t, int64_t r, int64_t c, size_t offset, std::mt19937& random)
      : type(t), rows(r), cols(c), bytes(offset + static_cast<size_t>(r * RowBytes(t, c)) + 1) {
    data = bytes.data() + offset;
    std::byte* p = bytes.data() + offset;
    const auto put = [&p](auto value) {
      std::memcpy(p, &value, sizeof(value));
      p += sizeof(value);
    };
    // Any half but infinity and NaN, denormals included; as a scale, below 1.
    const auto half = [&random](uint16_t limit) {
      const auto magnitude = static_cast<uint16_t>(random() % limit);
      return static_cast<uint16_t>(magnitude | (random() % 2 << 15));
    };
    const int64_t block_weights = BlockWeights(type);
    for (int64_t i = 0; i < rows * cols; i += block_weights) {
      if (type == TensorType::kF32) {
        put(Uniform(random));
      } else if (type == TensorType::kF16) {
        put(half(0x7c00));
      } else if (type == TensorType::kBF16) {
        put(static_cast<uint16_t>(std::bit_cast<uint32_t>(Uniform(random)) >> 16));
      } else {
        std::byte* const block = p;
        while (p < block + RowBytes(type, block_weights)) put(static_cast<uint8_t>(random()));
        for (const int at : ScaleOffsets(type)) {
          const uint16_t scale = half(0x3c00);
          std::memcpy(block + at, &scale, sizeof(scale));
        }
      }
    }
  }

  TensorType type;
  int64_t rows;
  int64_t cols;
  std::vector<std::byte> bytes;
  const std::byte* data;
};

struct Expected {
  double sum = 0;
  double magnitude = 0;  // of the sum's terms: what its rounding error is relative to
};

Expected NaiveProduct(const Weights& w, int64_t row, const float* x) {
  if (w.cols == 0) return {};
  std::vector<float> weights(static_cast<size_t>(w.cols));
  DequantizeRow(w.type, w.data + row * RowBytes(w.type, w.cols), w.cols, weights.data());
  Expected expected;
  for (int64_t c = 0; c < w.cols; ++c) {
    expected.sum += double{x[c]} * weights[c];
    expected.magnitude += std::abs(double{x[c]} * weights[c]);
  }
  return expected;
}

std::vector<float> RandomVector(int64_t count, std::mt19937& random) {
  std::vector<float> values(static_cast<size_t>(count));
  for (float& value : values) value = Uniform(random);
  return values;
}

std::vector<float> Multiply(const CpuKernels& kernels, const Weights& w, const float* x, int64_t m,
                            bool add, float initial) {
  std::vector<float> y;  // never null: offsets are added to it before m is looked at
  y.reserve(1);
  y.assign(static_cast<size_t>(m * w.rows), initial);
  std::vector<float> scratch(static_cast<size_t>(kMatmulPanelRows * w.cols) + 1);
  kernels.matmul({.x = x,
                  .w = w.data,
                  .type = w.type,
                  .y = y.data(),
                  .y_stride = w.rows,
                  .m = m,
                  .cols = w.cols,
                  .row_begin = 0,
                  .row_end = w.rows,
                  .add = add,
                  .scratch = scratch.data()});
  return y;
}

}  // namespace

TEST_CASE("matmul equals its naive twin for zero, ragged and misaligned sizes") {
  const SimdLevel level = GENERATE(from_range(SupportedSimdLevels()));
  const TensorType type =
      GENERATE(from_range(std::vector(TensorTypes().begin(), TensorTypes().end())));
  const CpuKernels& kernels = KernelsFor(level);
  std::mt19937 random(kSeed);
  CAPTURE(kSeed, Name(level), Name(type));

  const int64_t block = BlockWeights(type);
  const std::vector<int64_t> all_cols =
      block > 1 ? std::vector<int64_t>{0, block, 3 * block}
                : std::vector<int64_t>{0, 1, 3, 15, 16, 17, 31, 32, 33, 63, 172, 257};
  for (const int64_t cols : all_cols) {
    for (const int64_t rows : {0, 1, 3, 4, 16, 21, 35}) {
      for (const int64_t m : {0, 1, 2, 3, 4, 5, 7, 9}) {
        for (const bool misaligned : {false, true}) {
          CAPTURE(cols, rows, m, misaligned);
          const size_t offset = !misaligned ? 0 : type == TensorType::kF32 ? 4 : 2;
          const Weights w(type, rows, cols, offset, random);
          const std::vector<float> x = RandomVector(m * cols + 1, random);
          const float* const input = x.data() + (misaligned ? 1 : 0);
          const bool add = random() % 2 == 0;
          const std::vector<float> y = Multiply(kernels, w, input, m, add, 3.0f);
          for (int64_t t = 0; t < m; ++t) {
            for (int64_t r = 0; r < rows; ++r) {
              const Expected expected = NaiveProduct(w, r, input + t * cols);
              const double want = expected.sum + (add ? 3.0 : 0.0);
              const double tolerance = 4e-6 * (expected.magnitude + (add ? 3.0 : 0.0));
              const double error = std::abs(double{y[t * rows + r]} - want);
              if (!(error <= tolerance)) {
                CAPTURE(t, r, y[t * rows + r], want);
                REQUIRE(error <= tolerance);
              }
            }
          }
        }
      }
    }
  }
  SUCCEED();
}

TEST_CASE("matmul writes only the rows of its range") {
  const SimdLevel level = GENERATE(from_range(SupportedSimdLevels()));
  std::mt19937 random(kSeed);
  const Weights w(TensorType::kF32, 40, 24, 0, random);
  const std::vector<float> x = RandomVector(6 * 24, random);
  const std::vector<float> whole = Multiply(KernelsFor(level), w, x.data(), 6, false, 0);
  std::vector<float> y(6 * 40, -7.0f);
  std::vector<float> scratch(kMatmulPanelRows * 24);
  KernelsFor(level).matmul({.x = x.data(),
                            .w = w.data,
                            .type = w.type,
                            .y = y.data(),
                            .y_stride = 40,
                            .m = 6,
                            .cols = 24,
                            .row_begin = 5,
                            .row_end = 38,
                            .add = false,
                            .scratch = scratch.data()});
  for (size_t i = 0; i < y.size(); ++i) {
    const bool inside = i % 40 >= 5 && i % 40 < 38;
    REQUIRE(y[i] == (inside ? whole[i] : -7.0f));
  }
}

TEST_CASE("a row's products are bit-identical in every batch") {
  const SimdLevel level = GENERATE(from_range(SupportedSimdLevels()));
  const TensorType type =
      GENERATE(from_range(std::vector(TensorTypes().begin(), TensorTypes().end())));
  const int64_t cols = GENERATE(32, 160, 2048, 172);
  if (cols % BlockWeights(type) != 0) return;
  const CpuKernels& kernels = KernelsFor(level);
  std::mt19937 random(kSeed);
  CAPTURE(kSeed, Name(level), Name(type), cols);

  const int64_t rows = 37;
  const int64_t m_max = 13;
  const Weights w(type, rows, cols, 0, random);
  const std::vector<float> x = RandomVector(m_max * cols, random);
  const std::vector<float> all = Multiply(kernels, w, x.data(), m_max, false, 0);
  for (int64_t m = 1; m <= m_max; ++m) {
    for (int64_t first = 0; first + m <= m_max; ++first) {
      const std::vector<float> some = Multiply(kernels, w, x.data() + first * cols, m, false, 0);
      CAPTURE(m, first);
      REQUIRE(std::memcmp(some.data(), all.data() + first * rows, some.size() * sizeof(float)) ==
              0);
    }
  }
}

}  // namespace baton
