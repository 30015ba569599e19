#include "engine/transfer/shared_buffer.h"

#include <algorithm>
#include <string>

#include "engine/base/log.h"
#include "engine/base/status_macros.h"
#include "engine/base/strings.h"

namespace baton {
namespace {

// All extents or none.
absl::Status MapAll(DeviceMapper& device, const std::vector<HostExtent>& extents) {
  for (size_t i = 0; i < extents.size(); ++i) {
    const absl::Status mapped = device.Map(extents[i]);
    if (mapped.ok()) continue;
    while (i-- > 0) device.Unmap(extents[i]);
    return mapped;
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status SharedBuffer::Sync(const MemorySpace& device, SyncDirection direction,
                                const Range& range) const {
  if (range.begin < 0 || range.bytes < 0 || range.begin > bytes() ||
      range.bytes > bytes() - range.begin) {
    return absl::InvalidArgumentError(StrCat("shared buffer: ", range.bytes, " bytes from ",
                                             range.begin, " on are not within ", bytes()));
  }
  for (DeviceMapper* mapper : pool_->devices_) {
    if (range.bytes == 0 || mapper->space() != device) continue;
    return mapper->Sync({.data = data() + range.begin, .bytes = range.bytes}, direction);
  }
  return absl::OkStatus();
}

SharedPool::SharedPool(std::unique_ptr<PinnedPool> memory) : memory_(std::move(memory)) {
  for (const HostExtent& extent : memory_->Extents()) {
    buffer_bytes_max_ = std::max(buffer_bytes_max_, extent.bytes);
  }
}

absl::StatusOr<std::unique_ptr<SharedPool>> SharedPool::Create(
    int64_t bytes, const std::vector<DeviceMapper*>& devices) {
  ASSIGN_OR_RETURN(std::unique_ptr<PinnedPool> memory, PinnedPool::Create(bytes));
  std::unique_ptr<SharedPool> pool(new SharedPool(std::move(memory)));
  for (DeviceMapper* device : devices) {
    const absl::Status mapped = MapAll(*device, pool->memory_->Extents());
    if (mapped.ok()) {
      pool->devices_.push_back(device);
    } else {
      Log().info("{} does not map the host's memory, its copies take longer: {}",
                 ToString(device->space()), std::string(mapped.message()));
    }
  }
  return pool;
}

SharedPool::~SharedPool() {
  for (DeviceMapper* device : devices_) {
    for (const HostExtent& extent : memory_->Extents()) device->Unmap(extent);
  }
}

absl::StatusOr<SharedBuffer> SharedPool::Allocate(int64_t bytes) {
  ASSIGN_OR_RETURN(PinnedBuffer memory, memory_->Allocate(bytes));
  return SharedBuffer(*this, std::move(memory));
}

}  // namespace baton
