#pragma once

#include <cstdint>

#include "engine/exec/gpu/plugin/device.h"

namespace baton::gpu {

// Copies between any memory of the host and the device's, on a stream and through pinned memory of
// its own, a piece at a time: when a call returns, the copy is done. For jobs beside the steps of a
// model. From one thread.
class StagedCopies {
 public:
  // `what` the memory is for, as messages name it.
  Fault Create(Device& device, const char* what);

  Fault Send(const void* from, int64_t bytes, void* to);
  Fault Fetch(const void* from, int64_t bytes, void* to);
  const Stream& stream() const { return stream_; }

 private:
  Fault Copy(void* to, const void* from, int64_t bytes, cudaMemcpyKind kind);

  Device* device_ = nullptr;
  Stream stream_;
  PinnedMemory staging_;
};

}  // namespace baton::gpu
