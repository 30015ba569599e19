#include "engine/transfer/device_event.h"

#include <utility>

#include "engine/base/check.h"
#include "engine/base/status_macros.h"
#include "engine/base/strings.h"

namespace baton {

absl::StatusOr<DeviceEvent> DeviceEvent::Post(CopyPath& path, const CopyPath::Job& job,
                                              TimeUs deadline_us) {
  ASSIGN_OR_RETURN(const CopyPath::Ticket ticket, path.Post(job));
  return DeviceEvent(&path, ticket, deadline_us);
}

DeviceEvent::DeviceEvent(DeviceEvent&& other) noexcept
    : path_(std::exchange(other.path_, nullptr)),
      ticket_(other.ticket_),
      deadline_us_(other.deadline_us_) {}

DeviceEvent& DeviceEvent::operator=(DeviceEvent&& other) noexcept {
  if (this == &other) return *this;
  Drop();
  path_ = std::exchange(other.path_, nullptr);
  ticket_ = other.ticket_;
  deadline_us_ = other.deadline_us_;
  return *this;
}

void DeviceEvent::Drop() {
  if (path_ != nullptr) std::exchange(path_, nullptr)->Cancel(ticket_);
}

std::optional<absl::Status> DeviceEvent::Poll(TimeUs now_us) {
  BATON_CHECK(path_ != nullptr);
  const absl::StatusOr<bool> done = path_->Poll(ticket_);
  if (!done.ok() || *done) {
    path_ = nullptr;  // the ticket is gone
    return done.status();
  }
  if (now_us < deadline_us_) return std::nullopt;
  const std::string name = path_->name();
  Drop();
  return absl::DeadlineExceededError(StrCat("a copy by ", name, " has not come by its deadline, ",
                                            now_us - deadline_us_, " us ago"));
}

}  // namespace baton
