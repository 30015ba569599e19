#include "fpga_kernels/hls/vector_ops.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <cstring>
#include <random>
#include <vector>

namespace baton::fpga {
namespace {

std::vector<int32_t> Random(int count, double deviation, std::mt19937_64& random, int fraction) {
  std::normal_distribution<double> normal(0, deviation);
  std::vector<int32_t> values(count);
  for (int32_t& value : values) {
    const double scaled = std::ldexp(normal(random), fraction);
    value = static_cast<int32_t>(std::clamp(scaled, -2147483647.0, 2147483647.0));
  }
  return values;
}

// The largest error, as a share of the largest value.
double Error(const std::vector<double>& want, const std::vector<double>& got) {
  double largest = 0;
  double error = 0;
  for (size_t i = 0; i < want.size(); ++i) {
    largest = std::max(largest, std::abs(want[i]));
    error = std::max(error, std::abs(want[i] - got[i]));
  }
  return largest == 0 ? error : error / largest;
}

TEST_CASE("shifts round to the nearest and saturate") {
  CHECK(ShiftRound(5, 1) == 3);
  CHECK(ShiftRound(-5, 1) == -2);
  CHECK(ShiftRound(-6, 2) == -1);
  CHECK(ShiftRound(INT64_MAX, 63) == 1);
  CHECK(ShiftRound(INT64_MIN, 63) == -1);
  CHECK(ShiftRound(INT64_MAX, 64) == 0);
  CHECK(ShiftRound(3, -4) == 48);
  CHECK(ShiftRound(-3, -4) == -48);
  CHECK(ShiftRound(0, -1000) == 0);
  CHECK(ShiftRound(1, -1000) == int64_t{1} << 62);
  CHECK(ShiftRound(-1, -62) == -(int64_t{1} << 62));
}

TEST_CASE("powers of two are right to 2^-27") {
  double error = 0;
  for (uint64_t x = 0; x < 40 * 65536; x += 7) {
    const double want = std::exp2(-static_cast<double>(x) / 65536);
    error = std::max(error, std::abs(want - std::ldexp(Exp2OfMinus(x), -30)));
  }
  CHECK(error < std::ldexp(1, -27));
  CHECK(Exp2OfMinus(0) == 1u << 30);
  CHECK(Exp2OfMinus(uint64_t{1} << 60) == 0);
}

TEST_CASE("a sigmoid is right to 2^-16, at both ends too") {
  double error = 0;
  for (int64_t x = INT32_MIN; x <= INT32_MAX; x += std::abs(x) < 1 << 21 ? 97 : 1 << 20) {
    const double want = 1 / (1 + std::exp(-std::ldexp(x, -16)));
    const double got = std::ldexp(Sigmoid(static_cast<int32_t>(x)), -30);
    error = std::max(error, std::abs(want - got));
  }
  CHECK(error < std::ldexp(1, -16));
}

TEST_CASE("square roots are exact") {
  std::mt19937_64 random(3);
  std::vector<uint64_t> values = {0, 1, 2, 3, 4, UINT64_MAX};
  for (int i = 0; i < 1000; ++i) values.push_back(random() >> (i % 64));
  for (const uint64_t value : values) {
    const __uint128_t root = SquareRoot(value);
    CHECK((root * root <= value && (root + 1) * (root + 1) > value));
  }
}

TEST_CASE("norms of any size of numbers") {
  std::mt19937_64 random(4);
  for (const int count : {1, 2, 63, 64, 2048, 8192, 16384}) {
    for (const double size : {1e-4, 0.02, 1.0, 300.0, 30000.0}) {
      const std::vector<int32_t> x = Random(count, size, random, 16);
      const std::vector<int32_t> weights = Random(count, 1.5, random, 24);
      const double epsilon = 1e-5;
      const auto epsilon_q32 = static_cast<uint32_t>(std::ldexp(epsilon, 32));
      double sum = 0;
      for (const int32_t value : x) sum += std::ldexp(value, -16) * std::ldexp(value, -16);
      const double rms = std::sqrt(sum / count + std::ldexp(epsilon_q32, -32));
      std::vector<int16_t> activations(count);
      const int shift = RmsNorm(x.data(), weights.data(), static_cast<uint32_t>(count), epsilon_q32,
                                activations.data());
      std::vector<double> want;
      std::vector<double> got;
      for (int i = 0; i < count; ++i) {
        want.push_back(std::ldexp(x[i], -16) * std::ldexp(weights[i], -24) / rms);
        got.push_back(std::ldexp(activations[i], -shift));
      }
      INFO("count " << count << " size " << size);
      CHECK(Error(want, got) < 6e-5);
    }
  }
}

TEST_CASE("norms of zeros and of the largest numbers") {
  for (const uint32_t epsilon : {0u, 1u, 42950u}) {
    const std::vector<int32_t> x(100, 0);
    const std::vector<int32_t> weights(100, 1 << 24);
    std::vector<int16_t> activations(100, 5);
    RmsNorm(x.data(), weights.data(), 100, epsilon, activations.data());
    CHECK(std::all_of(activations.begin(), activations.end(), [](int16_t a) { return a == 0; }));
  }
  const std::vector<int32_t> x(16384, INT32_MIN);
  const std::vector<int32_t> weights(16384, INT32_MIN);
  std::vector<int16_t> activations(16384);
  const int shift = RmsNorm(x.data(), weights.data(), 16384, UINT32_MAX, activations.data());
  CHECK(std::ldexp(activations[16383], -shift) == Approx(128).epsilon(1e-4));
}

TEST_CASE("activations keep 15 bits of the largest") {
  std::mt19937_64 random(5);
  for (const double size : {1e-5, 1.0, 32000.0}) {
    const std::vector<int32_t> x = Random(777, size, random, 16);
    std::vector<int16_t> activations(777);
    const int shift = PackActivations(x.data(), 777, 16, activations.data());
    std::vector<double> want;
    std::vector<double> got;
    for (int i = 0; i < 777; ++i) {
      want.push_back(std::ldexp(x[i], -16));
      got.push_back(std::ldexp(activations[i], -shift));
    }
    CHECK(Error(want, got) < 4e-5);
  }
  const std::vector<int32_t> lowest(3, INT32_MIN);
  std::vector<int16_t> activations(3);
  const int shift = PackActivations(lowest.data(), 3, 16, activations.data());
  CHECK(std::ldexp(activations[0], -shift) == Approx(-32768).epsilon(1e-4));
}

TEST_CASE("heads turn in either layout, what lies behind the turned dimensions does not") {
  std::mt19937_64 random(6);
  for (const bool halves : {false, true}) {
    for (const int dims : {0, 2, 64, 128}) {
      std::vector<int32_t> head = Random(128, 5, random, 16);
      const std::vector<int32_t> before = head;
      std::vector<int32_t> turns;
      for (int i = 0; i < dims / 2; ++i) {
        const double angle = 0.37 * i - 3;
        turns.push_back(static_cast<int32_t>(std::lround(std::ldexp(1.3 * std::cos(angle), 29))));
        turns.push_back(static_cast<int32_t>(std::lround(std::ldexp(1.3 * std::sin(angle), 29))));
      }
      Rope(head.data(), turns.data(), static_cast<uint32_t>(dims), halves);
      double error = 0;
      for (int i = 0; i < dims / 2; ++i) {
        const double angle = 0.37 * i - 3;
        const int a = halves ? i : 2 * i;
        const int b = halves ? i + dims / 2 : 2 * i + 1;
        const double want_a = 1.3 * (before[a] * std::cos(angle) - before[b] * std::sin(angle));
        const double want_b = 1.3 * (before[a] * std::sin(angle) + before[b] * std::cos(angle));
        error = std::max({error, std::abs(head[a] - want_a), std::abs(head[b] - want_b)});
      }
      CHECK(error < 2);
      CHECK(std::equal(head.begin() + dims, head.end(), before.begin() + dims));
    }
  }
}

TEST_CASE("keys and values are packed as the host packs them") {
  std::mt19937_64 random(7);
  for (const double size : {1e-4, 0.5, 20.0, 20000.0}) {
    for (const int count : {1, 7, 128}) {
      const std::vector<int32_t> values = Random(count, size, random, 16);
      std::vector<int8_t> codes(count);
      const uint32_t bits = PackKv(values.data(), static_cast<uint32_t>(count), codes.data());
      float scale = 0;
      std::memcpy(&scale, &bits, sizeof(scale));
      double largest = 0;
      for (const int32_t value : values) largest = std::max(largest, std::abs(1.0 * value));
      CHECK(scale == Approx(std::ldexp(largest / 127, -16)).epsilon(1e-7));
      for (int i = 0; i < count; ++i) {
        const double want = largest == 0 ? 0 : values[i] * 127.0 / largest;
        CHECK(std::abs(codes[i] - want) <= 0.500001);
      }
    }
  }
  const std::vector<int32_t> zeros(5, 0);
  std::vector<int8_t> codes(5, 3);
  CHECK(PackKv(zeros.data(), 5, codes.data()) == 0);
  CHECK(codes == std::vector<int8_t>(5, 0));
  const std::vector<int32_t> lowest(2, INT32_MIN);
  PackKv(lowest.data(), 2, codes.data());
  CHECK(codes[0] == -127);
}

TEST_CASE("a gate is silu times up, saturated at the ends") {
  std::mt19937_64 random(8);
  for (const double size : {0.01, 1.0, 20.0}) {
    for (int i = 0; i < 2000; ++i) {
      const std::vector<int32_t> x = Random(2, size, random, 16);
      const double gate = std::ldexp(x[0], -16);
      const double up = std::ldexp(x[1], -16);
      const double want = gate / (1 + std::exp(-gate)) * up;
      CHECK(std::abs(std::ldexp(SwiGlu(x[0], x[1]), -16) - want) < 4e-5 + 4e-5 * std::abs(up));
    }
  }
  CHECK(SwiGlu(INT32_MAX, INT32_MAX) == INT32_MAX);
  CHECK(SwiGlu(INT32_MAX, INT32_MIN) == -INT32_MAX);
  CHECK(SwiGlu(INT32_MIN, INT32_MAX) == 0);
}

}  // namespace
}  // namespace baton::fpga
