#pragma once

#include <array>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <span>
#include <unordered_set>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/exec/executor.h"
#include "engine/exec/simulated/fault_script.h"
#include "engine/exec/simulated/latency_curve.h"
#include "engine/exec/simulated/simulation_options.h"
#include "engine/exec/simulated/timeline.h"

namespace baton {

// The time, memory and health of a device that is not there. Results come from elsewhere
// (Computed); it decides when they are handed out, and whether. Held by shared_ptr: what the
// timeline still has of it keeps it. Thread safe; answers are called without its lock.
class SimulatedDevice : public std::enable_shared_from_this<SimulatedDevice> {
 public:
  enum class Skill : uint8_t { kLlm, kSearch, kEmbed, kCluster };
  static constexpr int kSkillCount = 4;
  // Called once: OK, where the computed result is to be handed out; else what to say instead.
  using Answer = absl::AnyInvocable<void(absl::Status, BatchTimes)>;
  struct Job;
  using JobPtr = std::shared_ptr<Job>;

  // The timeline outlives all calls but Computed, Spoil and Sample; its clock outlives all.
  SimulatedDevice(SimulatedDeviceOptions options, Timeline& timeline);
  // Starts the script. Once, after construction.
  void Start();

  // Takes in a batch that takes `run_us` before noise. RESOURCE_EXHAUSTED: the skill's queue is
  // full. UNAVAILABLE: the device is lost. `answer` is then not called.
  absl::StatusOr<JobPtr> Begin(Skill skill, double run_us, Answer answer);
  // Calls `tell` with each count of layers that the job has done by its curve, as its time passes
  // and unless the device hangs or is lost. On the timeline's thread.
  void TellLayers(const JobPtr& job, int32_t layers, std::function<void(int32_t)> tell);
  // Its result is there. Until then it is not answered, whatever happens: what computes it may
  // still write.
  void Computed(const JobPtr& job);
  // Its result cannot be had: it ends with this at its time. Counts as computed.
  void Spoil(const JobPtr& job, absl::Status fault);
  // Answers all that is left with CANCELLED; blocks until what is being computed is there.
  void Shutdown();

  void Inject(SimulatedFault fault, double factor);
  FaultScript::Mode mode() const;
  ExecutorSample Sample() const;

  // ---- Its memory, in blocks

  // What a block holds is known from now on.
  void Write(std::span<const std::byte* const> blocks);
  // DATA_LOSS: a block was not written since the device lost its memory.
  absl::Status CheckWritten(std::span<const std::byte* const> blocks) const;
  // RESOURCE_EXHAUSTED: more than there is.
  absl::Status Reserve(int64_t bytes);
  void Unreserve(int64_t bytes);

  const SimulatedDeviceOptions& options() const { return options_; }

 private:
  void OnTime();
  void WatchScript();
  void OnDue(const JobPtr& job);
  void OnModeChanged();
  // Takes out what may be answered now, in order. Under the lock.
  void Settle();
  // Calls the answers taken out, in order, one thread at a time: what another one is at, it does.
  // Unlocks meanwhile.
  void Deliver(std::unique_lock<std::mutex>& lock);

  const SimulatedDeviceOptions options_;
  Timeline& timeline_;
  const Clock& clock_;
  mutable std::mutex mutex_;
  std::condition_variable answered_;
  FaultScript script_;
  LatencyNoise noise_;
  std::array<std::vector<TimeUs>, kSkillCount> lanes_;  // when each is free
  std::array<int64_t, kSkillCount> queued_ = {};
  std::list<JobPtr> jobs_;                          // by arrival
  std::deque<absl::AnyInvocable<void()>> answers_;  // taken out and not yet called
  bool answering_ = false;
  int32_t losses_ = 0;
  bool shut_down_ = false;
  int64_t memory_bytes_ = 0;
  std::unordered_set<const std::byte*> written_;
};

}  // namespace baton
