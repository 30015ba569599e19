#pragma once

#include <atomic>
#include <mutex>
#include <optional>
#include <shared_mutex>
#include <string>
#include <utility>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/base/log.h"
#include "engine/base/metrics.h"

namespace baton {

// Work on segments that a device may offer to do in the CPU's place. Each piece is counted by who
// does it: device; cpu, where no device offers to; cpu_fallback, where one did and failed, which
// the log tells. Thread safe.
template <class Work>
class DeviceOffer {
 public:
  // `counter`: of one label, {by}. `metrics` outlives it.
  DeviceOffer(Metrics& metrics, MetricId counter)
      : by_device_(metrics.Counter(counter, {"device"})),
        by_cpu_(metrics.Counter(counter, {"cpu"})),
        by_fallback_(metrics.Counter(counter, {"cpu_fallback"})) {}

  // From now on.
  void Offer(Work work) {
    const std::lock_guard lock(mutex_);
    withdrawn_ = false;
    work_.emplace(std::move(work));
  }
  // No longer; blocks until nothing is done there, for what is has been stopped.
  void Withdraw() {
    withdrawn_ = true;
    const std::lock_guard lock(mutex_);
    work_.reset();
  }

  // What `use` makes of the work. Nothing: nobody offers, or it did not succeed; then it is to be
  // done here. `what`: as the log names it.
  template <class Result>
  std::optional<Result> Try(
      const std::string& what, absl::FunctionRef<bool()> stop,
      absl::FunctionRef<absl::StatusOr<Result>(const Work&, absl::FunctionRef<bool()> stop)> use) {
    const std::shared_lock lock(mutex_);
    if (!work_.has_value()) {
      by_cpu_.Increment();
      return std::nullopt;
    }
    absl::StatusOr<Result> made = use(*work_, [&] { return withdrawn_ || stop(); });
    if (made.ok()) {
      by_device_.Increment();
      return *std::move(made);
    }
    by_fallback_.Increment();
    if (!absl::IsCancelled(made.status())) {
      Log().warn("{} is made by the CPU, for the device did not: {}", what,
                 std::string(made.status().message()));
    }
    return std::nullopt;
  }

 private:
  prometheus::Counter& by_device_;
  prometheus::Counter& by_cpu_;
  prometheus::Counter& by_fallback_;
  std::shared_mutex mutex_;   // shared while something is done
  std::optional<Work> work_;  // mutex_
  std::atomic<bool> withdrawn_ = false;
};

}  // namespace baton
