#include "engine/transfer/path_table.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "engine/base/check.h"

namespace baton {
namespace {

// What a copy's weight is multiplied with at each later one: those of the last 30 or so count.
constexpr double kForget = 0.97;
// The share of a class's newest copy in its mean miss: a change is followed within 5 or so.
constexpr double kMissShare = 0.3;
constexpr uint64_t kProbeEvery = 64;
constexpr uint64_t kProbeUnknownEvery = 8;
constexpr int kFailuresInRowMax = 3;

}  // namespace

size_t PathTable::ClassOf(int64_t bytes) {
  size_t size_class = 0;
  while (size_class + 1 < kClassEnds.size() && bytes >= kClassEnds[size_class]) ++size_class;
  return size_class;
}

size_t PathTable::Add(std::string name) {
  const std::lock_guard lock(mutex_);
  names_.push_back(std::move(name));
  return names_.size() - 1;
}

PathTable::Line PathTable::LineOf(const Cost& cost) {
  Line line;
  const double determinant = cost.w * cost.xx - cost.x * cost.x;
  // Copies of one size only say nothing of the latency: the line then goes through the origin.
  if (determinant > 1e-9 * cost.w * cost.xx) {
    line.us_per_byte = (cost.w * cost.xy - cost.x * cost.y) / determinant;
    line.latency_us = (cost.y - line.us_per_byte * cost.x) / cost.w;
  }
  if (line.us_per_byte < 0) return {.latency_us = cost.y / cost.w, .us_per_byte = 0};
  if (line.us_per_byte == 0 || line.latency_us < 0) {
    if (cost.xx <= 0) return {.latency_us = cost.y / cost.w, .us_per_byte = 0};
    return {.latency_us = 0, .us_per_byte = cost.xy / cost.xx};
  }
  return line;
}

double PathTable::PredictUs(const Cost& cost, size_t size_class, double bytes) {
  const Line line = LineOf(cost);
  return (line.latency_us + line.us_per_byte * bytes) * std::exp(cost.classes[size_class].log_miss);
}

std::optional<double> PathTable::PredictUs(size_t path, const SpacePair& pair,
                                           int64_t bytes) const {
  const std::lock_guard lock(mutex_);
  const auto it = costs_.find({path, pair});
  if (it == costs_.end() || it->second.copies == 0) return std::nullopt;
  return PredictUs(it->second, ClassOf(bytes), static_cast<double>(bytes));
}

std::optional<double> PathTable::PredictSureUs(size_t path, const SpacePair& pair,
                                               int64_t bytes) const {
  const std::lock_guard lock(mutex_);
  const auto it = costs_.find({path, pair});
  if (it == costs_.end() || it->second.copies < kSureFrom) return std::nullopt;
  return PredictUs(it->second, ClassOf(bytes), static_cast<double>(bytes));
}

size_t PathTable::Choose(const SpacePair& pair, int64_t bytes,
                         std::span<const Candidate> candidates) {
  BATON_CHECK(!candidates.empty());
  if (candidates.size() == 1) return 0;
  const std::lock_guard lock(mutex_);
  const size_t size_class = ClassOf(bytes);
  const uint64_t turn = ++turns_[{pair, size_class}];
  size_t best = candidates.size();
  size_t longest = 0;  // not taken
  double best_us = std::numeric_limits<double>::infinity();
  bool unknown = false;
  for (size_t i = 0; i < candidates.size(); ++i) {
    const Cost& cost = costs_[{candidates[i].path, pair}];
    if (cost.classes[size_class].taken <
        costs_[{candidates[longest].path, pair}].classes[size_class].taken) {
      longest = i;
    }
    if (cost.failures_in_row >= kFailuresInRowMax) continue;
    if (cost.copies < kSureFrom) {
      if (best == candidates.size()) {  // nothing better is known
        best = i;
        best_us = 0;
      }
      unknown = true;
      continue;
    }
    const double us =
        PredictUs(cost, size_class, static_cast<double>(bytes + candidates[i].bytes_in_flight));
    if (us < best_us) {
      best = i;
      best_us = us;
    }
  }
  if (best == candidates.size()) best = longest;  // all have failed
  if (turn % (unknown ? kProbeUnknownEvery : kProbeEvery) == 0) best = longest;
  costs_[{candidates[best].path, pair}].classes[size_class].taken = turn;
  return best;
}

void PathTable::Observe(size_t path, const SpacePair& pair, int64_t bytes, TimeUs copy_us) {
  const std::lock_guard lock(mutex_);
  Cost& cost = costs_[{path, pair}];
  const double x = static_cast<double>(bytes);
  const double y = std::max(0.5, static_cast<double>(copy_us));  // the clock's grain is 1 us
  const double weight = 1 / (y * y);
  for (double* sum : {&cost.w, &cost.x, &cost.y, &cost.xx, &cost.xy}) *sum *= kForget;
  cost.w += weight;
  cost.x += weight * x;
  cost.y += weight * y;
  cost.xx += weight * x * x;
  cost.xy += weight * x * y;
  ++cost.copies;
  cost.failures_in_row = 0;
  SizeClass& size_class = cost.classes[ClassOf(bytes)];
  const Line line = LineOf(cost);
  const double miss = std::log(y / std::max(0.5, line.latency_us + line.us_per_byte * x));
  const double share = size_class.copies == 0 ? 1 : kMissShare;
  size_class.log_miss += share * (miss - size_class.log_miss);
  size_class.mean_bytes += share * (x - size_class.mean_bytes);
  ++size_class.copies;
}

void PathTable::ObserveFailure(size_t path, const SpacePair& pair) {
  const std::lock_guard lock(mutex_);
  Cost& cost = costs_[{path, pair}];
  ++cost.failures;
  ++cost.failures_in_row;
}

std::vector<PathReport> PathTable::Report() const {
  const std::lock_guard lock(mutex_);
  std::vector<PathReport> reports;
  size_t next = 0;  // those before have a line
  const auto add_unused = [&](size_t end) {
    for (; next < end; ++next) reports.push_back({.path = names_[next]});
    ++next;
  };
  for (const auto& [key, cost] : costs_) {
    const auto& [path, pair] = key;
    if (cost.copies == 0 && cost.failures == 0) continue;  // a candidate, never taken
    if (path >= next) add_unused(path);
    for (size_t c = 0; c < kClassEnds.size(); ++c) {
      const SizeClass& size_class = cost.classes[c];
      if (size_class.copies == 0 && !(c == 0 && cost.copies == 0 && cost.failures > 0)) continue;
      PathReport report{.path = names_[path],
                        .source = pair.source,
                        .destination = pair.destination,
                        .bytes_min = c == 0 ? 0 : kClassEnds[c - 1],
                        .bytes_max = kClassEnds[c],
                        .copies = size_class.copies,
                        .failures = cost.failures};
      if (size_class.copies > 0) {
        report.latency_us = LineOf(cost).latency_us;
        report.predicted_us = PredictUs(cost, c, size_class.mean_bytes);
        report.bytes_per_s = size_class.mean_bytes / report.predicted_us * 1e6;
      }
      reports.push_back(std::move(report));
    }
  }
  add_unused(names_.size());
  return reports;
}

}  // namespace baton
