#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>

#include "engine/exec/executor_abi.h"
#include "engine/exec/gpu/plugin/device.h"
#include "engine/exec/plugin_copy_queue.h"

namespace baton::gpu {

// Copies of KV blocks between the host's memory and the device's, on a thread and a stream of their
// own: from or to host memory that is mapped at once, else through two pinned buffers: while one is
// on the link the other is filled or emptied. The device outlives it.
class Copies {
 public:
  static Fault Start(Device& device, std::unique_ptr<Copies>* copies);
  ~Copies();  // drops what waits
  Copies(const Copies&) = delete;
  Copies& operator=(const Copies&) = delete;

  plugin::CopyQueue& queue() { return *queue_; }

 private:
  using Job = plugin::CopyQueue::Job;
  // A pinned buffer and what is to be done with it when its part of the link's work is over.
  struct Stage {
    PinnedMemory memory;
    cudaEvent_t sent = nullptr;
    bool busy = false;
    std::byte* destination = nullptr;  // of what comes from the device and is to be taken out
    int64_t bytes = 0;
  };

  explicit Copies(Device& device) : device_(device) {}
  Fault Check(const void* on_device, int64_t bytes) const;
  Fault Carry(const Job& copy, const std::function<bool()>& cancelled);
  Fault CarryPiece(const Job& copy, const std::byte* from, std::byte* to, int64_t bytes,
                   Stage& stage);
  Fault Empty(Stage& stage);

  Device& device_;
  Stream stream_;
  Stage stages_[2];
  std::optional<plugin::CopyQueue> queue_;  // last: its thread uses everything above
};

}  // namespace baton::gpu
