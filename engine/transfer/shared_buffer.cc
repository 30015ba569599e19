#include "engine/transfer/shared_buffer.h"

#include <utility>

#include "engine/base/check.h"
#include "engine/base/status_macros.h"
#include "engine/base/strings.h"

namespace baton {

absl::StatusOr<std::unique_ptr<SharedBuffer>> SharedBuffer::Create(
    PinnedBuffer memory, std::span<DeviceMapper* const> devices) {
  std::unique_ptr<SharedBuffer> buffer(new SharedBuffer(std::move(memory)));
  for (DeviceMapper* device : devices) {
    ASSIGN_OR_RETURN(const uint64_t address, device->Map(buffer->All()));
    buffer->mappings_.push_back({.device = device, .address = address});
  }
  return buffer;
}

SharedBuffer::~SharedBuffer() {
  for (const Mapping& mapping : mappings_) mapping.device->Unmap(All());
}

uint64_t SharedBuffer::DeviceAddress(size_t device) const {
  BATON_CHECK(device < mappings_.size());
  return mappings_[device].address;
}

absl::Status SharedBuffer::Sync(size_t device, SyncDirection direction, const Range& range) {
  if (device >= mappings_.size()) {
    return absl::InvalidArgumentError(
        StrCat("shared buffer: device ", device, " of ", mappings_.size()));
  }
  if (range.begin < 0 || range.bytes < 0 || range.begin > bytes() ||
      range.bytes > bytes() - range.begin) {
    return absl::InvalidArgumentError(StrCat("shared buffer: ", range.bytes, " bytes from ",
                                             range.begin, " on are not within ", bytes()));
  }
  if (range.bytes == 0) return absl::OkStatus();
  return mappings_[device].device->Sync({.data = data() + range.begin, .bytes = range.bytes},
                                        direction);
}

absl::Status SharedBuffer::Publish(size_t writer) {
  RETURN_IF_ERROR(Sync(writer, SyncDirection::kFromDevice, {.begin = 0, .bytes = bytes()}));
  for (size_t reader = 0; reader < mappings_.size(); ++reader) {
    if (reader == writer) continue;
    RETURN_IF_ERROR(Sync(reader, SyncDirection::kToDevice, {.begin = 0, .bytes = bytes()}));
  }
  return absl::OkStatus();
}

}  // namespace baton
