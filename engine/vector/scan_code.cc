#include "engine/vector/scan_code.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "engine/vector/nibble_screen.h"

namespace baton {
namespace {

constexpr float kScanCodeMax = 255;
constexpr float kNibbleMax = 15;
constexpr int32_t kNibbleQueryMax = 127;
// Whole numbers up to here, and a code added, are exact.
constexpr float kScanWholeMax = 1 << 23;
// What is divided by it stays finite.
constexpr float kQueryLargestMin = 1e-34f;
// Half a unit in the last place of a float.
constexpr double kUnit = 0x1p-24;
// A key is a sum of 4 terms, each of at most 6 rounded factors: it is off by no more than this
// share of their magnitudes, and so is a limit.
constexpr double kKeyRounding = 32 * kUnit;

// Not below `value`, which is not negative.
float AtLeast(double value) {
  if (value == 0) return 0;
  return std::max(static_cast<float>(value * (1 + kKeyRounding)),
                  std::numeric_limits<float>::min());
}

ScanTerms EncodeRow(Metric metric, const float* vector, int64_t dimension, float code_max,
                    uint8_t* code) {
  float low = vector[0];
  float high = vector[0];
  bool whole = true;
  for (int64_t j = 0; j < dimension; ++j) {
    low = std::min(low, vector[j]);
    high = std::max(high, vector[j]);
    whole = whole & (vector[j] == static_cast<float>(static_cast<int64_t>(vector[j])));
  }
  float step = (high - low) / code_max;
  if (whole && step <= 1 && std::max(-low, high) <= kScanWholeMax) step = 1;
  const float per_step = step > 0 ? 1 / step : 0;
  // Of a range so small that its inverse is infinite nothing is coded; that is what `error` is for.
  const float scale = std::isfinite(per_step) ? per_step : 0;
  double errors = 0;
  double squares = 0;
  double code_squares = 0;
  for (int64_t j = 0; j < dimension; ++j) {
    const float exact = (vector[j] - low) * scale;
    code[j] = static_cast<uint8_t>(std::min(exact + 0.5f, code_max));
    const double coded = double{step} * code[j];
    const double value = low + coded;
    errors += (vector[j] - value) * (vector[j] - value);
    squares += value * value;
    code_squares += coded * coded;
  }
  const double size =
      std::sqrt(code_squares) + std::abs(double{low}) * std::sqrt(static_cast<double>(dimension));
  ScanTerms terms{.low = low, .step = step, .error = AtLeast(std::sqrt(errors))};
  // 2 |query| * size, of which a key under kL2 has roundings, is at most |query|^2 + size^2.
  terms.size = metric == Metric::kL2
                   ? static_cast<float>(squares - kKeyRounding * (squares + size * size))
                   : AtLeast(size);
  return terms;
}

// What a query's values are multiplied by so that the largest is `value_max`; 0: all are nothing.
float ScaleTo(const float* query, int64_t dimension, int32_t value_max) {
  float largest = 0;
  for (int64_t j = 0; j < dimension; ++j) largest = std::max(largest, std::abs(query[j]));
  return largest > kQueryLargestMin ? static_cast<float>(value_max) / largest : 0;
}

}  // namespace

ScanTerms EncodeScanRow(Metric metric, const float* vector, int64_t dimension, uint8_t* code) {
  std::fill(code + dimension, code + CodeStride(dimension), uint8_t{0});
  return EncodeRow(metric, vector, dimension, kScanCodeMax, code);
}

ScanTerms EncodeNibbleRow(Metric metric, const float* vector, int64_t dimension, uint8_t* code) {
  std::fill(code + dimension, code + NibbleLines(dimension) * kNibbleLineValues, uint8_t{0});
  return EncodeRow(metric, vector, dimension, kNibbleMax, code);
}

void StoreNibbleBlock(const ScanTerms* terms, const uint8_t* codes, int64_t dimension,
                      std::byte* block) {
  constexpr int64_t kRows = kNibbleBlockRows;
  float columns[4][kRows];
  for (int64_t row = 0; row < kRows; ++row) {
    columns[0][row] = terms[row].low;
    columns[1][row] = terms[row].step;
    columns[2][row] = terms[row].error;
    columns[3][row] = terms[row].size;
  }
  std::memcpy(block, columns, sizeof(columns));
  block += sizeof(columns);
  const int64_t lines = NibbleLines(dimension);
  for (int64_t line = 0; line < lines; ++line) {
    for (int64_t row = 0; row < kRows; ++row) {
      const uint8_t* const values = codes + (row * lines + line) * kNibbleLineValues;
      for (int64_t b = 0; b < 4; ++b) *block++ = std::byte(values[b] | values[4 + b] << 4);
    }
  }
}

template <class T>
void ScanBounds::Fit(Metric metric, const float* query, int64_t dimension, float unit,
                     const T* values) {
  metric_ = metric;
  double errors = 0;
  double squares = 0;
  double coded_squares = 0;
  int64_t sum = 0;
  for (int64_t j = 0; j < dimension; ++j) {
    const double coded = double{unit} * values[j];
    errors += (query[j] - coded) * (query[j] - coded);
    squares += double{query[j]} * query[j];
    coded_squares += coded * coded;
    sum += values[j];
  }
  error_ = std::sqrt(errors) * (1 + kKeyRounding);
  // 32 partial sums (distance.h), and the steps that add those up; what is below the smallest float
  // may be lost from each value.
  rounding_ = (static_cast<double>(dimension) / 32 + 16) * 2 * kUnit;
  underflow_ = static_cast<double>(dimension) * double{std::numeric_limits<float>::min()};
  const double factor = metric == Metric::kL2 ? -2.0 * unit : -double{unit};
  limits_ = {.product_factor = static_cast<float>(factor),
             .low_factor = static_cast<float>(factor * static_cast<double>(sum))};
  if (metric == Metric::kL2) {
    limits_.key_base = static_cast<float>(coded_squares * (1 - 2 * kKeyRounding));
    return;
  }
  // product(query, row) - product(query's code, row's code)
  //   = product(query, row's error) + product(query's error, row's code)
  const double length = std::sqrt(std::max(squares, coded_squares));
  limits_.error_factor = AtLeast(length * (1 + rounding_));
  limits_.size_factor = AtLeast(error_ + length * (rounding_ + kKeyRounding));
}

void ScanQuery::Encode(Metric metric, const float* query, int64_t dimension) {
  const int64_t stride = CodeStride(dimension);
  int16_t* const values = planes_.Clear(stride);
  const float scale = ScaleTo(query, dimension, QueryValueMax(stride));
  for (int64_t j = 0; j < dimension; ++j) values[j] = QueryPlanes::Whole(query[j] * scale);
  bounds_.Fit(metric, query, dimension, scale > 0 ? 1 / scale : 0, values);
  planes_.Split();
}

void NibbleQuery::Encode(Metric metric, const float* query, int64_t dimension) {
  values_.assign(static_cast<size_t>(NibbleLines(dimension) * kNibbleLineValues), 0);
  const float scale = ScaleTo(query, dimension, kNibbleQueryMax);
  for (int64_t j = 0; j < dimension; ++j) {
    values_[static_cast<size_t>(j)] = static_cast<int8_t>(QueryPlanes::Whole(query[j] * scale));
  }
  bounds_.Fit(metric, query, dimension, scale > 0 ? 1 / scale : 0, values_.data());
}

ScanLimits ScanBounds::LimitsFor(float farthest) const {
  ScanLimits limits = limits_;
  if (metric_ == Metric::kL2) {
    const double squared = (std::max(double{farthest}, 0.0) + underflow_) / (1 - rounding_);
    limits.radius = AtLeast(std::sqrt(squared) + error_);
  } else {
    const double limit = farthest + std::abs(double{farthest}) * kKeyRounding + underflow_;
    limits.radius = static_cast<float>(limit);
  }
  return limits;
}

}  // namespace baton
