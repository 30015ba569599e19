#include "engine/model/weight_scan.h"

#include <cstring>
#include <limits>
#include <vector>

#include "catch2/catch.hpp"
#include "tests/support/gguf_writer.h"

namespace baton {
namespace {

bool Scan(TensorType type, const std::string& bytes, int64_t weights) {
  return AllFinite(type, reinterpret_cast<const std::byte*>(bytes.data()), weights);
}

TEST_CASE("finite weights pass at every length", "[weight_scan]") {
  for (const int64_t count : {0, 1, 31, 1023, 1024, 1025, 5000}) {
    const std::vector<float> weights(static_cast<size_t>(count), -65504.0f);
    CHECK(Scan(TensorType::kF32, EncodeWeights(TensorType::kF32, weights), count));
    CHECK(Scan(TensorType::kF16, EncodeWeights(TensorType::kF16, weights), count));
  }
  const std::vector<float> blocks(3200, 1e-3f);
  CHECK(Scan(TensorType::kQ8_0, EncodeWeights(TensorType::kQ8_0, blocks), 3200));
  const std::vector<float> largest(5, std::numeric_limits<float>::max());
  CHECK(Scan(TensorType::kF32, EncodeWeights(TensorType::kF32, largest), 5));
}

TEST_CASE("one bad weight anywhere is found", "[weight_scan]") {
  const float bad =
      GENERATE(std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
               -std::numeric_limits<float>::infinity());
  const TensorType type = GENERATE(TensorType::kF32, TensorType::kF16, TensorType::kBF16);
  for (const size_t at : {0u, 1u, 1023u, 1024u, 2048u, 2999u}) {
    CAPTURE(at, bad, Name(type));
    std::vector<float> weights(3000, 1.0f);
    weights[at] = bad;
    CHECK_FALSE(Scan(type, EncodeWeights(type, weights), 3000));
  }
}

TEST_CASE("a bad scale is found, whatever the quants are", "[weight_scan]") {
  for (const TensorType type : TensorTypes()) {
    CAPTURE(Name(type));
    const int64_t count = 10 * BlockWeights(type);
    const auto block_bytes = static_cast<size_t>(RowBytes(type, BlockWeights(type)));
    const std::string good =
        EncodeWeights(type, std::vector<float>(static_cast<size_t>(count), -1.0f));
    CHECK(Scan(type, good, count));
    for (const int offset : ScaleOffsets(type)) {
      for (const size_t block : {0u, 5u, 9u}) {
        for (const uint16_t scale : {uint16_t{0x7c00}, uint16_t{0xfc00}, uint16_t{0x7e00}}) {
          std::string bytes = good;
          std::memcpy(bytes.data() + block * block_bytes + static_cast<size_t>(offset), &scale, 2);
          CHECK_FALSE(Scan(type, bytes, count));
        }
      }
    }
  }
}

}  // namespace
}  // namespace baton
