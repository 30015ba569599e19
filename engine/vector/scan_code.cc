#include "engine/vector/scan_code.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace baton {
namespace {

constexpr float kScanCodeMax = 255;
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

}  // namespace

ScanTerms EncodeScanRow(Metric metric, const float* vector, int64_t dimension, uint8_t* code) {
  float low = vector[0];
  float high = vector[0];
  bool whole = true;
  for (int64_t j = 0; j < dimension; ++j) {
    low = std::min(low, vector[j]);
    high = std::max(high, vector[j]);
    whole = whole & (vector[j] == static_cast<float>(static_cast<int64_t>(vector[j])));
  }
  float step = (high - low) / kScanCodeMax;
  if (whole && step <= 1 && std::max(-low, high) <= kScanWholeMax) step = 1;
  const float per_step = step > 0 ? 1 / step : 0;
  // Of a range so small that its inverse is infinite nothing is coded; that is what `error` is for.
  const float scale = std::isfinite(per_step) ? per_step : 0;
  double errors = 0;
  double squares = 0;
  double code_squares = 0;
  for (int64_t j = 0; j < dimension; ++j) {
    const float exact = (vector[j] - low) * scale;
    code[j] = static_cast<uint8_t>(std::min(exact + 0.5f, kScanCodeMax));
    const double coded = double{step} * code[j];
    const double value = low + coded;
    errors += (vector[j] - value) * (vector[j] - value);
    squares += value * value;
    code_squares += coded * coded;
  }
  std::fill(code + dimension, code + CodeStride(dimension), uint8_t{0});
  const double size =
      std::sqrt(code_squares) + std::abs(double{low}) * std::sqrt(static_cast<double>(dimension));
  ScanTerms terms{.low = low, .step = step, .error = AtLeast(std::sqrt(errors))};
  // 2 |query| * size, of which a key under kL2 has roundings, is at most |query|^2 + size^2.
  terms.size = metric == Metric::kL2
                   ? static_cast<float>(squares - kKeyRounding * (squares + size * size))
                   : AtLeast(size);
  return terms;
}

void ScanQuery::Encode(Metric metric, const float* query, int64_t dimension) {
  metric_ = metric;
  const int64_t stride = CodeStride(dimension);
  int16_t* const values = planes_.Clear(stride);
  float largest = 0;
  for (int64_t j = 0; j < dimension; ++j) largest = std::max(largest, std::abs(query[j]));
  const float scale =
      largest > kQueryLargestMin ? static_cast<float>(QueryValueMax(stride)) / largest : 0;
  const float unit = scale > 0 ? 1 / scale : 0;
  double errors = 0;
  double squares = 0;
  double coded_squares = 0;
  int64_t sum = 0;
  for (int64_t j = 0; j < dimension; ++j) {
    values[j] = QueryPlanes::Whole(query[j] * scale);
    const double coded = double{unit} * values[j];
    errors += (query[j] - coded) * (query[j] - coded);
    squares += double{query[j]} * query[j];
    coded_squares += coded * coded;
    sum += values[j];
  }
  planes_.Split();
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

ScanLimits ScanQuery::LimitsFor(float farthest) const {
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
