#include "engine/model/tensor_type.h"

#include <bit>
#include <cmath>
#include <limits>
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
  CHECK(BlockWeights(TensorType::kQ8_0) == 32);
  CHECK(BlockWeights(TensorType::kF16) == 1);
  CHECK(Name(TensorType::kQ8_0) == "Q8_0");
}

TEST_CASE("rows come back from their encoding", "[tensor_type]") {
  std::vector<float> weights(96);
  for (size_t i = 0; i < weights.size(); ++i) {
    weights[i] = std::sin(static_cast<float>(i)) * 3;
  }
  struct Case {
    TensorType type;
    float tolerance;
  };
  for (const Case& c :
       {Case{TensorType::kF32, 0}, {TensorType::kF16, 0.002f}, {TensorType::kQ8_0, 0.014f}}) {
    CAPTURE(Name(c.type));
    const std::string encoded = EncodeWeights(c.type, weights);
    REQUIRE(static_cast<int64_t>(encoded.size()) == RowBytes(c.type, 96));
    std::vector<float> decoded(96);
    // One byte off, since a file promises no alignment for rows.
    const std::string shifted = "x" + encoded;
    DequantizeRow(c.type, reinterpret_cast<const std::byte*>(shifted.data() + 1), 96,
                  decoded.data());
    for (size_t i = 0; i < weights.size(); ++i) {
      CAPTURE(i);
      REQUIRE(std::abs(decoded[i] - weights[i]) <= c.tolerance);
    }
  }
}

}  // namespace
}  // namespace baton
