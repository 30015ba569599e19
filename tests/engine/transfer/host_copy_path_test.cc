#include "engine/transfer/host_copy_path.h"

#include <catch2/catch.hpp>
#include <cstring>
#include <random>
#include <vector>

#include "engine/transfer/transfer_manager.h"
#include "tests/support/eventually.h"
#include "tests/support/naive_kv.h"
#include "tests/support/status_matchers.h"

namespace baton {
namespace {

constexpr MemorySpace kHost{};
constexpr MemorySpace kPinned{.kind = MemorySpace::Kind::kPinned};
constexpr MemorySpace kFar{.kind = MemorySpace::Kind::kCxl, .device = 1};
constexpr MemorySpace kCuda{.kind = MemorySpace::Kind::kCuda};

CopyPath::Job JobOf(const std::vector<std::vector<std::byte>>& from,
                    std::vector<std::vector<std::byte>>& to) {
  CopyPath::Job job;
  for (const auto& block : from) job.sources.push_back(block.data());
  for (auto& block : to) job.destinations.push_back(block.data());
  job.block_bytes = from.empty() ? 0 : std::ssize(from[0]);
  return job;
}

std::vector<std::vector<std::byte>> RandomBlocks(size_t count, size_t bytes) {
  std::mt19937 random(7);
  std::vector<std::vector<std::byte>> blocks(count, std::vector<std::byte>(bytes));
  for (auto& block : blocks) {
    for (std::byte& byte : block) byte = static_cast<std::byte>(random());
  }
  return blocks;
}

// A converter that stands still until it may go on, so that what waits behind it is known to wait.
std::atomic<bool> gate_open{true};
std::atomic<int> gate_reached{0};
void GatedConvert(const KvRowsArgs& args) {
  ++gate_reached;
  while (!gate_open) std::this_thread::yield();
  NaiveConvertRows(args);
}

struct Gate {
  Gate() {
    gate_open = false;
    gate_reached = 0;
  }
  ~Gate() { gate_open = true; }
};

const KvLayout kLayout = {.layers = 2, .kv_heads = 1, .head_dim = 4, .block_tokens = 8};

struct Converted {
  std::vector<std::byte> from = std::vector<std::byte>(static_cast<size_t>(kLayout.block_bytes()));
  std::vector<std::byte> to = std::vector<std::byte>(static_cast<size_t>(kLayout.block_bytes()));
  CopyPath::Job Job() {
    KvLayout half = kLayout;
    half.type = KvType::kF16;
    return {
        .sources = {from.data()},
        .destinations = {to.data()},
        .conversion = KvConversion{
            .source = kLayout, .destination = half, .tokens = 8, .layer_begin = 0, .layer_end = 2}};
  }
};

TEST_CASE("a host path connects what the processor reaches and nothing else") {
  HostCopyPath path(&NaiveConvertRows, 4, SystemClock());
  for (const MemorySpace& from : {kHost, kPinned, kFar}) {
    for (const MemorySpace& to : {kHost, kPinned, kFar}) CHECK(path.Connects(from, to));
    CHECK_FALSE(path.Connects(from, kCuda));
    CHECK_FALSE(path.Connects(kCuda, from));
  }
}

TEST_CASE("blocks of any size arrive whole, and each copy is measured") {
  for (const size_t bytes :
       {size_t{0}, size_t{1}, size_t{4095}, size_t{256} << 10, (size_t{1} << 20) + 3}) {
    for (const size_t count : {0, 1, 5}) {
      CAPTURE(bytes, count);
      const auto from = RandomBlocks(count, bytes);
      std::vector<std::vector<std::byte>> to(count, std::vector<std::byte>(bytes));
      HostCopyPath path(&NaiveConvertRows, 4, SystemClock());
      const auto ticket = path.Post(JobOf(from, to));
      REQUIRE_OK(ticket);
      REQUIRE(Eventually([&] { return *path.Poll(*ticket); }));
      CHECK(from == to);
      CHECK(path.CopyUs(*ticket).has_value());
      REQUIRE_STATUS(path.Poll(*ticket), absl::StatusCode::kNotFound, "not known");

      std::vector<std::vector<std::byte>> direct_to(count, std::vector<std::byte>(bytes));
      HostDirectPath direct(&NaiveConvertRows, SystemClock());
      const auto at_once = direct.Post(JobOf(from, direct_to));
      REQUIRE_OK(at_once);
      CHECK(*direct.Poll(*at_once));
      CHECK(from == direct_to);
    }
  }
}

TEST_CASE("copies that wait are bounded, and none is lost") {
  Converted first;
  Converted second;
  Converted third;
  Converted refused;
  HostCopyPath path(&GatedConvert, 2, SystemClock());
  const Gate gate;
  const auto running = path.Post(first.Job());
  REQUIRE_OK(running);
  REQUIRE(Eventually([] { return gate_reached > 0; }));
  const auto waiting = path.Post(second.Job());
  const auto waiting_too = path.Post(third.Job());
  REQUIRE_OK(waiting);
  REQUIRE_OK(waiting_too);
  REQUIRE_STATUS(path.Post(refused.Job()), absl::StatusCode::kResourceExhausted,
                 "transfer.host_copies_max: 2");
  CHECK_FALSE(*path.Poll(*running));
  gate_open = true;
  REQUIRE(Eventually([&] { return *path.Poll(*waiting_too); }));
  CHECK(*path.Poll(*running));
  CHECK(*path.Poll(*waiting));
  // There is room again.
  const auto accepted = path.Post(refused.Job());
  REQUIRE_OK(accepted);
  REQUIRE(Eventually([&] { return *path.Poll(*accepted); }));
}

TEST_CASE("a cancelled copy touches nothing any more") {
  Converted running;
  Converted waiting;
  HostCopyPath path(&GatedConvert, 4, SystemClock());
  std::fill(waiting.to.begin(), waiting.to.end(), std::byte{7});
  const std::vector<std::byte> untouched = waiting.to;
  {
    const Gate gate;
    const auto first = path.Post(running.Job());
    REQUIRE(Eventually([] { return gate_reached > 0; }));
    const auto second = path.Post(waiting.Job());
    REQUIRE_OK(second);
    path.Cancel(*second);
    REQUIRE_STATUS(path.Poll(*second), absl::StatusCode::kNotFound, "not known");
    // The running one: Cancel waits for its piece, which goes on when the gate opens.
    std::jthread opener([] {
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
      gate_open = true;
    });
    path.Cancel(*first);
    const std::vector<std::byte> as_left = running.to;
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    CHECK(running.to == as_left);
    path.Cancel(*first);  // once more: nothing
  }
  CHECK(waiting.to == untouched);
  CHECK(gate_reached <= 2);  // one layer of two, each with keys and values
}

TEST_CASE("what is no copy is refused") {
  Converted one;
  HostCopyPath path(&NaiveConvertRows, 4, SystemClock());
  HostDirectPath direct(&NaiveConvertRows, SystemClock());
  CopyPath::Job job = one.Job();
  job.conversion->tokens = 9;
  REQUIRE_STATUS(path.Post(job), absl::StatusCode::kInvalidArgument, "9 positions need 2 blocks");
  REQUIRE_STATUS(direct.Post(job), absl::StatusCode::kInvalidArgument, "9 positions");
  job = {.sources = {one.from.data()}, .destinations = {}, .block_bytes = 4};
  REQUIRE_STATUS(path.Post(job), absl::StatusCode::kInvalidArgument, "1 blocks of 4 bytes to 0");
}

TEST_CASE("a path that ends with copies on it leaves them") {
  const auto from = RandomBlocks(8, 1 << 20);
  std::vector<std::vector<std::byte>> to(8, std::vector<std::byte>(1 << 20));
  for (int i = 0; i < 20; ++i) {
    HostCopyPath path(&NaiveConvertRows, 4, SystemClock());
    for (int copy = 0; copy < 3; ++copy) REQUIRE_OK(path.Post(JobOf(from, to)));
  }
}

TEST_CASE("small handoffs are copied at once, larger ones by the thread") {
  Metrics metrics;
  HostDirectPath direct(&NaiveConvertRows, SystemClock());
  HostCopyPath path(&NaiveConvertRows, 4, SystemClock());
  TransferManager manager({.transfer_threshold_bytes = 1000}, metrics);
  manager.RegisterDirectPath(&direct);
  manager.RegisterPath(&path);
  for (const size_t bytes : {size_t{999}, size_t{1000}}) {
    const auto from = RandomBlocks(1, bytes);
    std::vector<std::vector<std::byte>> to(1, std::vector<std::byte>(bytes));
    const auto id = manager.Prepare({.source = kHost,
                                     .destination = kPinned,
                                     .job = JobOf(from, to),
                                     .still_current = [] { return true; }},
                                    0);
    REQUIRE_OK(id);
    REQUIRE_OK(manager.Post(*id, 0));
    REQUIRE(Eventually([&] { return *manager.Check(*id, 0) == TransferManager::State::kReady; }));
    CHECK(from == to);
    CHECK(manager.Release(*id)->path == (bytes < 1000 ? "host_direct" : "host"));
  }
  REQUIRE(manager.Paths().size() == 2);
  CHECK(manager.Paths()[0].copies == 1);
  CHECK(manager.Paths()[1].copies == 1);
}

}  // namespace
}  // namespace baton
