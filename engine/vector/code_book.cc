#include "engine/vector/code_book.h"

#include <algorithm>
#include <cmath>
#include <vector>

namespace baton {
namespace {

constexpr float kCodeMax = 255;
// Whole numbers up to here, and a code added, are exact.
constexpr float kWholeMax = 1 << 23;
// Steps are made the same where errors of values, squared and added up, become no more than this
// many times as large.
constexpr double kErrorsMax = 4;
// What is divided by it stays finite.
constexpr float kLargestMin = 1e-34f;

}  // namespace

CodeBookFit FitCodeBook(const GraphRows& rows, float* low, float* step, float* origin) {
  const auto dimension = static_cast<size_t>(rows.dimension);
  std::vector<float> high(rows.vectors, rows.vectors + dimension);
  std::copy_n(rows.vectors, dimension, low);
  std::vector<double> sums(dimension);
  std::vector<uint8_t> whole(dimension, 1);
  for (int64_t row = 0; row < rows.rows; ++row) {
    const float* const vector = rows.vectors + row * rows.dimension;
    for (size_t j = 0; j < dimension; ++j) {
      low[j] = std::min(low[j], vector[j]);
      high[j] = std::max(high[j], vector[j]);
      sums[j] += vector[j];
      whole[j] &= vector[j] == std::trunc(vector[j]) ? 1 : 0;
    }
  }
  CodeBookFit fit{.exact = true};
  for (size_t j = 0; j < dimension; ++j) {
    step[j] = (high[j] - low[j]) / kCodeMax;
    fit.exact =
        fit.exact && whole[j] != 0 && step[j] <= 1 && std::max(-low[j], high[j]) <= kWholeMax;
  }
  if (fit.exact) std::fill_n(step, dimension, 1.0f);
  const float largest = *std::max_element(step, step + dimension);
  double errors = 0;
  for (size_t j = 0; j < dimension; ++j) errors += double{step[j]} * step[j];
  fit.squares = rows.metric == Metric::kL2 && CodeStride(rows.dimension) <= kSquaresStrideMax &&
                double{largest} * largest * rows.dimension <= kErrorsMax * errors;
  if (fit.squares) std::fill_n(step, dimension, largest);
  for (size_t j = 0; j < dimension; ++j) {
    const double mean = sums[j] / static_cast<double>(rows.rows);
    origin[j] = rows.metric != Metric::kL2 ? 0 : fit.squares ? low[j] : static_cast<float>(mean);
  }
  return fit;
}

float EncodeRow(const CodeBook& book, const float* vector, uint8_t* code) {
  float norm = 0;
  for (int64_t j = 0; j < book.dimension; ++j) {
    const float step = book.step[j];
    const float exact = step > 0 ? (vector[j] - book.low[j]) / step : 0;
    code[j] = static_cast<uint8_t>(std::clamp(exact + 0.5f, 0.0f, kCodeMax));
    const float value = book.low[j] + step * code[j] - book.origin[j];
    norm += value * value;
  }
  std::fill(code + book.dimension, code + CodeStride(book.dimension), uint8_t{0});
  return norm;
}

float QueryConstant(const CodeBook& book, Metric metric, const float* vector, float norm) {
  float product = 0;
  for (int64_t j = 0; j < book.dimension; ++j) {
    product += (vector[j] - book.origin[j]) * (book.low[j] - book.origin[j]);
  }
  return metric == Metric::kL2 ? norm - 2 * product : -product;
}

void DecodeRow(const CodeBook& book, const uint8_t* code, float* vector) {
  for (int64_t j = 0; j < book.dimension; ++j) vector[j] = book.low[j] + book.step[j] * code[j];
}

namespace {

// The largest |(query - origin) * step|, by lanes: one after the other takes longer than all else.
float LargestScaled(const CodeBook& book, const float* query) {
  constexpr int64_t kLanes = 16;
  const auto scaled = [&](int64_t j) {
    return std::abs((query[j] - book.origin[j]) * book.step[j]);
  };
  float lanes[kLanes] = {};
  int64_t j = 0;
  for (; j + kLanes <= book.dimension; j += kLanes) {
    for (int64_t lane = 0; lane < kLanes; ++lane) {
      const float value = scaled(j + lane);
      lanes[lane] = value > lanes[lane] ? value : lanes[lane];
    }
  }
  float largest = *std::max_element(lanes, lanes + kLanes);
  for (; j < book.dimension; ++j) largest = std::max(largest, scaled(j));
  return largest;
}

}  // namespace

float LengthSquared(const CodeBook& book, const float* query, int64_t count) {
  constexpr int64_t kLanes = 16;
  float lanes[kLanes] = {};
  int64_t j = 0;
  for (; j + kLanes <= count; j += kLanes) {
    for (int64_t lane = 0; lane < kLanes; ++lane) {
      const float value = query[j + lane] - book.origin[j + lane];
      lanes[lane] += value * value;
    }
  }
  float sum = 0;
  for (const float lane : lanes) sum += lane;
  for (; j < count; ++j) sum += (query[j] - book.origin[j]) * (query[j] - book.origin[j]);
  return sum;
}

void QueryEncoder::Encode(const CodeBook& book, Metric metric, const float* query) {
  const int64_t stride = CodeStride(book.dimension);
  int16_t* const values = planes_.Clear(stride);
  const float largest = LargestScaled(book, query);
  const auto value_max = static_cast<float>(QueryValueMax(stride));
  // Of a query that is the mean, or of rows that are all alike, every product is zero.
  const float scale = largest > kLargestMin ? value_max / largest : 0;
  for (int64_t j = 0; j < book.dimension; ++j) {
    values[j] = QueryPlanes::Whole((query[j] - book.origin[j]) * book.step[j] * scale);
  }
  planes_.Split();
  const float unit = scale > 0 ? 1 / scale : 0;
  factor_ = metric == Metric::kL2 ? -2 * unit : -unit;
}

}  // namespace baton
