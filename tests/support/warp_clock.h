#pragma once

#include <atomic>

#include "engine/base/clock.h"

namespace baton {

// The machine's clock, which jumps over what nobody need wait for: what is measured on it is the
// time that was simulated and the time that was really worked.
class WarpClock final : public Clock {
 public:
  TimeUs NowUs() const override { return SystemClock().NowUs() + skipped_us_; }
  // Jumps to a moment that has not come yet.
  void WarpTo(TimeUs at_us) {
    const TimeUs left_us = at_us - NowUs();
    if (left_us > 0) skipped_us_ += left_us;
  }

 private:
  std::atomic<TimeUs> skipped_us_{0};
};

}  // namespace baton
