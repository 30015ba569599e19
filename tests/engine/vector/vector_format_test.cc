#include "engine/vector/vector_format.h"

#include <bit>
#include <cmath>
#include <cstring>
#include <random>
#include <vector>

#include "tests/engine/vector/vector_harness.h"

namespace baton {
namespace {

constexpr VectorStorage kStorages[] = {VectorStorage::kF32, VectorStorage::kF16,
                                       VectorStorage::kBf16, VectorStorage::kInt8};

// ---- The naive twins: what a row means, one value at a time.

float NaiveHalf(uint16_t bits) {
  const int exponent = bits >> 10 & 31;
  const int mantissa = bits & 1023;
  const float value = exponent == 0
                          ? std::ldexp(static_cast<float>(mantissa), -24)
                          : std::ldexp(static_cast<float>(mantissa + 1024), exponent - 25);
  return (bits & 0x8000) != 0 ? -value : value;
}

std::vector<float> NaiveValues(const VectorFormat& format, const std::byte* row) {
  std::vector<float> values;
  for (int i = 0; i < format.dimension(); ++i) {
    float value = 0;
    uint16_t half = 0;
    switch (format.storage()) {
      case VectorStorage::kF32:
        std::memcpy(&value, row + i * 4, 4);
        break;
      case VectorStorage::kF16:
        std::memcpy(&half, row + i * 2, 2);
        value = NaiveHalf(half);
        break;
      case VectorStorage::kBf16:
        std::memcpy(&half, row + i * 2, 2);
        value = std::bit_cast<float>(uint32_t{half} << 16);
        break;
      case VectorStorage::kInt8:
        value = static_cast<int8_t>(row[i]);
        if (format.metric() == Metric::kCosine) {
          float scale = 0;
          std::memcpy(&scale, row + format.dimension(), 4);
          value *= scale;
        }
        break;
    }
    values.push_back(value);
  }
  return values;
}

std::vector<float> Writable(std::mt19937& random, const VectorFormat& format) {
  std::vector<float> vector = RandomVector(random, format.dimension());
  for (float& value : vector) value *= format.metric() == Metric::kCosine ? 1 : 30;
  return Scaled(format.metric(), vector);
}

std::vector<std::byte> Encoded(const VectorFormat& format, const std::vector<float>& vector) {
  std::vector<std::byte> row(static_cast<size_t>(format.row_bytes()));
  format.Encode(vector.data(), row.data());
  return row;
}

std::vector<float> Decoded(const VectorFormat& format, const std::vector<std::byte>& row) {
  std::vector<float> vector(static_cast<size_t>(format.dimension()));
  format.Decode(row.data(), 1, vector.data());
  return vector;
}

TEST_CASE("kernels of stored rows give the same bits as their naive twins at every level") {
  std::mt19937 random(11);
  for (const VectorStorage storage : kStorages) {
    for (const Metric metric : {Metric::kCosine, Metric::kDot, Metric::kL2}) {
      for (const int dimension : {1, 3, 7, 15, 16, 17, 31, 32, 33, 64, 100, 768, 1000}) {
        const VectorFormat format(storage, metric, dimension);
        for (const int rows : {0, 1, 3}) {
          for (const size_t offset : {size_t{0}, size_t{1}}) {
            CAPTURE(static_cast<int>(storage), static_cast<int>(metric), dimension, rows, offset);
            const std::vector<float> query = RandomVector(random, dimension);
            std::vector<std::byte> memory(offset);
            for (int row = 0; row < rows; ++row) {
              const auto bytes = Encoded(format, Writable(random, format));
              memory.insert(memory.end(), bytes.begin(), bytes.end());
            }
            for (const SimdLevel level : SupportedSimdLevels()) {
              CAPTURE(static_cast<int>(level));
              std::vector<float> distances(static_cast<size_t>(rows));
              std::vector<float> values(static_cast<size_t>(rows * dimension));
              StoredDistanceFor(format, level)(query.data(), memory.data() + offset, rows,
                                               dimension, distances.data());
              StoredKernelsFor(format.row_kind(), level)
                  .values(memory.data() + offset, rows, dimension, values.data());
              for (int row = 0; row < rows; ++row) {
                const auto naive =
                    NaiveValues(format, memory.data() + offset + row * format.row_bytes());
                REQUIRE(std::memcmp(naive.data(), values.data() + row * dimension,
                                    naive.size() * sizeof(float)) == 0);
                REQUIRE(std::bit_cast<uint32_t>(distances[static_cast<size_t>(row)]) ==
                        std::bit_cast<uint32_t>(NaiveDistance(metric, query, naive)));
              }
            }
          }
        }
      }
    }
  }
}

TEST_CASE("every half and every upper half of a float comes back as it was") {
  for (const VectorStorage storage : {VectorStorage::kF16, VectorStorage::kBf16}) {
    const VectorFormat format(storage, Metric::kL2, 1);
    for (uint32_t bits = 0; bits < 65'536; ++bits) {
      const auto half = static_cast<uint16_t>(bits);
      std::vector<std::byte> row(2);
      std::memcpy(row.data(), &half, 2);
      const std::vector<float> naive = NaiveValues(format, row.data());
      const bool finite =
          storage == VectorStorage::kF16 ? (bits & 0x7c00) != 0x7c00 : std::abs(naive[0]) <= 1e15f;
      if (!finite) continue;
      CAPTURE(bits);
      for (const SimdLevel level : SupportedSimdLevels()) {
        float value = 0;
        StoredKernelsFor(format.row_kind(), level).values(row.data(), 1, 1, &value);
        REQUIRE(std::bit_cast<uint32_t>(value) == std::bit_cast<uint32_t>(naive[0]));
      }
      REQUIRE(Encoded(format, naive) == row);
    }
  }
}

TEST_CASE("values are rounded to the nearest, ties to even") {
  std::mt19937 random(12);
  std::uniform_real_distribution<float> exponent(-30, 15.99f);
  const struct {
    VectorStorage storage;
    float value;
    float stored;
  } cases[] = {
      {VectorStorage::kF16, 65'504, 65'504},
      {VectorStorage::kF16, 1 + 0x1p-11f, 1},  // half way: the even one
      {VectorStorage::kF16, 1 + 3 * 0x1p-11f, 1 + 2 * 0x1p-10f},
      {VectorStorage::kF16, 0x1p-25f, 0},
      {VectorStorage::kF16, 3 * 0x1p-25f, 2 * 0x1p-24f},
      {VectorStorage::kF16, -0x1.ff8p-15f, -0x1.ff8p-15f},  // the last below 2^-14
      {VectorStorage::kF16, -0x1.ffcp-15f, -0x1p-14f},      // half way to the first of those above
      {VectorStorage::kF16, 0x1.fffp-15f, 0x1p-14f},
      {VectorStorage::kF16, 2047.9f, 2048},
      {VectorStorage::kBf16, 1 + 0x1p-8f, 1},
      {VectorStorage::kBf16, 1 + 3 * 0x1p-8f, 1 + 0x1p-6f},
      {VectorStorage::kBf16, -0x1.ffp9f, -0x1p10f},
      {VectorStorage::kInt8, 0.5f, 0},
      {VectorStorage::kInt8, 1.5f, 2},
      {VectorStorage::kInt8, -128, -128},
      {VectorStorage::kInt8, 126.6f, 127},
  };
  for (const auto& c : cases) {
    CAPTURE(static_cast<int>(c.storage), c.value);
    const VectorFormat format(c.storage, Metric::kL2, 1);
    REQUIRE(Decoded(format, Encoded(format, {c.value}))[0] == c.stored);
  }
  // No neighbor is nearer.
  const VectorFormat format(VectorStorage::kF16, Metric::kDot, 1);
  for (int i = 0; i < 100'000; ++i) {
    const float value = std::exp2(exponent(random)) * (i % 2 == 0 ? 1.0f : -1.0f);
    const auto row = Encoded(format, {value});
    uint16_t half = 0;
    std::memcpy(&half, row.data(), 2);
    const double error = std::abs(double{NaiveHalf(half)} - value);
    for (const int step : {-1, 1}) {
      const auto other = static_cast<uint16_t>(half + step);
      if ((other & 0x7c00) == 0x7c00 || (other & 0x8000) != (half & 0x8000)) continue;
      const double other_error = std::abs(double{NaiveHalf(other)} - value);
      REQUIRE((error < other_error || (error == other_error && half % 2 == 0)));
    }
  }
}

TEST_CASE("what was decoded encodes to the same bytes") {
  std::mt19937 random(13);
  for (const VectorStorage storage : kStorages) {
    for (const Metric metric : {Metric::kCosine, Metric::kL2}) {
      for (const int dimension : {1, 2, 5, 100, 1536}) {
        const VectorFormat format(storage, metric, dimension);
        CAPTURE(static_cast<int>(storage), static_cast<int>(metric), dimension);
        for (int i = 0; i < 50; ++i) {
          const auto row = Encoded(format, Writable(random, format));
          REQUIRE(Encoded(format, Decoded(format, row)) == row);
        }
      }
    }
  }
}

TEST_CASE("whole numbers under cosine have length one, and the direction but for the rounding") {
  std::mt19937 random(14);
  const VectorFormat format(VectorStorage::kInt8, Metric::kCosine, 768);
  REQUIRE(format.row_bytes() == 772);
  for (int i = 0; i < 20; ++i) {
    const std::vector<float> vector = Writable(random, format);
    const std::vector<float> stored = Decoded(format, Encoded(format, vector));
    REQUIRE(NaiveDistance(Metric::kDot, stored, stored) == Approx(-1).margin(1e-5));
    REQUIRE(NaiveDistance(Metric::kDot, stored, vector) < -0.9998f);
  }
}

TEST_CASE("rows take the bytes of their type") {
  REQUIRE(VectorFormat(VectorStorage::kF32, Metric::kL2, 100).row_bytes() == 400);
  REQUIRE(VectorFormat(VectorStorage::kF16, Metric::kCosine, 100).row_bytes() == 200);
  REQUIRE(VectorFormat(VectorStorage::kBf16, Metric::kDot, 100).row_bytes() == 200);
  REQUIRE(VectorFormat(VectorStorage::kInt8, Metric::kL2, 100).row_bytes() == 100);
  REQUIRE(VectorFormat(VectorStorage::kInt8, Metric::kCosine, 100).row_bytes() == 104);
}

}  // namespace
}  // namespace baton
