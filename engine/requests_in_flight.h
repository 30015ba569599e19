#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <utility>

#include "absl/status/statusor.h"
#include "engine/base/clock.h"
#include "engine/base/ids.h"
#include "engine/base/metrics.h"
#include "engine/schedule/admission.h"

namespace baton {

// The requests in flight: from when they are taken until their answer is out. At most so many, and
// of those that wait for the same only as many as are served in time (Admission). Thread safe.
class RequestsInFlight : public std::enable_shared_from_this<RequestsInFlight> {
 public:
  // A request's place, given back when this ends. It keeps what it needs of the engine alive: an
  // answer may be on its way longer than that lives. Movable; one thread at a time.
  class Slot {
   public:
    Slot() = default;
    Slot(Slot&& other) noexcept { *this = std::move(other); }
    Slot& operator=(Slot&& other) noexcept;
    ~Slot() { Release(); }

    // What it waits for is there, though not all of its answer: others may queue up for that.
    void Served();
    // Ending it says that what it waited for was there.
    void set_served(bool served) { served_ = served; }

   private:
    friend class RequestsInFlight;
    void Release();

    std::shared_ptr<RequestsInFlight> of_;
    RequestId id_;
    WaitsFor what_ = WaitsFor::kNothing;
    bool served_ = false;
  };

  // `clock` and `metrics` outlive every slot.
  RequestsInFlight(int64_t requests_max, const Clock& clock, Metrics& metrics);

  // RESOURCE_EXHAUSTED, with when to come again: there are as many as may be, or it would wait for
  // longer than wait_us_max (< 0: any time will do).
  absl::StatusOr<Slot> Enter(RequestId id, WaitsFor what, TimeUs wait_us_max, TimeUs now_us);
  int64_t count() const { return count_; }

 private:
  const int64_t requests_max_;
  const Clock& clock_;
  Metrics& metrics_;
  prometheus::Gauge& gauge_;
  std::atomic<int64_t> count_{0};
  Admission admission_;
};

}  // namespace baton
