#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/transfer/pinned_pool.h"

namespace baton {

enum class SyncDirection : uint8_t { kToDevice, kFromDevice, kBoth };

// How a device sees host memory. An executor implements it, so that no device API is known here.
class DeviceMapper {
 public:
  // Part of what was mapped.
  struct Extent {
    std::byte* data = nullptr;
    int64_t bytes = 0;
  };

  virtual ~DeviceMapper() = default;
  // Makes it reachable; its address on the device.
  virtual absl::StatusOr<uint64_t> Map(const Extent& extent) = 0;
  virtual void Unmap(const Extent& extent) = 0;
  // Makes what one side has written visible to the other: kToDevice after the host wrote,
  // kFromDevice before the host reads. Nothing to do on a coherent link.
  virtual absl::Status Sync(const Extent& extent, SyncDirection direction) = 0;
};

// Host memory that several devices reach, mapped to all of them or to none. Thread safe as far as
// the mappers are; who writes and who reads is agreed on by their owners. No executor of the daemon
// is a DeviceMapper yet: simulated devices read host memory as it is, and plug-ins copy tensors.
class SharedBuffer {
 public:
  // The mappers and the buffer's pool outlive it. On an error everything is as it was and the
  // memory is given back.
  static absl::StatusOr<std::unique_ptr<SharedBuffer>> Create(
      PinnedBuffer memory, std::span<DeviceMapper* const> devices);
  ~SharedBuffer();
  SharedBuffer(const SharedBuffer&) = delete;
  SharedBuffer& operator=(const SharedBuffer&) = delete;

  std::byte* data() const { return memory_.data(); }
  int64_t bytes() const { return memory_.bytes(); }
  size_t device_count() const { return mappings_.size(); }
  // As given to Create.
  uint64_t DeviceAddress(size_t device) const;

  // Of [begin, begin + bytes) for one device, or for all. INVALID_ARGUMENT: outside of the buffer,
  // or there is no such device.
  struct Range {
    int64_t begin = 0;
    int64_t bytes = 0;
  };
  absl::Status Sync(size_t device, SyncDirection direction, const Range& range);
  // All of it: what `writer` has written becomes visible to the host and every other device.
  absl::Status Publish(size_t writer);

 private:
  struct Mapping {
    DeviceMapper* device = nullptr;
    uint64_t address = 0;
  };
  explicit SharedBuffer(PinnedBuffer memory) : memory_(std::move(memory)) {}
  DeviceMapper::Extent All() const { return {.data = data(), .bytes = bytes()}; }

  PinnedBuffer memory_;
  std::vector<Mapping> mappings_;
};

}  // namespace baton
