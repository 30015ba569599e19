#include "engine/exec/simulated/fault_script.h"

#include <algorithm>
#include <cmath>

namespace baton {
namespace {

TimeUs DueUs(const FaultStep& step, TimeUs start_us) {
  return start_us + std::llround(*step.at_s * 1e6);
}

}  // namespace

FaultScript::FaultScript(const std::vector<FaultStep>& steps, TimeUs start_us)
    : start_us_(start_us) {
  // Steps of one time stay in their order.
  for (const FaultStep& step : steps) {
    std::vector<FaultStep>& into = step.at_s ? timed_ : counted_;
    const auto earlier = [](const FaultStep& a, const FaultStep& b) {
      return a.at_s ? *a.at_s < *b.at_s : *a.at_batch < *b.at_batch;
    };
    into.insert(std::upper_bound(into.begin(), into.end(), step, earlier), step);
  }
}

bool FaultScript::Advance(TimeUs now_us) {
  const size_t before = next_timed_;
  for (; NextUs() <= now_us; ++next_timed_) {
    Apply(timed_[next_timed_].fault, timed_[next_timed_].factor);
  }
  return next_timed_ != before;
}

bool FaultScript::CountBatch() {
  ++batches_;
  const size_t before = next_counted_;
  for (; next_counted_ < counted_.size() && *counted_[next_counted_].at_batch <= batches_;
       ++next_counted_) {
    Apply(counted_[next_counted_].fault, counted_[next_counted_].factor);
  }
  return next_counted_ != before;
}

void FaultScript::Apply(SimulatedFault fault, double factor) {
  switch (fault) {
    case SimulatedFault::kFail:
      mode_ = Mode::kFailing;
      return;
    case SimulatedFault::kHang:
      mode_ = Mode::kHung;
      return;
    case SimulatedFault::kSlow:
      slow_factor_ = factor;
      return;
    case SimulatedFault::kLose:
      mode_ = Mode::kLost;
      ++losses_;
      return;
    case SimulatedFault::kRecover:
      mode_ = Mode::kWell;
      slow_factor_ = 1;
      return;
  }
}

TimeUs FaultScript::NextUs() const {
  return next_timed_ < timed_.size() ? DueUs(timed_[next_timed_], start_us_) : kNoDeadline;
}

}  // namespace baton
