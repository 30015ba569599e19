#include "engine/transfer/shared_buffer.h"

#include <catch2/catch.hpp>
#include <cstring>
#include <string>
#include <vector>

#include "tests/support/status_matchers.h"

namespace baton {
namespace {

// A device with a copy of its own of what is mapped: incoherent, so that only Sync shows a write.
class CopyingDevice final : public DeviceMapper {
 public:
  absl::StatusOr<uint64_t> Map(const Extent& extent) override {
    if (!map_status.ok()) return map_status;
    host = extent.data;
    memory.assign(static_cast<size_t>(extent.bytes), std::byte{0});
    ++mapped;
    return reinterpret_cast<uint64_t>(memory.data());
  }
  void Unmap(const Extent& extent) override {
    CHECK(extent.data == host);
    --mapped;
  }
  absl::Status Sync(const Extent& extent, SyncDirection direction) override {
    if (!sync_status.ok()) return sync_status;
    std::byte* mine = memory.data() + (extent.data - host);
    const auto bytes = static_cast<size_t>(extent.bytes);
    if (direction != SyncDirection::kFromDevice) std::memcpy(mine, extent.data, bytes);
    if (direction != SyncDirection::kToDevice) std::memcpy(extent.data, mine, bytes);
    return absl::OkStatus();
  }

  absl::Status map_status, sync_status;
  std::byte* host = nullptr;
  std::vector<std::byte> memory;
  int mapped = 0;
};

struct Fixture {
  std::unique_ptr<PinnedPool> pool = *PinnedPool::Create(1 << 16, {0});
  CopyingDevice first, second;
  DeviceMapper* devices[2] = {&first, &second};
};

TEST_CASE("what one device writes reaches the host and the others by Sync, in its direction only") {
  Fixture f;
  const auto buffer = SharedBuffer::Create(*f.pool->Allocate(1000), f.devices);
  REQUIRE_OK(buffer);
  SharedBuffer& shared = **buffer;
  CHECK(shared.bytes() == 1000);
  CHECK(shared.DeviceAddress(1) == reinterpret_cast<uint64_t>(f.second.memory.data()));
  shared.data()[10] = std::byte{1};
  f.first.memory[20] = std::byte{2};
  REQUIRE_OK(shared.Sync(0, SyncDirection::kToDevice, {.begin = 0, .bytes = 15}));
  CHECK(f.first.memory[10] == std::byte{1});
  CHECK(f.first.memory[20] == std::byte{2});  // not within
  CHECK(f.second.memory[10] == std::byte{0});
  REQUIRE_OK(shared.Sync(0, SyncDirection::kFromDevice, {.begin = 20, .bytes = 1}));
  CHECK(shared.data()[20] == std::byte{2});
  f.first.memory[999] = std::byte{3};
  REQUIRE_OK(shared.Publish(0));
  CHECK(shared.data()[999] == std::byte{3});
  CHECK(f.second.memory[999] == std::byte{3});
  CHECK(f.second.memory[10] == std::byte{1});
}

TEST_CASE("a buffer is mapped to all devices or to none") {
  Fixture f;
  f.second.map_status = absl::UnavailableError("no IOMMU window");
  REQUIRE_STATUS(SharedBuffer::Create(*f.pool->Allocate(1000), f.devices),
                 absl::StatusCode::kUnavailable, "IOMMU");
  CHECK(f.first.mapped == 0);
  CHECK(f.pool->GetStats().buffers == 0);
  f.second.map_status = absl::OkStatus();
  { REQUIRE_OK(SharedBuffer::Create(*f.pool->Allocate(1000), f.devices)); }
  CHECK(f.first.mapped + f.second.mapped == 0);
  CHECK(f.pool->GetStats().buffers == 0);
}

TEST_CASE("ranges and devices that are none are refused, and a device's error is passed on") {
  Fixture f;
  const auto buffer = SharedBuffer::Create(*f.pool->Allocate(1000), f.devices);
  REQUIRE_OK(buffer);
  SharedBuffer& shared = **buffer;
  constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;
  constexpr auto kBoth = SyncDirection::kBoth;
  REQUIRE_STATUS(shared.Sync(2, kBoth, {.begin = 0, .bytes = 1}), kInvalid, "device 2 of 2");
  REQUIRE_STATUS(shared.Sync(0, kBoth, {.begin = 1, .bytes = 1000}), kInvalid, "not within 1000");
  REQUIRE_STATUS(shared.Sync(0, kBoth, {.begin = -1, .bytes = 1}), kInvalid, "not within");
  REQUIRE_STATUS(shared.Sync(0, kBoth, {.begin = 1, .bytes = INT64_MAX}), kInvalid, "not within");
  f.second.sync_status = absl::UnavailableError("gone");
  REQUIRE_OK(shared.Sync(1, kBoth, {.begin = 1000, .bytes = 0}));
  REQUIRE_STATUS(shared.Sync(1, kBoth, {.begin = 0, .bytes = 1}), absl::StatusCode::kUnavailable,
                 "gone");
  REQUIRE_STATUS(shared.Publish(0), absl::StatusCode::kUnavailable, "gone");
}

}  // namespace
}  // namespace baton
