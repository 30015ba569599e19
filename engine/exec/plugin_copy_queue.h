#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "engine/exec/executor_abi.h"
#include "engine/exec/plugin_fault.h"

namespace baton::plugin {

// For plug-ins: copies of KV blocks between the host's memory and a device's, one after another on
// a thread of its own; how they get there is the device's. Post, Poll and Cancel come from one
// thread and do not wait for a copy, but Cancel for the piece under way.
class CopyQueue {
 public:
  struct Job {
    bool to_device = false;
    std::vector<const std::byte*> sources;
    std::vector<std::byte*> destinations;
    int64_t block_bytes = 0;
    // From the device, of a device that packs; but for its pointers.
    std::optional<baton_kv_packing> packing = std::nullopt;
  };
  struct Device {
    const char* label = "";  // "GPU", as messages name it
    // Null or why a block is none of the device's; on the caller's thread.
    std::function<Fault(const void* on_device, int64_t bytes)> check;
    // Carries a job out, on the queue's thread; asks often whether to leave off.
    std::function<Fault(const Job& job, const std::function<bool()>& cancelled)> carry;
  };

  explicit CopyQueue(Device device);
  ~CopyQueue();  // drops what waits
  CopyQueue(const CopyQueue&) = delete;
  CopyQueue& operator=(const CopyQueue&) = delete;

  // RESOURCE_EXHAUSTED: too many wait. INVALID_ARGUMENT: a block that is not of the device's KV
  // memory, or a direction that is none.
  Fault Post(const baton_copy& copy, uint64_t* ticket);
  // Whose layouts the device has agreed to. As Post.
  Fault PostPacked(const baton_kv_packing& packing, uint64_t* ticket);
  Fault Poll(uint64_t ticket, bool* done, uint64_t* copy_us);
  void Cancel(uint64_t ticket);

 private:
  struct Copy {
    Job job;
    enum class Phase : uint8_t { kWaits, kRuns, kEnded } phase = Phase::kWaits;  // mutex_
    bool cancelled = false;                                                      // mutex_
    Fault fault;
    uint64_t copy_us = 0;
  };
  Fault Add(Job job, uint64_t* ticket);
  void Run();
  bool Cancelled(const Copy& copy);

  const Device device_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool stopping_ = false;                             // mutex_
  std::deque<std::shared_ptr<Copy>> queue_;           // mutex_
  std::map<uint64_t, std::shared_ptr<Copy>> copies_;  // the caller's
  uint64_t next_ticket_ = 1;
  std::thread thread_;  // last: starts when everything above is there
};

}  // namespace baton::plugin
