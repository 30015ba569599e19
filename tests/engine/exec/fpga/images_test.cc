#include <catch2/catch.hpp>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>

#include "engine/exec/fpga/plugin/bank_matrix.h"
#include "engine/exec/fpga/plugin/kv_banks.h"
#include "engine/exec/fpga/plugin/ranges.h"
#include "engine/exec/plugin_loader.h"
#include "engine/model/tensor_type.h"
#include "fpga_kernels/gemv_args.h"
#include "tests/support/quantise.h"

namespace baton::fpga {
namespace {

baton_matrix MatrixOf(const std::string& bytes, TensorType type, int64_t rows, int64_t cols) {
  return {.data = bytes.data(),
          .rows = rows,
          .cols = cols,
          .row_bytes = RowBytes(type, cols),
          .type = static_cast<uint32_t>(type)};
}

// A weight out of the images, by gemv_args.h alone.
double WeightAt(const std::vector<std::vector<uint8_t>>& images, int64_t row, int64_t col,
                int64_t cols, int shift) {
  const auto banks = static_cast<int64_t>(images.size());
  const int64_t blocks = (cols + 63) / 64;
  const int64_t block = row / banks * blocks + col / 64;
  const int64_t tile = block / 32 * 33 * 64;
  const uint8_t* const image = images[row % banks].data() + tile;
  const int scale = image[2 * (block % 32)] | image[2 * (block % 32) + 1] << 8;
  const auto code = static_cast<int8_t>(image[64 * (1 + block % 32) + col % 64]);
  return std::ldexp(static_cast<double>((scale & 8191) << (scale >> 13)) * code, -shift);
}

std::vector<float> RandomWeights(int64_t count, float deviation, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, deviation);
  std::vector<float> weights(static_cast<size_t>(count));
  for (float& weight : weights) weight = normal(random);
  return weights;
}

}  // namespace

TEST_CASE("weights of any type and shape lie in banks within half a step of their block") {
  for (const TensorType type : {TensorType::kF32, TensorType::kF16, TensorType::kQ8_0,
                                TensorType::kQ4_0, TensorType::kQ6K}) {
    for (const auto& [rows, cols] :
         {std::pair<int64_t, int64_t>{1, 256}, {23, 256}, {24, 512}, {25, 256}, {100, 768}}) {
      for (const float deviation : {1e-3f, 1.0f, 40.0f}) {
        CAPTURE(static_cast<int>(type), rows, cols, deviation);
        const std::vector<float> weights =
            RandomWeights(rows * cols, deviation, static_cast<uint32_t>(rows));
        const std::string bytes = EncodeWeights(type, weights);
        // As two parts, as queries and keys are.
        const int64_t above = rows / 2;
        std::vector<baton_matrix> parts = {MatrixOf(bytes, type, rows, cols)};
        if (above > 0) {
          parts = {MatrixOf(bytes, type, above, cols), MatrixOf(bytes, type, rows - above, cols)};
          parts[1].data = bytes.data() + above * RowBytes(type, cols);
        }
        BankMatrix matrix;
        REQUIRE_FALSE(BankMatrix::Make("test", parts, &matrix).failed());
        std::vector<std::vector<uint8_t>> images(24);
        int32_t shift = 0;
        REQUIRE_FALSE(matrix.Pack(PluginHost(), images, &shift).failed());
        std::vector<float> row(static_cast<size_t>(cols));
        double worst = 0;
        for (int64_t r = 0; r < rows; ++r) {
          DequantizeRow(type,
                        reinterpret_cast<const std::byte*>(bytes.data()) + r * RowBytes(type, cols),
                        cols, row.data());
          for (int64_t c = 0; c < cols; ++c) {
            float largest = 0;
            for (int64_t i = c / 64 * 64; i < std::min(cols, c / 64 * 64 + 64); ++i) {
              largest = std::max(largest, std::abs(row[i]));
            }
            if (largest == 0) continue;
            worst = std::max(
                worst, std::abs(WeightAt(images, r, c, cols, shift) - row[c]) / (largest / 127));
          }
        }
        CHECK(worst <= 0.51);
      }
    }
  }
}

TEST_CASE("columns that fill no block, zeros, and blocks of very different size") {
  std::vector<float> weights(5 * 70, 0.0f);
  for (int i = 0; i < 70; ++i) weights[i] = 1000.0f;
  for (int i = 70; i < 140; ++i) weights[i] = 0.004f;  // 18 bits below
  const std::string bytes = EncodeWeights(TensorType::kF32, weights);
  BankMatrix matrix;
  const baton_matrix part = MatrixOf(bytes, TensorType::kF32, 5, 70);
  REQUIRE_FALSE(BankMatrix::Make("test", {&part, 1}, &matrix).failed());
  std::vector<std::vector<uint8_t>> images(3);
  int32_t shift = 0;
  REQUIRE_FALSE(matrix.Pack(PluginHost(), images, &shift).failed());
  for (const int col : {0, 63, 64, 69}) {
    CHECK(WeightAt(images, 0, col, 70, shift) == Approx(1000).epsilon(1e-3));
    CHECK(WeightAt(images, 1, col, 70, shift) == Approx(0.004).epsilon(0.3));
    CHECK(WeightAt(images, 2, col, 70, shift) == 0);
  }
  CHECK(WeightAt(images, 0, 127, 128, shift) == 0);  // padding
}

TEST_CASE("weights that are no numbers and matrices that do not fit are refused by name") {
  std::vector<float> weights(4 * 64, 1.0f);
  weights[3 * 64 + 5] = std::numeric_limits<float>::infinity();
  const std::string bytes = EncodeWeights(TensorType::kF32, weights);
  const baton_matrix part = MatrixOf(bytes, TensorType::kF32, 4, 64);
  BankMatrix matrix;
  REQUIRE_FALSE(BankMatrix::Make("down", {&part, 1}, &matrix).failed());
  std::vector<std::vector<uint8_t>> images(2);
  int32_t shift = 0;
  const Fault packed = matrix.Pack(PluginHost(), images, &shift);
  CHECK(packed.code() == BATON_INVALID_ARGUMENT);
  CHECK(packed.message() == "row 3 of the weights of down is not finite");
  const baton_matrix other = MatrixOf(bytes, TensorType::kF32, 2, 128);
  const baton_matrix both[] = {part, other};
  CHECK(BankMatrix::Make("gate and up", both, &matrix).code() == BATON_INVALID_ARGUMENT);
  CHECK(BankMatrix::Make("none", {}, &matrix).failed());
}

TEST_CASE("blocks of a pool are spread over banks and none shares a byte with another") {
  KvBanks pool;
  constexpr uint64_t kBlock = 1544;
  REQUIRE_FALSE(
      KvBanks::Reserve({.blocks = 100, .block_bytes = kBlock, .units = kKvUnits}, &pool).failed());
  pool.SetBankOffset(3 * 4096);
  std::vector<void*> blocks;
  std::vector<std::vector<uint64_t>> slots(kKvUnits);
  for (uint64_t i = 0; i < 100; ++i) {
    blocks.push_back(static_cast<std::byte*>(pool.data()) + i * kBlock);
    KvBanks::Place place;
    REQUIRE_FALSE(pool.Find(blocks.back(), kBlock, &place).failed());
    CHECK(place.slot * kBlock >= pool.bank_offset());
    CHECK((place.slot + 1) * kBlock <= pool.bank_offset() + pool.bank_bytes());
    slots[place.unit].push_back(place.slot);
    CHECK(place.at == place.slot * kBlock);
  }
  for (auto& of : slots) {
    CHECK(of.size() >= 12);
    std::sort(of.begin(), of.end());
    CHECK(std::adjacent_find(of.begin(), of.end()) == of.end());
  }
  std::vector<std::vector<uint32_t>> tables(kKvUnits);
  REQUIRE_FALSE(pool.Tables(blocks, kBlock, tables).failed());
  for (size_t i = 0; i < blocks.size(); ++i) {
    int here = 0;
    for (const auto& table : tables) here += table[i] != kKvElsewhere ? 1 : 0;
    CHECK(here == 1);
  }
  KvBanks::Place place;
  CHECK(pool.Find(static_cast<std::byte*>(pool.data()) + 1, kBlock, &place).failed());
  // A part of a block, as layers that go ahead.
  REQUIRE_FALSE(
      pool.Find(static_cast<std::byte*>(pool.data()) + 9 * kBlock + 40, 100, &place).failed());
  CHECK(place.unit == 1);
  CHECK(place.at == place.slot * kBlock + 40);
  CHECK(pool.Tables(blocks, kBlock + 4, tables).failed());
  CHECK(pool.Find(static_cast<std::byte*>(pool.data()) + 100 * kBlock, kBlock, &place).failed());
  CHECK(pool.Find(&place, kBlock, &place).failed());
  CHECK(KvBanks::Reserve({.blocks = 0, .block_bytes = kBlock, .units = 8}, &pool).failed());
}

TEST_CASE("arenas give the lowest place that is free in all of them") {
  Ranges a(10 * Ranges::kPage);
  Ranges b(8 * Ranges::kPage);
  a.Take(0, 1);
  b.Take(2 * Ranges::kPage, 2 * Ranges::kPage);
  Ranges* const both[] = {&a, &b};
  CHECK(TakeInAll(both, Ranges::kPage) == Ranges::kPage);
  CHECK(TakeInAll(both, 4 * Ranges::kPage) == 4 * Ranges::kPage);
  CHECK(TakeInAll(both, 1) == Ranges::kNone);
  CHECK(b.used() == 7 * Ranges::kPage);
  a.Give(Ranges::kPage);
  b.Give(Ranges::kPage);
  CHECK(TakeInAll(both, Ranges::kPage) == Ranges::kPage);
  CHECK(TakeInAll(both, 100 * Ranges::kPage) == Ranges::kNone);
  CHECK(a.Find(UINT64_MAX - Ranges::kPage, 0) == Ranges::kNone);
}

}  // namespace baton::fpga
