#include "engine/vector/code_products.h"

#include <cmath>
#include <random>
#include <utility>
#include <vector>

#include "engine/vector/code_book.h"
#include "tests/engine/vector/vector_harness.h"

namespace baton {
namespace {

TEST_CASE("products of codes are the naive ones at every level, stride and number of rows") {
  std::mt19937 random(21);
  for (const int dimension : {1, 16, 17, 32, 33, 64, 100, 128, 200, 768, 32'960, 65'536}) {
    const int64_t stride = CodeStride(dimension);
    REQUIRE(stride >= dimension);
    constexpr int kRows = 9;
    std::vector<int16_t> query(static_cast<size_t>(stride));
    std::vector<int8_t> high(query.size());
    std::vector<int8_t> low(query.size());
    std::vector<uint8_t> codes(static_cast<size_t>(kRows * stride + 1));
    const bool extreme = random() % 2 == 0 || dimension > 1000;
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
    constexpr int64_t kLine = 64;
    std::vector<int64_t> lengths = {stride};
    if (stride > kLine) lengths.insert(lengths.end(), {kLine, stride / 2 / kLine * kLine + kLine});
    for (int count = 0; count <= kRows; ++count) {
      for (const auto& [offset, length] :
           {std::pair(0, lengths.back()), std::pair(1, lengths.front()),
            std::pair(0, lengths[lengths.size() / 2])}) {
        std::vector<int32_t> expected;
        std::vector<int32_t> expected_squares;
        for (int i = 0; i < count; ++i) {
          int64_t sum = 0;
          int32_t squares = 0;
          for (int64_t j = 0; j < length; ++j) {
            const int32_t code = codes[offset + rows[i] * stride + j];
            sum += int64_t{query[j]} * code;
            if (length <= kSquaresStrideMax) squares += code * code;
          }
          expected_squares.push_back(squares);
          expected.push_back(static_cast<int32_t>(sum));
          REQUIRE(expected.back() == sum);
        }
        for (const SimdLevel level : SupportedSimdLevels()) {
          CAPTURE(dimension, count, offset, length, Name(level));
          std::vector<int32_t> products(static_cast<size_t>(count));
          std::vector<int32_t> squares(static_cast<size_t>(count));
          const QueryCode code{query.data(), high.data(), low.data()};
          const CodeProductsFn compute = CodeProductsFor(level);
          compute(code, codes.data() + offset, stride, length, rows.data(), count, products.data(),
                  nullptr);
          REQUIRE(products == expected);
          if (length > kSquaresStrideMax) continue;
          compute(code, codes.data() + offset, stride, length, rows.data(), count, products.data(),
                  squares.data());
          REQUIRE(squares == expected_squares);
          REQUIRE(products == expected);
        }
      }
    }
  }
}

// What is left of a distance after coding, compared for two rows, since constants cancel. One value
// of a range that is as wide as the others', or so wide that steps must differ.
TEST_CASE("keys by codes are as far apart as distances") {
  std::mt19937 random(22);
  const Metric metric = GENERATE(Metric::kDot, Metric::kL2);
  const float wide = GENERATE(1.0f, 50.0f);
  constexpr int kDimension = 200;
  constexpr int kCount = 300;
  std::vector<float> vectors = RandomVector(random, kDimension * kCount);
  for (size_t i = 0; i < vectors.size(); ++i) {
    vectors[i] = 5 + (i % kDimension == 3 ? wide * vectors[i] : vectors[i]);
    if (i % kDimension == 7) vectors[i] = 2;
  }
  const GraphRows rows{
      .vectors = vectors.data(), .rows = kCount, .dimension = kDimension, .metric = metric};
  std::vector<float> low(kDimension), step(kDimension), origin(kDimension);
  const CodeBookFit fit = FitCodeBook(rows, low.data(), step.data(), origin.data());
  REQUIRE_FALSE(fit.exact);
  REQUIRE(fit.squares == (metric == Metric::kL2 && wide == 1));
  const CodeBook book{
      .dimension = kDimension, .low = low.data(), .step = step.data(), .origin = origin.data()};
  const std::vector<float> query(vectors.begin(), vectors.begin() + kDimension);
  QueryEncoder encoder;
  encoder.Encode(book, metric, query.data());
  std::vector<uint8_t> code(static_cast<size_t>(CodeStride(kDimension)), 1);
  double first = 0;
  for (int row = 0; row < kCount; ++row) {
    const std::vector<float> vector(vectors.begin() + row * kDimension,
                                    vectors.begin() + (row + 1) * kDimension);
    const double norm = EncodeRow(book, vector.data(), code.data());
    const uint32_t zero = 0;
    int32_t product = 0;
    int32_t squares = 0;
    CodeProductsFor()(encoder.code(), code.data(), CodeStride(kDimension), CodeStride(kDimension),
                      &zero, 1, &product, &squares);
    if (fit.squares) REQUIRE(norm == Approx(double{step[0]} * step[0] * squares).epsilon(1e-4));
    const double key = (metric == Metric::kL2 ? norm : 0) + double{encoder.factor()} * product;
    const double difference = NaiveDistance(metric, query, vector) - key;
    if (row == 0) first = difference;
    // Codes are off by half a step at most: 0.014 in most values.
    const double errors = std::sqrt(wide * wide * 0.014 * 0.014 + kDimension * 0.014 * 0.014);
    const double apart = std::sqrt(NaiveDistance(Metric::kL2, query, vector));
    const double reach = metric == Metric::kL2 ? 2 * apart + errors : 75 + 3.5 * wide;
    REQUIRE(std::abs(difference - first) < 1.5 * reach * errors);
  }
}

}  // namespace
}  // namespace baton
