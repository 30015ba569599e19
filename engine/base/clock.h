#pragma once

#include <cstdint>

namespace baton {

// Microseconds on the monotonic clock. All deadlines and timings inside the engine are in it.
using TimeUs = int64_t;
inline constexpr TimeUs kNoDeadline = INT64_MAX;
inline double Seconds(TimeUs us) { return static_cast<double>(us) * 1e-6; }

// Thread safe.
class Clock {
 public:
  virtual ~Clock() = default;
  virtual TimeUs NowUs() const = 0;
};

// The machine's monotonic clock; lives as long as the process.
const Clock& SystemClock();

}  // namespace baton
