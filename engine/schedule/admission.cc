#include "engine/schedule/admission.h"

#include <algorithm>
#include <cmath>
#include <iterator>

#include "engine/base/strings.h"

namespace baton {
namespace {

// Of the limit, that the middle of the queue has waited for where it is too long: it is not served
// before twice its time at least, and while nothing enters the queue gets shorter.
constexpr TimeUs kMiddleShare = 4;
// A line so short may be of those that have left.
constexpr size_t kLineMin = 64;

const char* Name(WaitsFor what) {
  return what == WaitsFor::kSearch ? "for a search" : "for a first token";
}

}  // namespace

absl::Status Admission::Enter(RequestId id, WaitsFor what, TimeUs wait_us_max, TimeUs now_us) {
  if (what == WaitsFor::kNothing) return absl::OkStatus();
  const std::lock_guard lock(mutex_);
  Queue& queue = queues_[static_cast<size_t>(what)];
  while (!queue.served.empty() && queue.served.front() <= now_us - kWindowUs) {
    queue.served.pop_front();
  }
  if (queue.waiting.empty()) {  // how it was served before says nothing of how full it can be
    queue.busy_since_us = now_us;
    queue.served.clear();
  }
  const size_t waiting = queue.waiting.size();
  if (wait_us_max >= 0 && waiting >= kWaitingMin) {
    const TimeUs window_us = std::clamp(now_us - queue.busy_since_us, kWindowUsMin, kWindowUs);
    const auto served = static_cast<double>(std::max<size_t>(1, queue.served.size()));
    const auto wait_us =
        static_cast<TimeUs>(static_cast<double>(waiting) / served * static_cast<double>(window_us));
    if (wait_us > wait_us_max) {
      const TimeUs middle_us = queue.line[queue.line.size() / 2].at_us;
      if (now_us - middle_us > wait_us_max / kMiddleShare) {
        const TimeUs retry_ms = std::max<TimeUs>(1, (wait_us - wait_us_max + 999) / 1000);
        return absl::ResourceExhaustedError(
            StrCat(waiting, " requests wait ", Name(what), ", for ", wait_us / 1000,
                   " ms at this rate, the limit of this one is ", wait_us_max / 1000,
                   " ms; retry in ", retry_ms, " ms"));
      }
    }
  }
  queue.waiting.emplace(id, queue.first + std::ssize(queue.line));
  queue.line.push_back({.id = id, .at_us = now_us});
  return absl::OkStatus();
}

void Admission::Leave(RequestId id, WaitsFor what, bool served, TimeUs now_us) {
  if (what == WaitsFor::kNothing) return;
  const std::lock_guard lock(mutex_);
  Queue& queue = queues_[static_cast<size_t>(what)];
  const auto found = queue.waiting.find(id);
  if (found == queue.waiting.end()) return;
  queue.line[static_cast<size_t>(found->second - queue.first)].waits = false;
  queue.waiting.erase(found);
  for (; !queue.line.empty() && !queue.line.front().waits; ++queue.first) queue.line.pop_front();
  // Behind one that waits for long.
  if (queue.line.size() > kLineMin + 2 * queue.waiting.size()) {
    std::erase_if(queue.line, [](const Entered& entered) { return !entered.waits; });
    for (size_t i = 0; i < queue.line.size(); ++i) {
      queue.waiting[queue.line[i].id] = queue.first + static_cast<int64_t>(i);
    }
  }
  if (served) queue.served.push_back(now_us);
}

}  // namespace baton
