#include "engine/transfer/shared_buffer.h"

#include <catch2/catch.hpp>
#include <cstring>
#include <map>
#include <vector>

#include "tests/support/status_matchers.h"

namespace baton {
namespace {

constexpr MemorySpace kFirst = {.kind = MemorySpace::Kind::kCuda};
constexpr MemorySpace kSecond = {.kind = MemorySpace::Kind::kFpga};

// A device with a copy of its own of what is mapped: incoherent, so that only Sync shows a write.
class CopyingDevice final : public DeviceMapper {
 public:
  explicit CopyingDevice(const MemorySpace& space) : space_(space) {}
  const MemorySpace& space() const override { return space_; }
  absl::Status Map(const HostExtent& extent) override {
    if (!map_status.ok()) return map_status;
    host = extent.data;
    memory.assign(static_cast<size_t>(extent.bytes), std::byte{0});
    ++mapped;
    return absl::OkStatus();
  }
  void Unmap(const HostExtent& extent) override {
    CHECK(extent.data == host);
    --mapped;
  }
  absl::Status Sync(const HostExtent& extent, SyncDirection direction) override {
    if (!sync_status.ok()) return sync_status;
    std::byte* const mine = Seen(extent.data);
    const auto bytes = static_cast<size_t>(extent.bytes);
    if (direction == SyncDirection::kToDevice) {
      std::memcpy(mine, extent.data, bytes);
    } else {
      std::memcpy(extent.data, mine, bytes);
    }
    return absl::OkStatus();
  }
  // Where the device sees the host's memory.
  std::byte* Seen(const std::byte* of_host) { return memory.data() + (of_host - host); }

  absl::Status map_status, sync_status;
  std::byte* host = nullptr;
  std::vector<std::byte> memory;
  int mapped = 0;

 private:
  const MemorySpace space_;
};

struct Fixture {
  CopyingDevice first{kFirst}, second{kSecond};
  std::unique_ptr<SharedPool> Pool() {
    auto pool = SharedPool::Create(1 << 16, {&first, &second});
    REQUIRE_OK(pool);
    return *std::move(pool);
  }
};

}  // namespace

TEST_CASE("what one device writes reaches the host and the others by Sync, in its direction only") {
  Fixture f;
  const auto pool = f.Pool();
  const auto buffer = pool->Allocate(1000);
  REQUIRE_OK(buffer);
  CHECK(buffer->bytes() == 1000);
  std::byte* const host = buffer->data();
  host[10] = std::byte{1};
  f.first.Seen(host)[20] = std::byte{2};
  REQUIRE_OK(buffer->Sync(kFirst, SyncDirection::kToDevice, {.begin = 0, .bytes = 15}));
  CHECK(f.first.Seen(host)[10] == std::byte{1});
  CHECK(f.first.Seen(host)[20] == std::byte{2});  // not within
  CHECK(f.second.Seen(host)[10] == std::byte{0});
  REQUIRE_OK(buffer->Sync(kFirst, SyncDirection::kFromDevice, {.begin = 20, .bytes = 1}));
  CHECK(host[20] == std::byte{2});
  REQUIRE_OK(buffer->Sync(kSecond, SyncDirection::kToDevice, {.begin = 0, .bytes = 1000}));
  CHECK(f.second.Seen(host)[20] == std::byte{2});
}

TEST_CASE("memory is mapped once to all devices that can, and unmapped in the end") {
  Fixture f;
  f.second.map_status = absl::UnavailableError("no IOMMU window");
  {
    const auto pool = f.Pool();
    CHECK(f.first.mapped > 0);
    CHECK(f.second.mapped == 0);
    const auto buffer = pool->Allocate(64);
    REQUIRE_OK(buffer);
    // A device without it has nothing to sync.
    f.second.sync_status = absl::InternalError("asked");
    REQUIRE_OK(buffer->Sync(kSecond, SyncDirection::kToDevice, {.begin = 0, .bytes = 64}));
  }
  CHECK(f.first.mapped == 0);
  CHECK(f.second.mapped == 0);
}

TEST_CASE("a shared buffer refuses ranges beyond it, and passes a device's error on") {
  Fixture f;
  const auto pool = f.Pool();
  const auto buffer = pool->Allocate(1000);
  REQUIRE_OK(buffer);
  constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;
  constexpr auto kTo = SyncDirection::kToDevice;
  REQUIRE_STATUS(buffer->Sync(kFirst, kTo, {.begin = 1, .bytes = 1000}), kInvalid,
                 "not within 1000");
  REQUIRE_STATUS(buffer->Sync(kFirst, kTo, {.begin = -1, .bytes = 1}), kInvalid, "not within");
  REQUIRE_STATUS(buffer->Sync(kFirst, kTo, {.begin = 1, .bytes = INT64_MAX}), kInvalid,
                 "not within");
  f.second.sync_status = absl::UnavailableError("gone");
  REQUIRE_OK(buffer->Sync(kSecond, kTo, {.begin = 1000, .bytes = 0}));
  REQUIRE_STATUS(buffer->Sync(kSecond, kTo, {.begin = 0, .bytes = 1}),
                 absl::StatusCode::kUnavailable, "gone");
  REQUIRE_STATUS(pool->Allocate(pool->buffer_bytes_max() + 1), kInvalid, "must be of 1 to");
}

}  // namespace baton
