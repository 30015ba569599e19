#include "engine/schedule/cost_curve.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "engine/base/strings.h"

namespace baton {
namespace {

constexpr std::array<double, 8> kPriorPrecision = {0.01, 1, 4, 4, 4, 4, 4, 4};
constexpr double kForget = 1 - 1.0 / 1000;  // per sample: the plane remembers about a thousand
constexpr double kCellForget = 1.0 / 50;    // a cell about fifty
constexpr double kVarianceForget = 1.0 / 64;
constexpr double kVarianceMin = 1e-4;  // 1 %: clocks and queues are not better than that
constexpr double kVarianceMax = 100;
constexpr double kThetaMax = 100;  // what no device's times come near
constexpr double kMeanMax = 100;
constexpr double kPrecisionMax = 1e12;
constexpr double kPivotMin = 1e-6;  // of any precision that came of samples
constexpr double kClip = 3;         // standard deviations
constexpr int64_t kWarmup = 8;      // samples before residuals mean anything
// What one error may count in the cells and among the last ones: so they lean to the median, which
// is what is told.
constexpr double kMedianClip = 1;
// Of the last errors: an average of about the last two, and that what they told changes as slowly
// as machines do.
constexpr double kLatelyForget = 0.5;
constexpr double kLatelyToldForget = 1.0 / 256;
// CUSUM: blind to shifts below half a standard deviation; a stable curve alarms about once in
// twenty thousand samples (Siegmund's approximation), which costs it little.
constexpr double kDriftSlack = 0.5;
constexpr double kDriftAlarm = 8;
constexpr double kDriftClip = 4;
constexpr int64_t kDriftSamplesMin = 3;
constexpr double kDriftCellCount = 4;  // what cells count after one
constexpr double kQuantile95 = 1.645;

double Blend(double& average, double value, double rate) {
  average += rate * (value - average);
  return average;
}

}  // namespace

CostCurve::Vector CostCurve::FeaturesOf(const WorkShape& shape) {
  const auto within = [](double value, double low, double high) {
    return value > low ? std::min(value, high) : low;  // what is no number is low, too
  };
  const auto log = [&within](double value) { return std::log(within(value, 1, 1e15)); };
  return {1,
          log(shape.items),
          log(shape.batch),
          log(1 + shape.context),
          log(shape.scale),
          within(shape.load, 0, 1),
          std::log((1 + within(shape.streak, 0, WorkShape::kLongStreak)) /
                   (1 + WorkShape::kLongStreak)),
          shape.streak > 0 ? 0.0 : 1.0};
}

uint32_t CostCurve::CoarseKey(const Vector& x) {
  const auto items = static_cast<uint32_t>(x[1] / M_LN2 * 2);
  const auto context = static_cast<uint32_t>(x[3] / M_LN2 / 2);
  return items << 16 | context;
}

uint32_t CostCurve::FineKey(const Vector& x) {
  const double items = std::exp(x[1]);
  // Up to 16 an eighth of an octave has no integer of its own.
  const auto item_cell = items <= 16 ? static_cast<uint32_t>(std::lround(items))
                                     : static_cast<uint32_t>(x[1] / M_LN2 * 8);
  const auto context = static_cast<uint32_t>(x[3] / M_LN2 * 2);
  return item_cell << 16 | context;
}

double CostCurve::MeanOf(const Cells& cells, uint32_t key) {
  const auto it = cells.find(key);
  return it == cells.end() ? 0 : it->second.mean * it->second.weight();
}

bool CostCurve::Factorise() {
  Matrix factor = {};
  for (int i = 0; i < kDims; ++i) {
    for (int j = 0; j <= i; ++j) {
      double left = precision_[i * kDims + j];
      for (int k = 0; k < j; ++k) left -= factor[i * kDims + k] * factor[j * kDims + k];
      if (i != j) {
        factor[i * kDims + j] = left / factor[j * kDims + j];
      } else if (left >= kPivotMin) {
        factor[i * kDims + i] = std::sqrt(left);
      } else {
        return false;
      }
    }
  }
  factor_ = factor;
  return true;
}

CostCurve::Vector CostCurve::Solve(Vector v) const {
  for (int i = 0; i < kDims; ++i) {
    for (int j = 0; j < i; ++j) v[i] -= factor_[i * kDims + j] * v[j];
    v[i] /= factor_[i * kDims + i];
  }
  for (int i = kDims; i-- > 0;) {
    for (int j = i + 1; j < kDims; ++j) v[i] -= factor_[j * kDims + i] * v[j];
    v[i] /= factor_[i * kDims + i];
  }
  return v;
}

double CostCurve::PlaneVariance(const Vector& x) const {
  const Vector solved = Solve(x);
  double sum = 0;
  for (int i = 0; i < kDims; ++i) sum += x[i] * solved[i];
  return std::max(0.0, sum);
}

CostPrediction CostCurve::Predict(const WorkShape& shape) const {
  const Vector x = FeaturesOf(shape);
  double log_us = 0;
  for (int i = 0; i < kDims; ++i) log_us += theta_[i] * x[i];
  const auto coarse = coarse_.find(CoarseKey(x));
  double unknown = 1;  // of the plane's misfit here
  if (coarse != coarse_.end()) {
    log_us += coarse->second.mean * coarse->second.weight();
    unknown -= coarse->second.weight();
  }
  log_us += MeanOf(fine_, FineKey(x)) + lately_.Next();
  log_us = std::clamp(log_us, -3.0, 30.0);
  const double variance = noise_variance_ + PlaneVariance(x) + unknown * plane_variance_;
  return {.run_us = std::exp(log_us),
          .run_us_high = std::exp(log_us + kQuantile95 * std::sqrt(variance)),
          .samples = samples_};
}

void CostCurve::UpdatePlane(const Vector& x, double residual) {
  const double weight = 1 / std::max(kVarianceMin, plane_variance_);
  Vector pull;
  for (int i = 0; i < kDims; ++i) {
    const double prior = (1 - kForget) * kPriorPrecision[i];
    for (int j = 0; j < kDims; ++j) {
      double& element = precision_[i * kDims + j];
      element = kForget * element + weight * x[i] * x[j] + (i == j ? prior : 0);
    }
    pull[i] = weight * x[i] * residual + prior * (kPriorTheta[i] - theta_[i]);
  }
  if (!Factorise()) {  // of numbers that no traffic makes: a file's
    precision_ = CostCurve().precision_;
    factor_ = CostCurve().factor_;
  }
  const Vector step = Solve(pull);
  for (int i = 0; i < kDims; ++i) {
    theta_[i] = std::clamp(theta_[i] + step[i], -kThetaMax, kThetaMax);
  }
}

// By Sherman and Morrison, of the covariance plus the variance at the level's place.
void CostCurve::ShiftPlane(double shift, double variance) {
  theta_[0] = std::clamp(theta_[0] + shift, -kThetaMax, kThetaMax);
  Vector level = {1};
  const double added = std::min(variance, 1 / kPriorPrecision[0] - Solve(level)[0]);
  if (added <= 0) return;
  const Matrix before = precision_;
  const double factor = added / (1 + added * before[0]);
  for (int i = 0; i < kDims; ++i) {
    for (int j = 0; j < kDims; ++j) {
      precision_[i * kDims + j] -= factor * before[i * kDims] * before[j * kDims];
    }
  }
  if (!Factorise()) precision_ = before;  // it is known no better than the prior anyway
}

double CostCurve::Lately::Next() const {
  return square > 0 ? std::clamp(product / square, 0.0, 1.0) * error : 0;
}

void CostCurve::Lately::Learn(double next) {
  Blend(product, next * error, kLatelyToldForget);
  Blend(square, error * error, kLatelyToldForget);
  Blend(error, next, kLatelyForget);
}

void CostCurve::Learn(Cells& cells, uint32_t key, double residual) const {
  if (cells.size() >= kCellsMax && !cells.contains(key)) {
    std::vector<int64_t> ages;
    for (const auto& entry : cells) ages.push_back(entry.second.last);
    std::nth_element(ages.begin(), ages.begin() + ages.size() / 2, ages.end());
    const int64_t median = ages[ages.size() / 2];
    std::erase_if(cells, [median](const auto& entry) { return entry.second.last < median; });
  }
  Cell& cell = cells[key];
  cell.last = samples_;
  cell.count = std::min(cell.count + 1, 1 / kCellForget);
  Blend(cell.mean, residual, 1 / cell.count);
}

double CostCurve::WatchDrift(double error) {
  const double z = std::clamp(error / std::sqrt(noise_variance_), -kDriftClip, kDriftClip);
  for (Side* side : {&slower_, &faster_}) {
    side->sum += (side == &slower_ ? z : -z) - kDriftSlack;
    if (side->sum <= 0) {
      *side = {};
      continue;
    }
    side->error_sum += error;
    ++side->count;
    if (side->sum < kDriftAlarm || side->count < kDriftSamplesMin) continue;
    const double shift = side->error_sum / static_cast<double>(side->count);
    slower_ = {};
    faster_ = {};
    return shift;
  }
  return 0;
}

void CostCurve::Observe(const WorkShape& shape, double run_us) {
  if (!std::isfinite(run_us)) return;
  const Vector x = FeaturesOf(shape);
  const double log_us = std::log(std::clamp(run_us, 0.05, 1e13));
  double residual = log_us;  // of the plane
  for (int i = 0; i < kDims; ++i) residual -= theta_[i] * x[i];
  const uint32_t coarse_key = CoarseKey(x);
  const uint32_t fine_key = FineKey(x);
  double error = residual - MeanOf(coarse_, coarse_key) - MeanOf(fine_, fine_key);
  ++samples_;

  if (samples_ > kWarmup) {
    if (const double shift = WatchDrift(error); shift != 0) {
      ++drifts_;
      lately_.error = 0;  // the plane has it now
      ShiftPlane(shift, shift * shift);
      residual -= shift;
      error -= shift;
      for (Cells* cells : {&coarse_, &fine_}) {
        for (auto& entry : *cells) {
          entry.second.count = std::min(entry.second.count, kDriftCellCount);
        }
      }
    }
    const double plane_limit = kClip * std::sqrt(plane_variance_);
    const double noise_limit = kClip * std::sqrt(noise_variance_);
    residual = std::clamp(residual, -plane_limit, plane_limit);
    error = std::clamp(error, -noise_limit, noise_limit);
    const double rate = std::max(kVarianceForget, 1 / static_cast<double>(samples_ - kWarmup + 4));
    plane_variance_ =
        std::clamp(Blend(plane_variance_, residual * residual, rate), kVarianceMin, kVarianceMax);
    noise_variance_ =
        std::clamp(Blend(noise_variance_, error * error, rate), kVarianceMin, kVarianceMax);
    const double median_limit = kMedianClip * std::sqrt(noise_variance_);
    error = std::clamp(error, -median_limit, median_limit);
    lately_.Learn(error);
  }
  UpdatePlane(x, residual);

  // What the plane leaves over now; the cells see outliers clipped, too.
  double left = error + MeanOf(coarse_, coarse_key) + MeanOf(fine_, fine_key);
  if (samples_ <= kWarmup) {
    left = log_us;
    for (int i = 0; i < kDims; ++i) left -= theta_[i] * x[i];
  }
  left = std::clamp(left, -kMeanMax / 2, kMeanMax / 2);
  Learn(coarse_, coarse_key, left);
  Learn(fine_, fine_key, left - MeanOf(coarse_, coarse_key));
}

std::string CostCurve::Save() const {
  std::string line = StrCat(samples_, " ", plane_variance_, " ", noise_variance_);
  for (const double value : theta_) line += StrCat(" ", value);
  for (const double value : precision_) line += StrCat(" ", value);
  for (const Cells* cells : {&coarse_, &fine_}) {
    line += StrCat(" ", cells->size());
    for (const auto& [key, cell] : *cells) {
      line += StrCat(" ", key, " ", cell.mean, " ", cell.count);
    }
  }
  return line;
}

absl::Status CostCurve::Restore(std::string_view line) {
  bool good = true;
  const auto next = [&line, &good](double min, double max) {
    const size_t start = std::min(line.find_first_not_of(' '), line.size());
    line.remove_prefix(start);
    double value = 0;
    const auto [end, error] = std::from_chars(line.data(), line.data() + line.size(), value);
    good = good && error == std::errc() && value >= min && value <= max;  // NaN is neither
    line.remove_prefix(static_cast<size_t>(end - line.data()));
    return good ? value : 0;
  };
  CostCurve read;
  read.samples_ = static_cast<int64_t>(next(0, 1e15));
  read.plane_variance_ = next(kVarianceMin, kVarianceMax);
  read.noise_variance_ = next(kVarianceMin, kVarianceMax);
  for (double& value : read.theta_) value = next(-kThetaMax, kThetaMax);
  for (double& value : read.precision_) value = next(-kPrecisionMax, kPrecisionMax);
  for (int i = 0; i < kDims; ++i) {
    for (int j = 0; j < i; ++j) {
      const double a = read.precision_[i * kDims + j];
      good = good && std::abs(a - read.precision_[j * kDims + i]) <= 1e-6 * (1 + std::abs(a));
    }
  }
  good = good && read.Factorise();
  for (Cells* cells : {&read.coarse_, &read.fine_}) {
    const auto count = static_cast<size_t>(next(0, kCellsMax));
    for (size_t i = 0; good && i < count; ++i) {
      const auto key = static_cast<uint32_t>(next(0, UINT32_MAX));
      const double mean = next(-kMeanMax, kMeanMax);
      (*cells)[key] = {.mean = mean, .count = next(0, 1 / kCellForget)};
    }
  }
  if (!good || line.find_first_not_of(' ') != line.npos) {
    return absl::InvalidArgumentError("not a saved cost curve");
  }
  // The machine may have changed meanwhile: what comes now counts more.
  read.ShiftPlane(0, read.noise_variance_);
  for (Cells* cells : {&read.coarse_, &read.fine_}) {
    for (auto& entry : *cells) entry.second.count = std::min(entry.second.count, kDriftCellCount);
  }
  *this = std::move(read);
  return absl::OkStatus();
}

}  // namespace baton
