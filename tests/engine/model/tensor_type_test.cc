#include "engine/model/tensor_type.h"

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <utility>
#include <vector>

#include "catch2/catch.hpp"
#include "tests/support/gguf_writer.h"

namespace baton {
namespace {

TEST_CASE("binary16 converts exactly", "[tensor_type]") {
  CHECK(F16ToF32(0x0000) == 0.0f);
  CHECK(std::signbit(F16ToF32(0x8000)));
  CHECK(F16ToF32(0x3c00) == 1.0f);
  CHECK(F16ToF32(0xc000) == -2.0f);
  CHECK(F16ToF32(0x7bff) == 65504.0f);
  CHECK(F16ToF32(0x0001) == 0x1p-24f);
  CHECK(F16ToF32(0x03ff) == 1023 * 0x1p-24f);
  CHECK(F16ToF32(0x0400) == 0x1p-14f);
  CHECK(F16ToF32(0x7c00) == std::numeric_limits<float>::infinity());
  CHECK(F16ToF32(0xfc00) == -std::numeric_limits<float>::infinity());
  CHECK(std::isnan(F16ToF32(0x7e01)));
}

TEST_CASE("every binary16 number survives the way to f32 and back", "[tensor_type]") {
  for (uint32_t half = 0; half < 0x10000; ++half) {
    const float value = F16ToF32(static_cast<uint16_t>(half));
    if (!std::isnan(value)) {
      REQUIRE(F32ToF16(value) == half);
    }
  }
}

TEST_CASE("sizes of rows", "[tensor_type]") {
  CHECK(RowBytes(TensorType::kF32, 3) == 12);
  CHECK(RowBytes(TensorType::kF16, 3) == 6);
  CHECK(RowBytes(TensorType::kQ8_0, 64) == 68);
  CHECK(RowBytes(TensorType::kQ4K, 512) == 288);
  CHECK(BlockWeights(TensorType::kQ8_0) == 32);
  CHECK(BlockWeights(TensorType::kF16) == 1);
  CHECK(Name(TensorType::kQ8_0) == "Q8_0");
}

TEST_CASE("rows come back from their encoding", "[tensor_type]") {
  std::vector<float> weights(512);
  for (size_t i = 0; i < weights.size(); ++i) {
    weights[i] = std::sin(static_cast<float>(i)) * 3;
  }
  struct Case {
    TensorType type;
    float tolerance;  // half a step of the type's, where weights reach 3, and the scales' rounding
  };
  const Case cases[] = {
      {TensorType::kF32, 0},      {TensorType::kF16, 0.002f},  {TensorType::kBF16, 0.012f},
      {TensorType::kQ4_0, 0.22f}, {TensorType::kQ4_1, 0.21f},  {TensorType::kQ5_0, 0.11f},
      {TensorType::kQ5_1, 0.11f}, {TensorType::kQ8_0, 0.014f}, {TensorType::kQ4K, 0.3f},
      {TensorType::kQ5K, 0.16f},  {TensorType::kQ6K, 0.06f}};
  REQUIRE(std::size(cases) == TensorTypes().size());
  for (const Case& c : cases) {
    CAPTURE(Name(c.type));
    const std::string encoded = EncodeWeights(c.type, weights);
    REQUIRE(static_cast<int64_t>(encoded.size()) == RowBytes(c.type, 512));
    std::vector<float> decoded(512);
    // One byte off, since a file promises no alignment for rows.
    const std::string shifted = "x" + encoded;
    DequantizeRow(c.type, reinterpret_cast<const std::byte*>(shifted.data() + 1), 512,
                  decoded.data());
    for (size_t i = 0; i < weights.size(); ++i) {
      CAPTURE(i);
      REQUIRE(std::abs(decoded[i] - weights[i]) <= c.tolerance);
    }
  }
}

// Values that the reference implementation's Python package (gguf 0.17) gives for the same bytes.
TEST_CASE("blocks are read as others read them", "[tensor_type]") {
  struct Golden {
    TensorType type;
    std::vector<std::pair<size_t, float>> weights;
  };
  const Golden goldens[] = {
      {TensorType::kQ4_0, {{0, -1.5f}, {1, 1.0f}, {16, -1.5f}, {31, 0.0f}}},
      {TensorType::kQ4_1, {{0, 7.75f}, {1, 2.25f}, {16, 4.75f}, {31, 6.25f}}},
      {TensorType::kQ5_0, {{0, 4.5f}, {1, -1.0f}, {16, 7.0f}, {31, 0.5f}}},
      {TensorType::kQ5_1, {{0, 9.75f}, {1, 12.25f}, {16, 9.75f}, {31, 2.75f}}},
      {TensorType::kQ8_0, {{0, 42.5f}, {1, 61.0f}, {16, -45.5f}, {31, -24.0f}}},
      {TensorType::kQ4K,
       {{0, 157.75f},
        {1, -12.75f},
        {16, 157.75f},
        {31, 80.25f},
        {77, 230.75f},
        {130, 94.5f},
        {200, 69.25f},
        {255, 24.25f}}},
      {TensorType::kQ5K,
       {{0, 405.75f},
        {1, -12.75f},
        {16, 405.75f},
        {31, 80.25f},
        {77, 558.75f},
        {130, 94.5f},
        {200, 69.25f},
        {255, 54.25f}}},
      {TensorType::kQ6K,
       {{0, -715.5f},
        {1, 848.0f},
        {16, -216.0f},
        {31, -48.0f},
        {77, 665.0f},
        {130, 71.5f},
        {200, 544.5f},
        {255, -30.0f}}},
  };
  for (const Golden& golden : goldens) {
    CAPTURE(Name(golden.type));
    const int64_t count = BlockWeights(golden.type);
    std::vector<std::byte> block(static_cast<size_t>(RowBytes(golden.type, count)));
    for (size_t i = 0; i < block.size(); ++i) {
      block[i] = static_cast<std::byte>(i * 37 + 11);
    }
    uint16_t scale = 0x3800;  // 0.5, then 0.25
    for (const int at : ScaleOffsets(golden.type)) {
      std::memcpy(block.data() + at, &scale, sizeof(scale));
      scale = 0x3400;
    }
    std::vector<float> weights(static_cast<size_t>(count));
    DequantizeRow(golden.type, block.data(), count, weights.data());
    for (const auto& [i, want] : golden.weights) {
      CAPTURE(i);
      CHECK(weights[i] == want);
    }
  }
}

TEST_CASE("numbers of GGUF's that are none of ours", "[tensor_type]") {
  CHECK(TensorTypeOf(12) == TensorType::kQ4K);
  CHECK_FALSE(TensorTypeOf(10).has_value());
  CHECK_FALSE(TensorTypeOf(4).has_value());
  CHECK_FALSE(TensorTypeOf(0xffffffff).has_value());
}

}  // namespace
}  // namespace baton
