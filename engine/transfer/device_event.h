#pragma once

#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/base/clock.h"
#include "engine/transfer/copy_path.h"

namespace baton {

// What one device does and what another goes on from: a copy under way. It comes, fails, or is
// given up at its deadline, so that nobody asks for ever, whatever becomes of the device. Polled by
// the thread that owns the path; who drops one that has not come ends the copy.
class DeviceEvent {
 public:
  // The path's error where it does not take the job; the path outlives the event.
  static absl::StatusOr<DeviceEvent> Post(CopyPath& path, const CopyPath::Job& job,
                                          TimeUs deadline_us);
  DeviceEvent(DeviceEvent&& other) noexcept;
  DeviceEvent& operator=(DeviceEvent&& other) noexcept;
  ~DeviceEvent() { Drop(); }

  // Nothing: not yet. OK: it has come. The copy's error, or DEADLINE_EXCEEDED. To be asked no more
  // once it has said something.
  std::optional<absl::Status> Poll(TimeUs now_us);

 private:
  DeviceEvent(CopyPath* path, CopyPath::Ticket ticket, TimeUs deadline_us)
      : path_(path), ticket_(ticket), deadline_us_(deadline_us) {}
  void Drop();

  CopyPath* path_ = nullptr;  // null: nothing is under way
  CopyPath::Ticket ticket_ = 0;
  TimeUs deadline_us_ = 0;
};

}  // namespace baton
