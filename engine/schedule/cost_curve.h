#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "absl/status/status.h"
#include "engine/base/clock.h"

namespace baton {

// What a batch's time depends on.
struct WorkShape {
  double items = 1;    // tokens, queries, texts, points
  double batch = 1;    // sequences or requests that they come in
  double context = 0;  // of each: positions before it; of a search the points searched
  double scale = 1;    // of each: a model's parameters, a vector's dimension, a text's bytes
  double load = 0;     // of the executor as the batch goes to it, 0 idle to 1 busy
  // Batches of the same work that the executor did just before it, one after another; more than
  // these count as these.
  static constexpr double kLongStreak = 15;
  double streak = kLongStreak;
};

// How long a batch will run.
struct CostPrediction {
  double run_us = 0;       // as many batches take less as take more
  double run_us_high = 0;  // 19 of 20 take less
  int64_t samples = 0;     // learned from
};

// The time that one class of work takes on one executor, learned online. Pure.
//
// In logarithms, so that the relative error counts, on four levels, each fitted to what the levels
// before it leave over:
//   1 a plane over ln(items), ln(batch), ln(1 + context), ln(scale), load, ln(1 + streak) and
//     whether there is a streak, since the first batch behind other work finds that work's data in
//     the caches, and each one behind it more of its own; by recursive least squares with
//     forgetting in information form, where what is forgotten is replaced by the prior (stabilised
//     forgetting, Milek and Kraus 1995): directions that traffic does not excite, as all but one
//     where every batch is alike, go back to it instead of winding up;
//   2 the mean of each cell of half an octave of items by two octaves of context: knees;
//   3 the mean of each cell of an eighth of an octave by half an octave, small counts exactly:
//     steps;
//   4 the last few batches' error, as far as such errors have told of the next one's: neighbours on
//     the machine, clocks.
// A cell's mean counts n / (n + 1), so that it says nothing before it has seen something. Outliers
// are clipped at three standard deviations of the noise, on the last three levels at one. A
// two-sided CUSUM over the residuals finds a device that became slower or faster within a few
// batches: the plane is moved by what they lack, and everything forgets faster for a while.
class CostCurve {
 public:
  void Observe(const WorkShape& shape, double run_us);
  CostPrediction Predict(const WorkShape& shape) const;

  int64_t samples() const { return samples_; }
  int64_t drifts() const { return drifts_; }

  // As one line of numbers, and back; INVALID_ARGUMENT: it is none, and the curve is unchanged.
  std::string Save() const;
  absl::Status Restore(std::string_view line);

 private:
  static constexpr int kDims = 8;
  using Vector = std::array<double, kDims>;

  // The mean of what a part of the plane leaves over.
  struct Cell {
    double mean = 0;
    double count = 0;
    int64_t last = 0;  // the sample that touched it
    double weight() const { return count / (count + 1); }
  };
  using Cells = std::unordered_map<uint32_t, Cell>;
  static constexpr size_t kCellsMax = 1024;

  // The last batches' mean error, and what that told of the next one's: by least squares, over
  // many.
  struct Lately {
    double error = 0;
    double product = 0;  // mean of it and the next error
    double square = 0;   // mean of it and itself
    double Next() const;
    void Learn(double next);
  };

  static Vector FeaturesOf(const WorkShape& shape);
  static uint32_t CoarseKey(const Vector& x);
  static uint32_t FineKey(const Vector& x);
  static double MeanOf(const Cells& cells, uint32_t key);
  void Learn(Cells& cells, uint32_t key, double residual) const;
  // Of the plane at x, as far as it is not known.
  double PlaneVariance(const Vector& x) const;
  void UpdatePlane(const Vector& x, double residual);
  // Moves the level, and knows it less well by the variance.
  void ShiftPlane(double shift, double variance);
  // After every change of precision_. False: it is none.
  bool Factorise();
  // precision_ ^ -1 times v
  Vector Solve(Vector v) const;
  // What to add to the plane: 0 while nothing has drifted.
  double WatchDrift(double error);

  // A millisecond; half of it fixed.
  static constexpr Vector kPriorTheta = {6.9, 0.5, 0, 0, 0, 0, 0, 0};
  Vector theta_ = kPriorTheta;
  // Row major and symmetric, of squared logarithms; what it begins with is the prior: the level is
  // unknown, slopes are about 1. And its Cholesky factor, lower.
  using Matrix = std::array<double, kDims * kDims>;
  static constexpr Matrix Diagonal(const Vector& values) {
    Matrix matrix = {};
    for (int i = 0; i < kDims; ++i) matrix[i * kDims + i] = values[i];
    return matrix;
  }
  Matrix precision_ = Diagonal({0.01, 1, 4, 4, 4, 4, 4, 4});
  Matrix factor_ = Diagonal({0.1, 1, 2, 2, 2, 2, 2, 2});
  double plane_variance_ = 0.25;  // of what the plane leaves over
  double noise_variance_ = 0.25;  // of what all levels leave over
  int64_t samples_ = 0;
  int64_t drifts_ = 0;
  Cells coarse_;
  Cells fine_;
  Lately lately_;

  // One side of the CUSUM: since it was last zero.
  struct Side {
    double sum = 0;
    double error_sum = 0;
    int64_t count = 0;
  };
  Side slower_;
  Side faster_;
};

}  // namespace baton
