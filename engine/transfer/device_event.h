#pragma once

#include <condition_variable>
#include <mutex>
#include <optional>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/base/clock.h"

namespace baton {

// What one device has done and another, or the host, waits for. Signalled once, with how it went;
// thread safe. A wait ends at its deadline whatever happens, so a device that died strands nobody.
// For threads of plug-ins that wait for another device; none does yet. The engine's loop never
// waits: it polls copy paths, and executors tell its mailbox.
class DeviceEvent {
 public:
  // The first signal counts; a late one, of a device that was given up, changes nothing and is
  // false.
  bool Signal(absl::Status status);
  // How it went; nothing before it is signalled.
  std::optional<absl::Status> Result() const;
  // Sleeps until it is signalled; its status. DEADLINE_EXCEEDED: it was not in time.
  absl::Status Wait(TimeUs deadline_us, const Clock& clock);

 private:
  mutable std::mutex mutex_;
  std::condition_variable signalled_;
  std::optional<absl::Status> result_;
};

// The same of a device that can only be asked: calls `poll` until it says true or an error, with
// growing pauses. DEADLINE_EXCEEDED: it did not in time; it is asked at least once.
absl::Status PollUntil(TimeUs deadline_us, const Clock& clock,
                       absl::FunctionRef<absl::StatusOr<bool>()> poll);

}  // namespace baton
