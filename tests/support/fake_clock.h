#pragma once

#include <atomic>

#include "engine/base/clock.h"

namespace baton {

// A clock that moves only when told to.
class FakeClock final : public Clock {
 public:
  TimeUs NowUs() const override { return now_us_; }
  void AdvanceUs(TimeUs us) { now_us_ += us; }

 private:
  std::atomic<TimeUs> now_us_{1'000'000};
};

}  // namespace baton
