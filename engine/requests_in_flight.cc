#include "engine/requests_in_flight.h"

#include "absl/status/status.h"
#include "engine/base/strings.h"

namespace baton {

RequestsInFlight::Slot& RequestsInFlight::Slot::operator=(Slot&& other) noexcept {
  if (this == &other) return *this;
  Release();
  of_ = std::move(other.of_);
  id_ = other.id_;
  what_ = other.what_;
  served_ = other.served_;
  return *this;
}

void RequestsInFlight::Slot::Served() {
  if (of_ != nullptr) of_->admission_.Leave(id_, what_, /*served=*/true, of_->clock_.NowUs());
}

void RequestsInFlight::Slot::Release() {
  if (of_ == nullptr) return;
  of_->admission_.Leave(id_, what_, served_, of_->clock_.NowUs());
  of_->gauge_.Set(static_cast<double>(--of_->count_));
  of_ = nullptr;
}

RequestsInFlight::RequestsInFlight(int64_t requests_max, const Clock& clock, Metrics& metrics)
    : requests_max_(requests_max),
      clock_(clock),
      metrics_(metrics),
      gauge_(metrics.Gauge(MetricId::kRequestsInFlight)) {}

absl::StatusOr<RequestsInFlight::Slot> RequestsInFlight::Enter(RequestId id, WaitsFor what,
                                                               TimeUs wait_us_max, TimeUs now_us) {
  const int64_t before = count_++;
  absl::Status status;
  const char* refused_by = "requests";
  if (before >= requests_max_) {
    status = absl::ResourceExhaustedError(StrCat("queues.requests_in_flight_max: ", requests_max_,
                                                 " requests are in flight; retry in 100 ms"));
  } else {
    refused_by = "admission";
    status = admission_.Enter(id, what, wait_us_max, now_us);
  }
  if (!status.ok()) {
    --count_;
    metrics_.Counter(MetricId::kQueueRefused, {refused_by}).Increment();
    return status;
  }
  gauge_.Set(static_cast<double>(before + 1));
  Slot slot;
  slot.of_ = shared_from_this();
  slot.id_ = id;
  slot.what_ = what;
  return slot;
}

}  // namespace baton
