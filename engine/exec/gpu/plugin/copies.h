#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "engine/exec/executor_abi.h"
#include "engine/exec/gpu/plugin/device.h"
#include "engine/exec/plugin_copy_queue.h"

namespace baton::gpu {

// Copies of KV blocks between the host's memory and the device's in one direction or both, on a
// thread and a stream of their own: from or to host memory that is mapped at once, else through two
// pinned buffers: while one is on the link the other is filled or emptied. What is packed on its
// way from the device is converted into memory there, a piece of each buffer's size. The device
// outlives it.
class Copies {
 public:
  // `packs`: to take packings, too, which takes some memory of the device.
  static Fault Start(Device& device, bool packs, std::unique_ptr<Copies>* copies);
  ~Copies();  // drops what waits
  Copies(const Copies&) = delete;
  Copies& operator=(const Copies&) = delete;

  plugin::CopyQueue& queue() { return *queue_; }
  // INVALID_ARGUMENT, with the field and the limit: what it cannot convert.
  static Fault CheckPacking(const baton_kv_packing& packing);

 private:
  using Job = plugin::CopyQueue::Job;
  // A pinned buffer and what is to be done with it when its part of the link's work is over.
  struct Stage {
    PinnedMemory memory;
    cudaEvent_t sent = nullptr;
    bool busy = false;
    // What comes from the device and is to be taken out.
    struct Part {
      std::byte* destination = nullptr;
      int64_t at = 0;  // in `memory`
      int64_t bytes = 0;
    };
    std::vector<Part> parts;
    // Of what is packed: a piece of the host's layout, and tables of the blocks of both.
    DeviceMemory packed;
    PinnedMemory tables;
    DeviceMemory device_tables;
  };
  // Positions and layers of a packing that are converted at once.
  struct Piece {
    int64_t first = 0;
    int64_t tokens = 0;
    int64_t layer = 0;
    int64_t layers = 0;
  };

  explicit Copies(Device& device) : device_(device) {}
  Fault Check(const void* on_device, int64_t bytes) const;
  Fault Carry(const Job& copy, const std::function<bool()>& cancelled);
  Fault CarryBlocks(const Job& copy, const std::function<bool()>& cancelled);
  Fault CarryPacked(const Job& copy, const std::function<bool()>& cancelled);
  Fault SendPacked(const Job& copy, const Piece& piece, Stage& stage);
  Fault SendFromDevice(const std::byte* from, std::byte* to, int64_t at, int64_t bytes,
                       Stage& stage);
  Fault Sent(Stage& stage);
  Stage& NextStage();
  Fault CarryPiece(const Job& copy, const std::byte* from, std::byte* to, int64_t bytes,
                   Stage& stage);
  Fault Empty(Stage& stage);

  Device& device_;
  Stream stream_;
  Stage stages_[2];
  size_t next_ = 0;
  std::optional<plugin::CopyQueue> queue_;  // last: its thread uses everything above
};

}  // namespace baton::gpu
