#include "engine/exec/search_bound.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

namespace baton {
namespace {

// The nearest bf16, ties to even, as a float.
inline float RoundedToBf16(float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  return std::bit_cast<float>((bits + 0x7fff + (bits >> 16 & 1)) & 0xffff0000u);
}

struct NormAndMove {
  double norm;  // of the rounded one
  double moved;
};

NormAndMove Rounded(const float* vector, int64_t dimension) {
  // Eight sums, so that the compiler may keep them in one register.
  double squares[8] = {};
  double moves[8] = {};
  for (int64_t first = 0; first < dimension; first += 8) {
    const int64_t count = std::min<int64_t>(8, dimension - first);
    for (int64_t i = 0; i < count; ++i) {
      const float rounded = RoundedToBf16(vector[first + i]);
      const double move = static_cast<double>(vector[first + i]) - rounded;
      squares[i] += static_cast<double>(rounded) * rounded;
      moves[i] += move * move;
    }
  }
  double square = 0;
  double move = 0;
  for (int i = 0; i < 8; ++i) {
    square += squares[i];
    move += moves[i];
  }
  return {.norm = std::sqrt(square), .moved = std::sqrt(move)};
}

// What is computed in double here is off by far less than this.
constexpr double kSlack = 1 + 1e-6;

}  // namespace

void RoundedRows::Add(const float* vectors, int64_t count, int64_t dimension) {
  for (int64_t row = 0; row < count; ++row) {
    const NormAndMove rounded = Rounded(vectors + row * dimension, dimension);
    // std::max would lose what is not a number.
    if (!(rounded.norm <= norm_max)) norm_max = rounded.norm;
    if (!(rounded.moved <= moved_max)) moved_max = rounded.moved;
    if (std::isnan(norm_max) || std::isnan(moved_max)) {
      norm_max = moved_max = std::numeric_limits<double>::infinity();
    }
  }
}

void RoundedRows::Add(const RoundedRows& other) {
  norm_max = std::max(norm_max, other.norm_max);
  moved_max = std::max(moved_max, other.moved_max);
}

// With q, r as they are and q', r' rounded, by the triangle and Cauchy's inequalities
//   L2:            | |q - r| - |q' - r'| | <= |q - q'| + |r - r'|
//   inner product: | q.r - q'.r' |         <= |q - q'| |r| + |q'| |r - r'|
// Sums of n products in f32 are off by at most n u |q'| |r'|, u = 2^-24 where each addition is to
// the nearest; tensor cores cut off some bits, so it is taken four times. DistanceFor adds n / 32
// products to each of 32 sums, and those in five steps.
SearchBound::SearchBound(Metric metric, std::span<const float> query, const RoundedRows& rows)
    : l2_(metric == Metric::kL2) {
  const auto n = static_cast<double>(query.size());
  const NormAndMove its = Rounded(query.data(), static_cast<int64_t>(query.size()));
  const double device_unit = (n + 16) * std::ldexp(1.0, -22);
  const double host_unit = (n / 32 + 16) * std::ldexp(1.0, -24);
  const double underflow = (n + 16) * std::ldexp(1.0, -120);  // products below the smallest float
  if (l2_) {
    const double norms = its.norm + rows.norm_max;
    moved_ = (its.moved + rows.moved_max) * kSlack;
    device_error_ = device_unit * norms * norms * kSlack + underflow;
    host_error_ = host_unit;
    return;
  }
  const double row_norm = rows.norm_max + rows.moved_max;
  moved_ = (its.moved * row_norm + its.norm * rows.moved_max) * kSlack;
  device_error_ = device_unit * its.norm * rows.norm_max * kSlack + underflow;
  host_error_ = host_unit * (its.norm + its.moved) * row_norm * kSlack + underflow;
}

double SearchBound::Least(double distance) const {
  constexpr double kNothing = -std::numeric_limits<double>::infinity();
  if (!l2_) {
    const double least = distance - device_error_ - moved_ - host_error_;
    return std::isnan(least) ? kNothing : least;
  }
  const double root = std::sqrt(std::max(0.0, distance - device_error_)) - moved_;
  return root > 0 ? root * root * (1 - host_error_) / kSlack : kNothing;
}

}  // namespace baton
