#include "engine/transfer/device_event.h"

#include <algorithm>
#include <chrono>
#include <thread>
#include <utility>

#include "engine/base/status_macros.h"
#include "engine/base/strings.h"

namespace baton {
namespace {

// The longest sleep before the clock is looked at again, which need not be the machine's.
constexpr TimeUs kSleepUsMax = 10'000;
// Pauses between two questions: a short copy is seen soon, a long one costs no core.
constexpr TimeUs kPollPauseUsMin = 2;
constexpr TimeUs kPollPauseUsMax = 200;

absl::Status NotInTime(TimeUs late_us) {
  return absl::DeadlineExceededError(
      StrCat("a device's event has not come by its deadline, ", late_us, " us ago"));
}

}  // namespace

bool DeviceEvent::Signal(absl::Status status) {
  {
    const std::lock_guard lock(mutex_);
    if (result_) return false;
    result_ = std::move(status);
  }
  signalled_.notify_all();
  return true;
}

std::optional<absl::Status> DeviceEvent::Result() const {
  const std::lock_guard lock(mutex_);
  return result_;
}

absl::Status DeviceEvent::Wait(TimeUs deadline_us, const Clock& clock) {
  std::unique_lock lock(mutex_);
  while (!result_) {
    const TimeUs left_us = deadline_us - clock.NowUs();
    if (left_us <= 0) return NotInTime(-left_us);
    signalled_.wait_for(lock, std::chrono::microseconds(std::min(left_us, kSleepUsMax)));
  }
  return *result_;
}

absl::Status PollUntil(TimeUs deadline_us, const Clock& clock,
                       absl::FunctionRef<absl::StatusOr<bool>()> poll) {
  for (TimeUs pause_us = kPollPauseUsMin;; pause_us = std::min(2 * pause_us, kPollPauseUsMax)) {
    ASSIGN_OR_RETURN(const bool done, poll());
    if (done) return absl::OkStatus();
    const TimeUs left_us = deadline_us - clock.NowUs();
    if (left_us <= 0) return NotInTime(-left_us);
    std::this_thread::sleep_for(std::chrono::microseconds(std::min(left_us, pause_us)));
  }
}

}  // namespace baton
