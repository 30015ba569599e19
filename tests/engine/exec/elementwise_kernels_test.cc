// The kernels that treat each row or element on its own: norms, biases, rope, the gates, gelu,
// soft_cap.
#include <catch2/catch.hpp>
#include <cmath>
#include <random>
#include <vector>

#include "engine/exec/cpu/kernels/kernels.h"

namespace baton {
namespace {

constexpr uint32_t kSeed = 20260803;

std::vector<float> Random(size_t count, float spread, std::mt19937& random) {
  std::normal_distribution<float> normal(0.0f, spread);
  std::vector<float> values(count);
  for (float& value : values) value = normal(random);
  return values;
}

}  // namespace

TEST_CASE("rms_norm equals its naive twin, in place as well") {
  const SimdLevel level = GENERATE(from_range(SupportedSimdLevels()));
  const bool in_place = GENERATE(false, true);
  std::mt19937 random(kSeed);
  CAPTURE(kSeed, Name(level), in_place);
  for (const int64_t dim : {1, 2, 7, 15, 16, 17, 64, 100, 2048}) {
    for (const int64_t rows : {0, 1, 3}) {
      CAPTURE(dim, rows);
      std::vector<float> x = Random(static_cast<size_t>(rows * dim) + 1, 3.0f, random);
      const std::vector<float> before = x;
      const std::vector<float> weight = Random(static_cast<size_t>(dim) + 1, 1.0f, random);
      std::vector<float> y(x.size(), NAN);
      float* const out = in_place ? x.data() + 1 : y.data() + 1;
      KernelsFor(level).rms_norm({.x = x.data() + 1,
                                  .weight = weight.data() + 1,
                                  .y = out,
                                  .rows = rows,
                                  .dim = dim,
                                  .epsilon = 1e-5f});
      for (int64_t r = 0; r < rows; ++r) {
        double squares = 0;
        for (int64_t i = 0; i < dim; ++i) squares += std::pow(before[1 + r * dim + i], 2);
        const double factor = 1 / std::sqrt(squares / static_cast<double>(dim) + 1e-5);
        for (int64_t i = 0; i < dim; ++i) {
          const double want = before[1 + r * dim + i] * factor * weight[1 + i];
          REQUIRE(std::abs(out[r * dim + i] - want) <= 2e-6 * std::abs(want) + 1e-9);
        }
      }
    }
  }
}

TEST_CASE("rope rotates the first pairs and leaves the rest") {
  const SimdLevel level = GENERATE(from_range(SupportedSimdLevels()));
  const bool halves = GENERATE(false, true);
  std::mt19937 random(kSeed);
  CAPTURE(kSeed, Name(level), halves);
  for (const int64_t heads : {0, 1, 3}) {
    for (const int64_t head_dim : {2, 8, 20, 64, 66}) {
      for (const int64_t pairs : {int64_t{0}, int64_t{1}, head_dim / 4, head_dim / 2}) {
        CAPTURE(heads, head_dim, pairs);
        std::vector<float> x = Random(static_cast<size_t>(heads * head_dim) + 1, 1.0f, random);
        const std::vector<float> before = x;
        std::vector<float> cos;
        std::vector<float> sin;
        for (int64_t i = 0; i < pairs; ++i) {
          cos.push_back(std::cos(static_cast<float>(i) * 0.7f));
          sin.push_back(std::sin(static_cast<float>(i) * 0.7f));
        }
        KernelsFor(level).rope({.x = x.data() + 1,
                                .cos = cos.data(),
                                .sin = sin.data(),
                                .heads = heads,
                                .head_dim = head_dim,
                                .pairs = pairs,
                                .halves = halves});
        for (int64_t h = 0; h < heads; ++h) {
          const float* const was = before.data() + 1 + h * head_dim;
          const float* const is = x.data() + 1 + h * head_dim;
          for (int64_t i = 0; i < head_dim; ++i) {
            double want = was[i];
            if (i < 2 * pairs) {
              const int64_t pair = halves ? i % pairs : i / 2;
              const bool is_first = halves ? i < pairs : i % 2 == 0;
              const int64_t apart = halves ? pairs : 1;
              want = is_first ? double{was[i]} * cos[pair] - double{was[i + apart]} * sin[pair]
                              : double{was[i - apart]} * sin[pair] + double{was[i]} * cos[pair];
            }
            REQUIRE(std::abs(is[i] - want) <= 1e-6);
          }
        }
      }
    }
  }
}

TEST_CASE("the gates equal their naive twins over the whole range of exp") {
  const SimdLevel level = GENERATE(from_range(SupportedSimdLevels()));
  std::mt19937 random(kSeed);
  CAPTURE(kSeed, Name(level));
  for (const size_t count : {0, 1, 3, 15, 16, 17, 172, 1000}) {
    for (const float spread : {0.01f, 1.0f, 30.0f, 1000.0f}) {
      CAPTURE(count, spread);
      const std::vector<float> before = Random(count + 1, spread, random);
      const std::vector<float> up = Random(count + 1, 1.0f, random);
      std::vector<float> silu = before;
      std::vector<float> gelu = before;
      KernelsFor(level).silu_gate(
          {.gate = silu.data() + 1, .up = up.data() + 1, .count = static_cast<int64_t>(count)});
      KernelsFor(level).gelu_gate(
          {.gate = gelu.data() + 1, .up = up.data() + 1, .count = static_cast<int64_t>(count)});
      REQUIRE(silu[0] == before[0]);
      REQUIRE(gelu[0] == before[0]);
      for (size_t i = 1; i <= count; ++i) {
        const double x = before[i];
        const double want_silu = x / (1 + std::exp(-x)) * up[i];
        REQUIRE(std::abs(silu[i] - want_silu) <= 1e-6 * std::abs(want_silu) + 1e-30);
        const double u = std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x);
        const double want_gelu = 0.5 * x * (1 + std::tanh(u)) * up[i];
        // Below zero the exponential decides, whose argument carries a rounding error of its size.
        const double tolerance = 1e-6 * (1 + std::min(std::abs(u), 100.0)) * std::abs(want_gelu);
        REQUIRE(std::abs(gelu[i] - want_gelu) <= tolerance + 1e-15);
      }
    }
  }
}

TEST_CASE("the gates keep a NaN and never make one") {
  const SimdLevel level = GENERATE(from_range(SupportedSimdLevels()));
  const auto gate_of = GENERATE(&CpuKernels::silu_gate, &CpuKernels::gelu_gate);
  std::vector<float> gate = {NAN, 3e38f, -3e38f, 0.0f, -0.0f, 88.5f, -88.5f};
  const std::vector<float> up(gate.size(), 1.0f);
  (KernelsFor(level).*
   gate_of)({.gate = gate.data(), .up = up.data(), .count = static_cast<int64_t>(gate.size())});
  REQUIRE(std::isnan(gate[0]));
  REQUIRE(gate[1] == 3e38f);
  for (size_t i = 2; i < gate.size(); ++i) REQUIRE(std::isfinite(gate[i]));
}

TEST_CASE("soft_cap equals its naive twin, stays within the cap and keeps a NaN") {
  const SimdLevel level = GENERATE(from_range(SupportedSimdLevels()));
  const float cap = GENERATE(0.5f, 30.0f, 50.0f);
  std::mt19937 random(kSeed);
  CAPTURE(kSeed, Name(level), cap);
  for (const size_t count : {0, 1, 3, 15, 16, 17, 100}) {
    for (const float spread : {0.01f, 1.0f, 30.0f, 1000.0f, 1e30f}) {
      CAPTURE(count, spread);
      std::vector<float> x = Random(count + 1, spread, random);
      const std::vector<float> before = x;
      KernelsFor(level).soft_cap(
          {.x = x.data() + 1, .count = static_cast<int64_t>(count), .cap = cap});
      REQUIRE(x[0] == before[0]);
      for (size_t i = 1; i <= count; ++i) {
        REQUIRE(std::abs(x[i] - cap * std::tanh(double{before[i]} / cap)) <= 2e-7 * cap);
        REQUIRE(std::abs(x[i]) <= cap);
      }
    }
  }
  float nan = NAN;
  KernelsFor(level).soft_cap({.x = &nan, .count = 1, .cap = cap});
  REQUIRE(std::isnan(nan));
}

TEST_CASE("layer_norm equals its naive twin, in place as well") {
  const SimdLevel level = GENERATE(from_range(SupportedSimdLevels()));
  const bool in_place = GENERATE(false, true);
  const float middle = GENERATE(0.0f, 100.0f);  // far from it, differences are what is left
  std::mt19937 random(kSeed);
  CAPTURE(kSeed, Name(level), in_place, middle);
  for (const int64_t dim : {1, 2, 7, 15, 16, 17, 64, 100, 384, 2048}) {
    for (const int64_t rows : {0, 1, 3}) {
      CAPTURE(dim, rows);
      std::vector<float> x = Random(static_cast<size_t>(rows * dim) + 1, 3.0f, random);
      for (float& value : x) value += middle;
      const std::vector<float> before = x;
      const std::vector<float> weight = Random(static_cast<size_t>(dim) + 1, 1.0f, random);
      const std::vector<float> bias = Random(static_cast<size_t>(dim) + 1, 1.0f, random);
      std::vector<float> y(x.size(), NAN);
      float* const out = in_place ? x.data() + 1 : y.data() + 1;
      KernelsFor(level).layer_norm({.x = x.data() + 1,
                                    .weight = weight.data() + 1,
                                    .bias = bias.data() + 1,
                                    .y = out,
                                    .rows = rows,
                                    .dim = dim,
                                    .epsilon = 1e-5f});
      const double size = static_cast<double>(dim);
      for (int64_t r = 0; r < rows; ++r) {
        const float* const was = before.data() + 1 + r * dim;
        double mean = 0;
        for (int64_t i = 0; i < dim; ++i) mean += was[i] / size;
        double variance = 0;
        for (int64_t i = 0; i < dim; ++i) variance += std::pow(was[i] - mean, 2) / size;
        const double deviation = std::sqrt(variance + 1e-5);
        for (int64_t i = 0; i < dim; ++i) {
          const double scaled = (was[i] - mean) / deviation * weight[1 + i];
          // The mean's own rounding, seen through the deviation, and that of what follows.
          const double error_max =
              2e-6 * (1 + std::abs(mean)) / deviation * std::abs(weight[1 + i]) +
              2e-6 * (std::abs(scaled) + std::abs(bias[1 + i])) + 1e-9;
          REQUIRE(std::abs(out[r * dim + i] - (scaled + bias[1 + i])) <= error_max);
        }
      }
    }
  }
}

TEST_CASE("add_bias adds to each row") {
  const SimdLevel level = GENERATE(from_range(SupportedSimdLevels()));
  std::mt19937 random(kSeed);
  CAPTURE(kSeed, Name(level));
  for (const int64_t dim : {0, 1, 7, 15, 16, 17, 64, 100}) {
    for (const int64_t rows : {0, 1, 3}) {
      CAPTURE(dim, rows);
      std::vector<float> x = Random(static_cast<size_t>(rows * dim) + 2, 3.0f, random);
      const std::vector<float> before = x;
      const std::vector<float> bias = Random(static_cast<size_t>(dim) + 1, 1.0f, random);
      KernelsFor(level).add_bias(
          {.x = x.data() + 1, .bias = bias.data() + 1, .rows = rows, .dim = dim});
      for (int64_t i = 0; i < rows * dim; ++i) {
        REQUIRE(x[1 + i] == before[1 + i] + bias[1 + i % dim]);
      }
      REQUIRE(x.front() == before.front());
      REQUIRE(x.back() == before.back());
    }
  }
}

TEST_CASE("gelu equals its naive twin, in both tails as well") {
  const SimdLevel level = GENERATE(from_range(SupportedSimdLevels()));
  std::mt19937 random(kSeed);
  CAPTURE(kSeed, Name(level));
  for (const int64_t dim : {0, 1, 3, 15, 16, 17, 172, 1000}) {
    for (const float spread : {0.01f, 1.0f, 5.0f, 1000.0f}) {
      for (const int64_t rows : {0, 1, 3}) {
        CAPTURE(dim, spread, rows);
        std::vector<float> x = Random(static_cast<size_t>(rows * dim) + 2, spread, random);
        const std::vector<float> before = x;
        const std::vector<float> bias = Random(static_cast<size_t>(dim) + 1, 0.1f, random);
        KernelsFor(level).gelu(
            {.x = x.data() + 1, .bias = bias.data() + 1, .rows = rows, .dim = dim});
        for (int64_t i = 0; i < rows * dim; ++i) {
          const double v = before[1 + i] + bias[1 + i % dim];  // as the kernel, in f32
          const double want = v * 0.5 * std::erfc(-v / std::sqrt(2.0));
          // The tail's exponent is rounded before it is raised.
          REQUIRE(std::abs(x[1 + i] - want) <= (1e-6 + 2e-7 * v * v) * std::abs(want) + 1e-30);
        }
        REQUIRE(x.front() == before.front());
        REQUIRE(x.back() == before.back());
      }
    }
  }
}

TEST_CASE("gelu keeps a NaN and never makes one") {
  const SimdLevel level = GENERATE(from_range(SupportedSimdLevels()));
  std::vector<float> x = {NAN, 3e38f, -3e38f, 0.0f, -0.0f, 88.5f, -88.5f};
  const std::vector<float> bias(x.size(), 0.0f);
  KernelsFor(level).gelu(
      {.x = x.data(), .bias = bias.data(), .rows = 1, .dim = static_cast<int64_t>(x.size())});
  REQUIRE(std::isnan(x[0]));
  REQUIRE(x[1] == 3e38f);
  REQUIRE(x[5] == 88.5f);
  for (size_t i = 2; i < x.size(); ++i) REQUIRE(std::isfinite(x[i]));
}

}  // namespace baton
