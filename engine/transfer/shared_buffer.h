#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/transfer/memory_space.h"
#include "engine/transfer/pinned_pool.h"

namespace baton {

enum class SyncDirection : uint8_t { kToDevice, kFromDevice };

// How a device sees the host's memory. Who opens the device implements it, so that no device API is
// known here. Thread safe.
class DeviceMapper {
 public:
  virtual ~DeviceMapper() = default;
  // Of the device's own memory.
  virtual const MemorySpace& space() const = 0;
  // Copies of the device may come from there and go there without a buffer between, until Unmap.
  virtual absl::Status Map(const HostExtent& extent) = 0;
  virtual void Unmap(const HostExtent& extent) = 0;
  // Of something that is mapped: makes what one side has written visible to the other, kToDevice
  // after the host wrote, kFromDevice before the host reads. Nothing to do on a coherent link.
  virtual absl::Status Sync(const HostExtent& extent, SyncDirection direction) = 0;
};

class SharedPool;

// Host memory that several devices reach. Goes back to its pool in the end, which outlives it. Who
// writes and who reads is agreed on by its users.
class SharedBuffer {
 public:
  std::byte* data() const { return memory_.data(); }
  int64_t bytes() const { return memory_.bytes(); }

  // Of [begin, begin + bytes), for the device with that memory; nothing to do for one that does not
  // map it, whose copies go through memory of their own. INVALID_ARGUMENT: outside of the buffer.
  struct Range {
    int64_t begin = 0;
    int64_t bytes = 0;
  };
  absl::Status Sync(const MemorySpace& device, SyncDirection direction, const Range& range) const;

 private:
  friend class SharedPool;
  SharedBuffer(const SharedPool& pool, PinnedBuffer memory)
      : pool_(&pool), memory_(std::move(memory)) {}

  const SharedPool* pool_;
  PinnedBuffer memory_;
};

// A bounded amount of host memory, mapped once to all devices that can. Thread safe.
class SharedPool {
 public:
  // A device that cannot map it is named in the log and goes without. The devices outlive it.
  // Errors as of PinnedPool::Create.
  static absl::StatusOr<std::unique_ptr<SharedPool>> Create(
      int64_t bytes, const std::vector<DeviceMapper*>& devices);
  ~SharedPool();
  SharedPool(const SharedPool&) = delete;
  SharedPool& operator=(const SharedPool&) = delete;

  // As of PinnedPool.
  absl::StatusOr<SharedBuffer> Allocate(int64_t bytes);
  // The largest buffer there can be.
  int64_t buffer_bytes_max() const { return buffer_bytes_max_; }
  PinnedPool::Stats GetStats() const { return memory_->GetStats(); }

 private:
  friend class SharedBuffer;
  explicit SharedPool(std::unique_ptr<PinnedPool> memory);

  const std::unique_ptr<PinnedPool> memory_;
  int64_t buffer_bytes_max_ = 0;
  std::vector<DeviceMapper*> devices_;  // that have mapped it
};

}  // namespace baton
