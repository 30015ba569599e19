#pragma once

#include <cstdint>

#include "engine/base/clock.h"

namespace baton {

// What each token more makes an executor's steps of decodes take longer, learnt from those that it
// has completed: a line over the tokens that they held. Not thread safe.
class GuessCost {
 public:
  // A step without prompt tokens.
  void Observe(int64_t tokens, TimeUs run_us);

  // As a share of a step of one token, kMost at most: what few small steps on a busy machine seem
  // to cost is no reason not to guess at all. Of steps that all held about as many tokens it cannot
  // be told, and is taken for kUnknown.
  double Share() const;
  static constexpr double kUnknown = 0.1;
  static constexpr double kMost = 0.25;

 private:
  double LineUs(double tokens) const;
  double Variance() const { return square_ - tokens_ * tokens_; }
  double Slope() const;

  // Moving means over the steps.
  int64_t steps_ = 0;
  double tokens_ = 0;
  double us_ = 0;
  double square_ = 0;   // of the tokens
  double product_ = 0;  // of tokens and time
};

}  // namespace baton
