#include "engine/exec/simulated/simulated_device.h"

#include <algorithm>
#include <cmath>
#include <span>
#include <utility>

#include "engine/base/log.h"
#include "engine/base/strings.h"

namespace baton {

struct SimulatedDevice::Job {
  Skill skill;
  TimeUs arrived_us = 0;
  TimeUs start_us = 0;
  TimeUs due_us = 0;
  Answer answer;
  absl::Status fault;  // what it ends with
  bool due = false;
  bool computed = false;
  bool lost = false;  // ends before its time
};

SimulatedDevice::SimulatedDevice(SimulatedDeviceOptions options, Timeline& timeline)
    : options_(std::move(options)),
      timeline_(timeline),
      clock_(timeline.clock()),
      script_(options_.faults, clock_.NowUs()),
      noise_(options_.noise_sigma, options_.seed) {
  for (auto& lanes : lanes_) lanes.assign(1, 0);
  lanes_[static_cast<size_t>(Skill::kSearch)].assign(static_cast<size_t>(options_.search_lanes), 0);
}

void SimulatedDevice::Start() { OnTime(); }

void SimulatedDevice::WatchScript() {
  const TimeUs next_us = script_.NextUs();
  if (next_us == kNoDeadline) return;
  timeline_.At(next_us, [weak = weak_from_this()] {
    if (const auto self = weak.lock()) self->OnTime();
  });
}

void SimulatedDevice::OnTime() {
  std::unique_lock lock(mutex_);
  if (script_.Advance(clock_.NowUs())) OnModeChanged();
  WatchScript();
  Settle();
  Deliver(lock);
}

void SimulatedDevice::Inject(SimulatedFault fault, double factor) {
  std::unique_lock lock(mutex_);
  script_.Apply(fault, factor);
  OnModeChanged();
  Settle();
  Deliver(lock);
}

void SimulatedDevice::OnModeChanged() {
  constexpr const char* kModes[] = {"well", "failing", "hung", "lost"};
  Log().warn("simulated device {}: {}, {} times as slow", options_.name,
             kModes[static_cast<size_t>(script_.mode())], script_.slow_factor());
  if (script_.losses() == losses_) return;
  losses_ = script_.losses();
  written_.clear();
  for (const JobPtr& job : jobs_) {
    job->lost = true;
    job->fault = absl::UnavailableError(StrCat("simulated device ", options_.name, " was lost"));
  }
}

absl::StatusOr<SimulatedDevice::JobPtr> SimulatedDevice::Begin(Skill skill, double run_us,
                                                               Answer answer) {
  auto job = std::make_shared<Job>();
  absl::Status refused;
  TimeUs due_us = 0;
  {
    std::unique_lock lock(mutex_);
    const TimeUs now_us = clock_.NowUs();
    bool changed = script_.Advance(now_us);
    changed = script_.CountBatch() || changed;
    if (changed) OnModeChanged();
    Settle();
    int64_t& queued = queued_[static_cast<size_t>(skill)];
    if (shut_down_) {
      refused = absl::CancelledError(StrCat("simulated device ", options_.name, " shuts down"));
    } else if (script_.mode() == FaultScript::Mode::kLost) {
      refused = absl::UnavailableError(StrCat("simulated device ", options_.name, " is lost"));
    } else if (queued >= options_.queue_batches) {
      refused = absl::ResourceExhaustedError(StrCat("the queue of simulated device ", options_.name,
                                                    " is full: ", queued, " batches"));
    } else {
      ++queued;
      auto& lanes = lanes_[options_.exclusive ? 0 : static_cast<size_t>(skill)];
      const auto lane = std::min_element(lanes.begin(), lanes.end());
      job->skill = skill;
      job->arrived_us = now_us;
      job->start_us = std::max(now_us, *lane);
      job->answer = std::move(answer);
      due_us = job->start_us + std::llround(run_us * noise_.NextFactor() * script_.slow_factor());
      *lane = due_us;
      job->due_us = due_us;
      if (script_.mode() == FaultScript::Mode::kFailing) {
        job->fault = absl::InternalError(StrCat("simulated failure of device ", options_.name));
      }
      jobs_.push_back(job);
    }
    Deliver(lock);
  }
  if (!refused.ok()) return refused;
  timeline_.At(due_us, [self = shared_from_this(), job] { self->OnDue(job); });
  return job;
}

void SimulatedDevice::TellLayers(const JobPtr& job, int32_t layers,
                                 std::function<void(int32_t)> tell) {
  const TimeUs run_us = job->due_us - job->start_us;
  for (int32_t done = 1; done <= layers; ++done) {
    timeline_.At(job->start_us + run_us * done / layers,
                 [self = shared_from_this(), job, done, tell] {
                   {
                     const std::lock_guard lock(self->mutex_);
                     if (job->lost || self->script_.mode() == FaultScript::Mode::kHung) return;
                   }
                   tell(done);
                 });
  }
}

void SimulatedDevice::OnDue(const JobPtr& job) {
  std::unique_lock lock(mutex_);
  job->due = true;
  Settle();
  Deliver(lock);
}

void SimulatedDevice::Computed(const JobPtr& job) { Spoil(job, absl::OkStatus()); }

void SimulatedDevice::Spoil(const JobPtr& job, absl::Status fault) {
  std::unique_lock lock(mutex_);
  job->computed = true;
  job->fault.Update(std::move(fault));
  Settle();
  Deliver(lock);
}

void SimulatedDevice::Shutdown() {
  std::unique_lock lock(mutex_);
  shut_down_ = true;
  for (const JobPtr& job : jobs_) {
    job->lost = true;
    job->fault = absl::CancelledError(StrCat("simulated device ", options_.name, " shuts down"));
  }
  Settle();
  Deliver(lock);
  answered_.wait(lock, [this] { return jobs_.empty() && answers_.empty() && !answering_; });
}

void SimulatedDevice::Deliver(std::unique_lock<std::mutex>& lock) {
  if (answering_) return;
  answering_ = true;
  while (!answers_.empty()) {
    absl::AnyInvocable<void()> answer = std::move(answers_.front());
    answers_.pop_front();
    lock.unlock();
    answer();
    answer = nullptr;
    lock.lock();
  }
  answering_ = false;
  answered_.notify_all();
}

void SimulatedDevice::Settle() {
  const FaultScript::Mode mode = script_.mode();
  std::erase_if(jobs_, [&](const JobPtr& job) {
    const bool on_time = job->due && mode != FaultScript::Mode::kHung;
    if (!job->computed || !(job->lost || on_time)) return false;
    absl::Status status = std::move(job->fault);
    if (mode == FaultScript::Mode::kFailing && status.ok()) {
      status = absl::InternalError(StrCat("simulated failure of device ", options_.name));
    }
    const TimeUs now_us = clock_.NowUs();
    const TimeUs start_us = std::min(job->start_us, now_us);
    const BatchTimes times{.queue_us = start_us - job->arrived_us, .run_us = now_us - start_us};
    --queued_[static_cast<size_t>(job->skill)];
    answers_.emplace_back([answer = std::move(job->answer), status = std::move(status),
                           times]() mutable { answer(std::move(status), times); });
    return true;
  });
}

FaultScript::Mode SimulatedDevice::mode() const {
  const std::lock_guard lock(mutex_);
  return script_.mode();
}

ExecutorSample SimulatedDevice::Sample() const {
  const std::lock_guard lock(mutex_);
  const TimeUs now_us = clock_.NowUs();
  double busy = 0;
  double all = 0;
  for (const auto& lanes : lanes_) {
    busy += static_cast<double>(std::count_if(lanes.begin(), lanes.end(),
                                              [=](TimeUs free_us) { return free_us > now_us; }));
    all += static_cast<double>(lanes.size());
    if (options_.exclusive) break;  // the first is everybody's
  }
  ExecutorSample sample{.healthy = script_.mode() != FaultScript::Mode::kLost,
                        .queue_depth = static_cast<int32_t>(jobs_.size()),
                        .memory_bytes_used = memory_bytes_,
                        .load = busy / all};
  if (options_.power_max_w > 0) {
    sample.power_w =
        options_.power_idle_w + (options_.power_max_w - options_.power_idle_w) * sample.load;
  }
  return sample;
}

void SimulatedDevice::Write(std::span<const std::byte* const> blocks) {
  const std::lock_guard lock(mutex_);
  written_.insert(blocks.begin(), blocks.end());
}

absl::Status SimulatedDevice::CheckWritten(std::span<const std::byte* const> blocks) const {
  const std::lock_guard lock(mutex_);
  for (const std::byte* block : blocks) {
    if (written_.contains(block)) continue;
    return absl::DataLossError(
        StrCat("simulated device ", options_.name, " has lost a block that it is to read"));
  }
  return absl::OkStatus();
}

absl::Status SimulatedDevice::Reserve(int64_t bytes) {
  const std::lock_guard lock(mutex_);
  if (options_.memory_bytes > 0 && memory_bytes_ + bytes > options_.memory_bytes) {
    return absl::ResourceExhaustedError(StrCat(
        "simulated device ", options_.name, " has ", options_.memory_bytes,
        " bytes of memory, of which ", memory_bytes_, " are taken: ", bytes, " more do not fit"));
  }
  memory_bytes_ += bytes;
  return absl::OkStatus();
}

void SimulatedDevice::Unreserve(int64_t bytes) {
  const std::lock_guard lock(mutex_);
  memory_bytes_ -= bytes;
}

}  // namespace baton
