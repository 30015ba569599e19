#include "fpga_kernels/hls/dataflow.h"

#include <algorithm>
#include <utility>

namespace baton::fpga {
namespace {

struct ThreadPlace {
  std::shared_ptr<ProcessMonitor> monitor;  // null: in no process
  const char* process = "the caller";
};
thread_local ThreadPlace thread_place;
thread_local std::string thread_failure;

}  // namespace

std::string TakeDataflowFailure() { return std::exchange(thread_failure, std::string()); }

std::string ProcessMonitor::failure() const {
  const std::lock_guard lock(mutex_);
  return failure_;
}

void ProcessMonitor::CheckProgress() {
  if (failed_ || waits_.empty() || static_cast<int>(waits_.size()) < running_) return;
  Fail("deadlock");
}

std::string ProcessMonitor::Describe(const Wait& wait) {
  return std::string(wait.process) + (wait.reads ? " reads" : " writes") + " stream " +
         wait.channel->name_ + (wait.reads ? ", empty" : ", full") + " at depth " +
         std::to_string(wait.channel->depth_);
}

void ProcessMonitor::Fail(const std::string& why) {
  failure_ = why;
  for (const Wait& wait : waits_) failure_ += "; " + Describe(wait);
  failed_ = true;
  for (const Wait& wait : waits_) {
    wait.channel->reader_waits_ = false;
    wait.channel->writer_waits_ = false;
    wait.channel->awake_.notify_all();
  }
  waits_.clear();
}

bool Channel::Wait(bool reads) {
  ProcessMonitor* const monitor = thread_place.monitor.get();
  if (monitor == nullptr) {  // no other thread
    if (thread_failure.empty()) {
      thread_failure = std::string("deadlock; the caller ") + (reads ? "reads" : "writes") +
                       " stream " + name_ + (reads ? ", empty" : ", full") + " at depth " +
                       std::to_string(depth_);
    }
    return false;
  }
  std::unique_lock lock(monitor->mutex_);
  std::atomic<bool>& waits = reads ? reader_waits_ : writer_waits_;
  while (!monitor->failed_) {
    if (monitor_ != monitor) monitor_ = monitor;  // or Wake's read would race with it
    waits = true;
    if (reads ? !empty() : !full()) {
      waits = false;
      return true;
    }
    monitor->waits_.push_back({thread_place.process, this, reads});
    monitor->CheckProgress();
    awake_.wait(lock, [&] { return !waits.load(); });
  }
  return reads ? !empty() : !full();
}

// The side that waits runs again from here on, though its thread may take a while to.
void Channel::Wake() {
  // Whoever waits set monitor_ before the flag that brought us here.
  ProcessMonitor* const monitor = monitor_;
  const std::lock_guard lock(monitor->mutex_);
  auto& waits = monitor->waits_;
  waits.erase(std::remove_if(waits.begin(), waits.end(),
                             [this](const auto& wait) { return wait.channel == this; }),
              waits.end());
  reader_waits_ = false;
  writer_waits_ = false;
  awake_.notify_all();
}

Dataflow::Dataflow()
    : monitor_(thread_place.monitor != nullptr ? thread_place.monitor
                                               : std::make_shared<ProcessMonitor>()),
      nested_(thread_place.monitor != nullptr) {
  // Until all are started the region counts as a process that runs.
  if (nested_) return;
  const std::lock_guard lock(monitor_->mutex_);
  ++monitor_->running_;
}

void Dataflow::Start(const char* name, std::function<void()> process) {
  {
    const std::lock_guard lock(monitor_->mutex_);
    ++monitor_->running_;
    ++live_;
  }
  threads_.emplace_back([this, name, process = std::move(process)] {
    thread_place = {monitor_, name};
    process();
    const std::lock_guard lock(monitor_->mutex_);
    --live_;
    // The last one of a nested region hands its place to the process that waits for it.
    if (live_ > 0 || !joined_ || !nested_) --monitor_->running_;
    monitor_->CheckProgress();
  });
}

void Dataflow::Join() {
  if (joined_) return;
  {
    const std::lock_guard lock(monitor_->mutex_);
    joined_ = true;
    if (live_ > 0 || !nested_) --monitor_->running_;
    monitor_->CheckProgress();
  }
  for (std::thread& thread : threads_) thread.join();
  if (!nested_) thread_failure = monitor_->failure();
}

UnitSpace::UnitSpace() : monitor_(std::make_shared<ProcessMonitor>()) {
  monitor_->running_ = 1;  // never waits: with it there is no deadlock
}

void UnitSpace::Run(const char* name, const std::function<void()>& unit) {
  {
    const std::lock_guard lock(monitor_->mutex_);
    ++monitor_->running_;
  }
  const ThreadPlace before = std::exchange(thread_place, {monitor_, name});
  unit();
  thread_place = before;
  const std::lock_guard lock(monitor_->mutex_);
  --monitor_->running_;
}

void UnitSpace::Stop() {
  const std::lock_guard lock(monitor_->mutex_);
  if (!monitor_->failed_) monitor_->Fail("stopped");
}

std::vector<std::string> UnitSpace::Waits() const {
  const std::lock_guard lock(monitor_->mutex_);
  std::vector<std::string> waits;
  for (const auto& wait : monitor_->waits_) waits.push_back(ProcessMonitor::Describe(wait));
  return waits;
}

}  // namespace baton::fpga
