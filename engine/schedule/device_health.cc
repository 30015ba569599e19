#include "engine/schedule/device_health.h"

#include <algorithm>
#include <utility>

#include "engine/base/strings.h"

namespace baton {
namespace {

constexpr TimeUs kUsPerMs = 1000;
// Times what is expected: queues, neighbours and bad predictions are no stall.
constexpr TimeUs kPatience = 20;

}  // namespace

void DeviceHealth::Tell(std::string_view kind, std::string text) {
  events_.push_back({.kind = kind, .text = std::move(text)});
}

std::vector<HealthEvent> DeviceHealth::TakeEvents() { return std::exchange(events_, {}); }

void DeviceHealth::Begin(TimeUs expected_us, TimeUs now_us) {
  if (breaker_ == Breaker::kOpen && now_us >= retry_at_us_) Probe(now_us);
  if (expected_us < 0) return;
  if (in_flight_ == 0) {
    progress_us_ = now_us;
    patience_us_ = 0;
  }
  ++in_flight_;
  patience_us_ = std::max(patience_us_, kPatience * expected_us);
}

void DeviceHealth::End(bool ok, TimeUs now_us) {
  in_flight_ = std::max<int64_t>(0, in_flight_ - 1);
  progress_us_ = now_us;
  if (std::exchange(suspected_, false)) Tell("moving", "it completes work again");
  if (stalled_ && !fences_) {
    stalled_ = false;
    Tell("moving", "it completes work again");
  }
  Forget(now_us);
  if (outcomes_.size() >= kOutcomesMax) {
    failures_ -= outcomes_.front().ok ? 0 : 1;
    outcomes_.pop_front();
  }
  outcomes_.push_back({.at_us = now_us, .ok = ok});
  failures_ += ok ? 0 : 1;
  switch (breaker_) {
    case Breaker::kClosed: {
      const auto batches = std::ssize(outcomes_);
      const double percent = 100.0 * static_cast<double>(failures_) / static_cast<double>(batches);
      if (batches >= options_.error_batches_min && percent > options_.error_percent_max) {
        Tell("open", StrCat(failures_, " of its last ", batches, " batches failed, more than ",
                            options_.error_percent_max, " %"));
        Open(now_us);
      }
      break;
    }
    case Breaker::kOpen:  // began before it opened
      break;
    case Breaker::kProbing:
      if (!ok) {
        Tell("open", "it failed at a batch that was to show that it is well");
        Open(now_us);
      } else if (++probes_ok_ >= options_.probe_batches) {
        breaker_ = Breaker::kClosed;
        pause_us_ = 0;
        Tell("closed", StrCat("it completed ", probes_ok_, " batches in a row"));
      }
      break;
  }
  UpdateShare();
}

void DeviceHealth::EndLate(TimeUs now_us) {
  if (!stalled_) return;
  stalled_ = false;
  Tell("moving", "work that it was fenced for has come back, and is dropped");
  Probe(now_us);
}

void DeviceHealth::Open(TimeUs now_us) {
  breaker_ = Breaker::kOpen;
  pause_us_ = std::clamp(2 * pause_us_, options_.probe_ms * kUsPerMs,
                         std::max(options_.probe_ms, options_.probe_ms_max) * kUsPerMs);
  retry_at_us_ = now_us + pause_us_;
}

void DeviceHealth::Probe(TimeUs now_us) {
  breaker_ = Breaker::kProbing;
  probes_ok_ = 0;
  progress_us_ = now_us;
  outcomes_.clear();  // what it did before is why it is probed; it would be spared the probes
  failures_ = 0;
  Tell("probing", "it gets one batch at a time");
}

void DeviceHealth::Forget(TimeUs now_us) {
  const TimeUs oldest_us = now_us - options_.error_window_ms * kUsPerMs;
  while (!outcomes_.empty() && outcomes_.front().at_us < oldest_us) {
    failures_ -= outcomes_.front().ok ? 0 : 1;
    outcomes_.pop_front();
  }
}

void DeviceHealth::Look(const DeviceVitals& vitals, TimeUs now_us) {
  healthy_ = vitals.healthy;
  if (vitals.temperature_c) {
    const double celsius = *vitals.temperature_c;
    if (!hot_ && celsius > options_.temperature_c_max) {
      hot_ = true;
      Tell("hot", StrCat("it has ", celsius, " C, more than ", options_.temperature_c_max,
                         ": its work is halved"));
    } else if (hot_ && celsius <= options_.temperature_c_cool) {
      hot_ = false;
      Tell("cool", StrCat("it has ", celsius, " C, at most ", options_.temperature_c_cool));
    }
  }
  if (vitals.memory_percent) {
    const double percent = *vitals.memory_percent;
    if (!full_ && percent > options_.memory_percent_max) {
      full_ = true;
      Tell("memory_full", StrCat(percent, " % of its memory are used, more than ",
                                 options_.memory_percent_max, " %: it gets no new work"));
    } else if (full_ && percent <= options_.memory_percent_free) {
      full_ = false;
      Tell("memory_free", StrCat(percent, " % of its memory are used, at most ",
                                 options_.memory_percent_free, " %"));
    }
  }
  Forget(now_us);
  UpdateShare();
}

void DeviceHealth::Pardon(TimeUs absent_us, TimeUs now_us) {
  progress_us_ = std::min(now_us, progress_us_ + absent_us);
}

bool DeviceHealth::Tick(TimeUs now_us) {
  if (breaker_ == Breaker::kOpen && now_us >= retry_at_us_) Probe(now_us);
  if (stalled_ || in_flight_ == 0) return false;
  const TimeUs silent_us = now_us - progress_us_;
  const TimeUs limit_us = std::max(options_.stall_ms * kUsPerMs, patience_us_);
  if (options_.stall_ms == 0 || silent_us < limit_us) {
    const TimeUs suspect_us = std::max(options_.suspect_ms * kUsPerMs, patience_us_);
    if (fences_ && !suspected_ && options_.suspect_ms > 0 && silent_us >= suspect_us) {
      suspected_ = suspicion_new_ = true;
      Tell("suspected", StrCat(in_flight_, " batches are in flight, and none completed for ",
                               silent_us / kUsPerMs, " ms: new work goes elsewhere"));
    }
    return false;
  }
  stalled_ = true;
  suspected_ = suspicion_new_ = false;
  Tell("stalled",
       StrCat(in_flight_, " batches are in flight, and none completed for ",
              (now_us - progress_us_) / kUsPerMs, " ms", fences_ ? ": it is fenced" : ""));
  if (!fences_) return false;
  ++generation_;
  in_flight_ = 0;
  return true;
}

std::string DeviceHealth::Refusal(TimeUs now_us) const {
  if (!healthy_) return "it is not healthy";
  if (stalled_ && fences_) return "it completes nothing and is fenced";
  if (full_) {
    return StrCat("more than ", options_.memory_percent_max, " % of its memory are used");
  }
  if (breaker_ == Breaker::kOpen && now_us < retry_at_us_) {
    return StrCat("too many of its batches failed; it is tried again in ",
                  (retry_at_us_ - now_us + kUsPerMs - 1) / kUsPerMs, " ms");
  }
  if (breaker_ == Breaker::kProbing && in_flight_ > 0) {
    return "it is being probed, one batch at a time";
  }
  return "";
}

double DeviceHealth::capacity() const {
  double capacity = hot_ ? 0.5 : 1;
  // Fewer would let a single failure look like a broken device.
  if (std::ssize(outcomes_) >= options_.error_batches_min) {
    capacity *= 1 - static_cast<double>(failures_) / static_cast<double>(outcomes_.size());
  }
  return capacity;
}

bool DeviceHealth::Spare() {
  spare_ += 1 - capacity();
  if (spare_ < 1 - 1e-9) return false;
  spare_ -= 1;
  return true;
}

void DeviceHealth::UpdateShare() {
  const double percent = 100 * capacity();
  if (!cpu_share_ && percent < options_.cpu_share_capacity_percent) {
    cpu_share_ = true;
    Tell("cpu_share_raised", StrCat("it has ", percent, " % of its capacity, less than ",
                                    options_.cpu_share_capacity_percent, " %"));
  } else if (cpu_share_ && percent >= options_.cpu_share_capacity_percent_off) {
    cpu_share_ = false;
    Tell("cpu_share_lowered", StrCat("it has ", percent, " % of its capacity, at least ",
                                     options_.cpu_share_capacity_percent_off, " %"));
  }
}

std::string_view DeviceHealth::StateName() const {
  if (stalled_) return "stalled";
  if (suspected_) return "suspected";
  switch (breaker_) {
    case Breaker::kOpen:
      return "open";
    case Breaker::kProbing:
      return "probing";
    case Breaker::kClosed:
      break;
  }
  return "closed";
}

}  // namespace baton
