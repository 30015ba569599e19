#include "engine/base/clock.h"

#include <chrono>

namespace baton {
namespace {

class MonotonicClock final : public Clock {
 public:
  TimeUs NowUs() const override {
    return std::chrono::duration_cast<std::chrono::microseconds>(
               std::chrono::steady_clock::now().time_since_epoch())
        .count();
  }
};

}  // namespace

const Clock& SystemClock() {
  static const MonotonicClock clock;
  return clock;
}

}  // namespace baton
