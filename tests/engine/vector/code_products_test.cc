#include "engine/vector/code_products.h"

#include <cmath>
#include <random>
#include <vector>

#include "engine/vector/code_book.h"
#include "tests/engine/vector/vector_harness.h"

namespace baton {
namespace {

TEST_CASE("products of codes are the naive ones at every level, stride and number of rows") {
  std::mt19937 random(21);
  for (const int dimension : {1, 16, 17, 32, 33, 64, 100, 128, 200, 768, 65'536}) {
    const int64_t stride = CodeStride(dimension);
    REQUIRE(stride >= dimension);
    constexpr int kRows = 9;
    std::vector<int16_t> query(static_cast<size_t>(stride));
    std::vector<int8_t> high(query.size());
    std::vector<int8_t> low(query.size());
    std::vector<uint8_t> codes(static_cast<size_t>(kRows * stride + 1));
    const bool extreme = random() % 2 == 0 || dimension == 65'536;
    const int32_t value_max = QueryValueMax(stride);
    for (size_t j = 0; j < query.size(); ++j) {
      query[j] = static_cast<int16_t>(
          extreme ? -value_max : static_cast<int32_t>(random() % (2 * value_max + 1)) - value_max);
      low[j] = static_cast<int8_t>(((query[j] + 64) & 127) - 64);
      high[j] = static_cast<int8_t>((query[j] - low[j]) / 128);
      REQUIRE(128 * high[j] + low[j] == query[j]);
    }
    for (uint8_t& value : codes) value = static_cast<uint8_t>(extreme ? 255 : random());
    std::vector<uint32_t> rows;
    for (int i = 0; i < kRows; ++i) rows.push_back(random() % kRows);
    for (int count = 0; count <= kRows; ++count) {
      for (const int offset : {0, 1}) {
        std::vector<int32_t> expected;
        for (int i = 0; i < count; ++i) {
          int64_t sum = 0;
          for (int64_t j = 0; j < stride; ++j) {
            sum += int64_t{query[j]} * codes[offset + rows[i] * stride + j];
          }
          expected.push_back(static_cast<int32_t>(sum));
          REQUIRE(expected.back() == sum);
        }
        for (const SimdLevel level : SupportedSimdLevels()) {
          CAPTURE(dimension, count, offset, Name(level));
          std::vector<int32_t> products(static_cast<size_t>(count));
          CodeProductsFor(level)({query.data(), high.data(), low.data()}, codes.data() + offset,
                                 stride, rows.data(), count, products.data());
          REQUIRE(products == expected);
        }
      }
    }
  }
}

// What is left of a distance after coding, compared for two rows, since constants cancel.
TEST_CASE("keys by codes are as far apart as distances") {
  std::mt19937 random(22);
  for (const Metric metric : {Metric::kDot, Metric::kL2}) {
    constexpr int kDimension = 200;
    constexpr int kCount = 300;
    std::vector<float> vectors = RandomVector(random, kDimension * kCount);
    // One value of a wide range, one that is always the same, all away from zero.
    for (size_t i = 0; i < vectors.size(); ++i) {
      vectors[i] = 5 + (i % kDimension == 3 ? 50 * vectors[i] : vectors[i]);
      if (i % kDimension == 7) vectors[i] = 2;
    }
    const GraphRows rows{
        .vectors = vectors.data(), .rows = kCount, .dimension = kDimension, .metric = metric};
    std::vector<float> low(kDimension), step(kDimension), mean(kDimension);
    FitCodeBook(rows, low.data(), step.data(), mean.data());
    const CodeBook book{kDimension, metric, low.data(), step.data(), mean.data()};
    const std::vector<float> query(vectors.begin(), vectors.begin() + kDimension);
    QueryEncoder encoder;
    encoder.Encode(book, query.data());
    std::vector<uint8_t> code(static_cast<size_t>(CodeStride(kDimension)), 1);
    double first = 0;
    for (int row = 0; row < kCount; ++row) {
      const float* const vector = vectors.data() + row * kDimension;
      const float norm = EncodeRow(book, vector, code.data());
      const uint32_t zero = 0;
      int32_t product = 0;
      CodeProductsFor()(encoder.code(), code.data(), CodeStride(kDimension), &zero, 1, &product);
      const double exact =
          NaiveDistance(metric, query, std::vector<float>(vector, vector + kDimension));
      const double difference = exact - (double{norm} + double{encoder.factor()} * product);
      if (row == 0) first = difference;
      // Codes are off by half a step at most: 0.6 in one value, 0.014 in the others.
      const double values_apart = std::sqrt(std::abs(
          NaiveDistance(Metric::kL2, query, std::vector<float>(vector, vector + kDimension))));
      const double errors = std::sqrt(0.6 * 0.6 + kDimension * 0.014 * 0.014);
      const double reach = metric == Metric::kL2 ? 2 * values_apart + errors : 180;
      REQUIRE(std::abs(difference - first) < 1.5 * reach * errors);
    }
  }
}

}  // namespace
}  // namespace baton
