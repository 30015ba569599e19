#pragma once

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "engine/exec/executor_abi.h"
#include "engine/exec/gpu/plugin/device.h"

namespace baton::gpu {

// Copies of KV blocks between the host's memory and the device's, one after another on a thread and
// a stream of its own: from or to host memory that is mapped at once, else through two pinned
// buffers: while one is on the link the other is filled or emptied. Post, Poll and Cancel come from
// one thread and do not wait for a copy, but Cancel for the piece under way. The device outlives
// it.
class Copies {
 public:
  static Fault Start(Device& device, std::unique_ptr<Copies>* copies);
  ~Copies();  // drops what waits
  Copies(const Copies&) = delete;
  Copies& operator=(const Copies&) = delete;

  // RESOURCE_EXHAUSTED: too many wait. INVALID_ARGUMENT: a block that is not of the device's KV
  // memory, or a direction that is none.
  Fault Post(const baton_copy& copy, uint64_t* ticket);
  Fault Poll(uint64_t ticket, bool* done, uint64_t* copy_us);
  void Cancel(uint64_t ticket);

 private:
  struct Copy {
    int32_t direction = 0;
    std::vector<const std::byte*> sources;
    std::vector<std::byte*> destinations;
    int64_t block_bytes = 0;
    enum class Phase : uint8_t { kWaits, kRuns, kEnded } phase = Phase::kWaits;  // mutex_
    bool cancelled = false;                                                      // mutex_
    Fault fault;
    uint64_t copy_us = 0;
  };
  // A pinned buffer and what is to be done with it when its part of the link's work is over.
  struct Stage {
    PinnedMemory memory;
    cudaEvent_t sent = nullptr;
    bool busy = false;
    std::byte* destination = nullptr;  // of what comes from the device and is to be taken out
    int64_t bytes = 0;
  };

  explicit Copies(Device& device) : device_(device) {}
  void Run();
  Fault Carry(const Copy& copy);
  Fault CarryPiece(const Copy& copy, const std::byte* from, std::byte* to, int64_t bytes,
                   Stage& stage);
  Fault Empty(Stage& stage);
  bool Cancelled(const Copy& copy);

  Device& device_;
  Stream stream_;
  Stage stages_[2];

  std::mutex mutex_;
  std::condition_variable changed_;
  bool stopping_ = false;                             // mutex_
  std::deque<std::shared_ptr<Copy>> queue_;           // mutex_
  std::map<uint64_t, std::shared_ptr<Copy>> copies_;  // the caller's
  uint64_t next_ticket_ = 1;
  std::thread thread_;
};

}  // namespace baton::gpu
