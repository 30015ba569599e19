#pragma once

#include <cstdint>

#include "engine/base/clock.h"

namespace baton {

// What each token more makes an executor's steps of decodes take longer, learnt from those that it
// has completed: a line over the tokens that they held. Where memory is the limit it is little, on
// a device that multiplies each token by itself as much as the first. Not thread safe.
class GuessCost {
 public:
  // A step without prompt tokens.
  void Observe(int64_t tokens, TimeUs run_us);

  // As a share of a step of one token. Of steps that all held about as many it cannot be told, and
  // is taken for kUnknown.
  double Share() const;
  static constexpr double kUnknown = 0.1;

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
