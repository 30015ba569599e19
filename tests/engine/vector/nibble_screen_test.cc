#include "engine/vector/nibble_screen.h"

#include <cstring>
#include <limits>
#include <memory>
#include <random>
#include <span>
#include <vector>

#include "engine/base/huge_allocator.h"
#include "engine/vector/growing_buffer.h"
#include "engine/vector/scan_code.h"
#include "tests/engine/vector/vector_harness.h"

namespace baton {
namespace {

float TermOf(const std::byte* block, int64_t term, int64_t row) {
  float value = 0;
  std::memcpy(&value, block + (term * kNibbleBlockRows + row) * 4, sizeof(value));
  return value;
}

int32_t CodeOf(const std::byte* block, int64_t row, int64_t j) {
  const std::byte* const line =
      block + kNibbleTermsBytes + j / kNibbleLineValues * kNibbleLineBytes;
  const int64_t b = j % kNibbleLineValues;
  const auto both = static_cast<int32_t>(line[row * 4 + b % 4]);
  return b < 4 ? both & 15 : both >> 4;
}

// How much less a row's key is than its limit; its scale in *size.
double Room(Metric metric, const ScanLimits& limits, const NibbleScreen& screen, int64_t place,
            double* size) {
  const int64_t dimension = screen.lines * kNibbleLineValues;
  const std::byte* const block =
      screen.blocks + place / kNibbleBlockRows * NibbleBlockBytes(dimension);
  const int64_t row = place % kNibbleBlockRows;
  int64_t product = 0;
  for (int64_t j = 0; j < dimension; ++j) product += screen.query[j] * CodeOf(block, row, j);
  const double low = TermOf(block, 0, row);
  const double by_code =
      double{TermOf(block, 1, row)} * static_cast<double>(product) * double{limits.product_factor};
  const double error = TermOf(block, 2, row);
  const double last = TermOf(block, 3, row);
  double key = by_code + low * limits.low_factor + limits.key_base;
  double limit = error * limits.error_factor + last * limits.size_factor + limits.radius;
  if (metric == Metric::kL2) {
    key += last;
    limit = (error + limits.radius) * (error + limits.radius);
  }
  *size = std::abs(by_code) + std::abs(low * limits.low_factor) + std::abs(limits.key_base) +
          std::abs(last) + std::abs(limit);
  return limit - key;
}

TEST_CASE("screens of nibbles keep what adding up says, at any level and size") {
  std::mt19937 random(41);
  std::uniform_real_distribution<float> uniform(-1, 1);
  for (const Metric metric : {Metric::kDot, Metric::kL2}) {
    for (const int64_t lines : {1, 2, 5, 16, 96}) {
      for (const int64_t blocks : {0, 1, 3, 4, 5, 9}) {
        const int64_t bytes = NibbleBlockBytes(lines * kNibbleLineValues);
        HugeVector<std::byte> memory(static_cast<size_t>(blocks * bytes));
        for (std::byte& byte : memory) byte = static_cast<std::byte>(random());
        for (int64_t block = 0; block < blocks; ++block) {
          for (int64_t i = 0; i < 4 * kNibbleBlockRows; ++i) {
            const float term = uniform(random) + (i >= 16 ? 1 : 0);
            std::memcpy(&memory[static_cast<size_t>(block * bytes + i * 4)], &term, 4);
          }
        }
        std::vector<int8_t> query(static_cast<size_t>(lines * kNibbleLineValues));
        for (int8_t& value : query) value = static_cast<int8_t>(random() % 255 - 127);
        const NibbleScreen screen{
            .query = query.data(), .lines = lines, .blocks = memory.data(), .block_count = blocks};
        const ScanLimits limits{.key_base = uniform(random),
                                .product_factor = 1e-2f * uniform(random),
                                .low_factor = uniform(random),
                                .radius = 1,
                                .error_factor = uniform(random),
                                .size_factor = uniform(random)};
        for (const SimdLevel level : SupportedSimdLevels()) {
          std::vector<uint32_t> places(static_cast<size_t>(blocks * kNibbleBlockRows));
          const int64_t kept = NibbleScreenFor(metric, level)(limits, screen, places.data());
          CAPTURE(static_cast<int>(metric), lines, blocks, Name(level), kept);
          size_t at = 0;
          for (int64_t place = 0; place < blocks * kNibbleBlockRows; ++place) {
            double size = 0;
            const double room = Room(metric, limits, screen, place, &size);
            const bool is_kept =
                at < static_cast<size_t>(kept) && places[at] == static_cast<uint32_t>(place);
            if (is_kept) ++at;
            if (std::abs(room) > 1e-5 * size) REQUIRE(is_kept == (room > 0));
          }
          REQUIRE(at == static_cast<size_t>(kept));
        }
      }
    }
  }
}

TEST_CASE("the largest sums of nibbles do not overflow") {
  constexpr int64_t kDimension = 65'536;
  static_assert(kDimension <= kNibbleDimensionMax);
  const int64_t bytes = NibbleBlockBytes(kDimension);
  HugeVector<std::byte> block(static_cast<size_t>(bytes), std::byte{0xff});
  std::vector<float> terms(4 * kNibbleBlockRows, 0);
  std::fill_n(terms.begin() + kNibbleBlockRows, kNibbleBlockRows, 1.0f);  // steps
  std::memcpy(block.data(), terms.data(), static_cast<size_t>(kNibbleTermsBytes));
  for (const int sign : {-1, 1}) {
    const std::vector<int8_t> query(kDimension, static_cast<int8_t>(sign * 127));
    const NibbleScreen screen{.query = query.data(),
                              .lines = NibbleLines(kDimension),
                              .blocks = block.data(),
                              .block_count = 1};
    const float product = 127.0f * 15 * kDimension;
    for (const SimdLevel level : SupportedSimdLevels()) {
      for (const float radius : {product - 256, product + 256}) {
        const ScanLimits limits{.product_factor = static_cast<float>(sign), .radius = radius};
        std::vector<uint32_t> places(kNibbleBlockRows);
        CAPTURE(sign, radius, Name(level));
        REQUIRE(NibbleScreenFor(Metric::kDot, level)(limits, screen, places.data()) ==
                (radius > product ? kNibbleBlockRows : 0));
      }
    }
  }
}

TEST_CASE("a growing buffer has the nibbles of whole blocks, of its rows in order") {
  std::mt19937 random(42);
  const Metric metric = GENERATE(Metric::kDot, Metric::kL2);
  const int32_t dimension = GENERATE(32, 100, 5000);
  const int64_t capacity = GENERATE(5, 16, 100, 3000);
  if (dimension == 5000 && capacity == 3000) return;  // slow, and no more is seen
  GrowingBuffer buffer({VectorStorage::kF32, metric, dimension}, capacity);
  std::vector<std::vector<float>> vectors;
  while (!buffer.full()) {
    vectors.push_back(RandomVector(random, dimension));
    buffer.Append(static_cast<PointId>(vectors.size()), vectors.back().data(), 1);
  }
  std::vector<uint8_t> code(static_cast<size_t>(NibbleLines(dimension) * kNibbleLineValues));
  for (const int64_t end : {capacity, capacity / 2, int64_t{15}, int64_t{1}}) {
    if (end > capacity) continue;
    int64_t blocks = 0;
    for (int64_t first = 0; first < end;) {
      const int64_t count = buffer.Block(first, end).count;
      const ScanCodes codes = buffer.Codes(first, end);
      CAPTURE(dimension, capacity, end, first, count);
      REQUIRE((codes.nibbles != nullptr) == (count >= kNibbleBlockRows));
      if (count > 1) REQUIRE(buffer.Codes(first + 1, end).nibbles == nullptr);
      for (int64_t i = 0; i < count / kNibbleBlockRows * kNibbleBlockRows; ++i) {
        const std::byte* const block =
            codes.nibbles + i / kNibbleBlockRows * NibbleBlockBytes(dimension);
        const ScanTerms terms = EncodeNibbleRow(
            metric, vectors[static_cast<size_t>(first + i)].data(), dimension, code.data());
        const int64_t row = i % kNibbleBlockRows;
        REQUIRE(TermOf(block, 0, row) == terms.low);
        REQUIRE(TermOf(block, 1, row) == terms.step);
        REQUIRE(TermOf(block, 2, row) == terms.error);
        REQUIRE(TermOf(block, 3, row) == terms.size);
        int64_t others = 0;
        for (int64_t j = 0; j < std::ssize(code); ++j) {
          others += CodeOf(block, row, j) != code[static_cast<size_t>(j)] ? 1 : 0;
        }
        REQUIRE(others == 0);
      }
      blocks += count / kNibbleBlockRows;
      first += count;
    }
    REQUIRE(blocks == end / kNibbleBlockRows);
  }
}

}  // namespace
}  // namespace baton
