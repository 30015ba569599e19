#include "engine/transfer/transfer_manager.h"

#include <catch2/catch.hpp>
#include <cstring>

#include "tests/support/status_matchers.h"

namespace baton {
namespace {

constexpr MemorySpace kHost{};
constexpr MemorySpace kCuda{.kind = MemorySpace::Kind::kCuda, .device = 1};
constexpr MemorySpace kBank{.kind = MemorySpace::Kind::kFpga, .device = 0, .bank = 7};

// Copies by memcpy, when told that time has come.
class FakePath final : public CopyPath {
 public:
  const std::string& name() const override { return name_; }
  bool Connects(const MemorySpace& source, const MemorySpace& destination) const override {
    return source == kHost && destination == kCuda;
  }
  absl::StatusOr<Ticket> Post(const Job& job) override {
    if (!post_error.ok()) return post_error;
    job_ = job;
    ++posted;
    return Ticket{42};
  }
  absl::StatusOr<bool> Poll(Ticket ticket) override {
    CHECK(ticket == 42);
    if (!poll_error.ok()) return poll_error;
    if (!complete) return false;
    for (size_t i = 0; i < job_.sources.size(); ++i) {
      std::memcpy(job_.destinations[i], job_.sources[i], static_cast<size_t>(job_.block_bytes));
    }
    return true;
  }
  void Cancel(Ticket) override { ++cancelled; }

  absl::Status post_error, poll_error;
  bool complete = false;
  int posted = 0, cancelled = 0;

 private:
  std::string name_ = "fake_dma";
  Job job_;
};

struct Fixture {
  Metrics metrics;
  FakePath path;  // outlives the manager
  TransferManager manager{{.lease_ms = 30'000, .handoffs_max = 3}, metrics};
  bool current = true;

  HandoffRequest Request(MemorySpace source, MemorySpace destination) {
    return {.source = source, .destination = destination, .job = {}, .still_current = [this] {
              return current;
            }};
  }
};

using State = TransferManager::State;

TEST_CASE("within one space nothing is copied and it is ready at once") {
  Fixture f;
  const auto id = f.manager.Prepare(f.Request(kHost, kHost), 0);
  REQUIRE_OK(id);
  CHECK(*f.manager.Check(*id, 0) == State::kPrepared);
  REQUIRE_OK(f.manager.Post(*id, 5));
  CHECK(*f.manager.Check(*id, 5) == State::kReady);
  const auto report = f.manager.Release(*id);
  REQUIRE(report.has_value());
  CHECK(report->path == "same_space");
  CHECK(report->bytes == 0);
  CHECK(f.manager.open_count() == 0);
  CHECK(f.metrics.Counter(MetricId::kHandoffs, {"same_space"}).Value() == 1);
}

TEST_CASE("a registered path carries blocks between spaces") {
  Fixture f;
  f.manager.RegisterPath(&f.path);
  const std::vector<float> source = {1, 2, 3, 4};
  std::vector<float> destination(4);
  HandoffRequest request = f.Request(kHost, kCuda);
  request.job = {.sources = {&source[0], &source[2]},
                 .destinations = {&destination[2], &destination[0]},
                 .block_bytes = 8};
  const auto id = f.manager.Prepare(std::move(request), 0);
  REQUIRE_OK(id);
  REQUIRE_OK(f.manager.Post(*id, 100));
  CHECK(*f.manager.Check(*id, 150) == State::kPosted);
  f.path.complete = true;
  CHECK(*f.manager.Check(*id, 300) == State::kReady);
  CHECK(destination == std::vector<float>{3, 4, 1, 2});
  const auto report = f.manager.Release(*id);
  REQUIRE(report.has_value());
  CHECK(report->path == "fake_dma");
  CHECK(report->bytes == 16);
  CHECK(report->copy_us == 200);
  CHECK(f.path.cancelled == 0);
  CHECK(f.metrics.Counter(MetricId::kHandoffBytes, {"fake_dma"}).Value() == 16);
}

TEST_CASE("spaces that nothing connects are refused by name") {
  Fixture f;
  f.manager.RegisterPath(&f.path);
  REQUIRE_STATUS(f.manager.Prepare(f.Request(kHost, kBank), 0), absl::StatusCode::kUnimplemented,
                 "from host to fpga:0/7");
}

TEST_CASE("a posted copy that nobody wants any more is cancelled") {
  Fixture f;
  f.manager.RegisterPath(&f.path);
  const auto id = f.manager.Prepare(f.Request(kHost, kCuda), 0);
  REQUIRE_OK(f.manager.Post(*id, 0));
  CHECK_FALSE(f.manager.Release(*id).has_value());
  CHECK(f.path.cancelled == 1);
  CHECK_FALSE(f.manager.Release(*id).has_value());
  CHECK(f.path.cancelled == 1);
}

TEST_CASE("a lease that nobody renews expires, a renewed one does not") {
  Fixture f;
  f.manager.RegisterPath(&f.path);
  const auto stranded = f.manager.Prepare(f.Request(kHost, kCuda), 0);
  const auto wanted = f.manager.Prepare(f.Request(kHost, kCuda), 0);
  REQUIRE_OK(f.manager.Post(*stranded, 0));
  CHECK(f.manager.renew_interval_us() == 5'000'000);
  REQUIRE_OK(f.manager.Renew(*wanted, 29'000'000));
  CHECK(f.manager.ExpireLeases(29'999'999).empty());
  CHECK(f.manager.ExpireLeases(30'000'000) == std::vector{*stranded});
  CHECK(f.metrics.Counter(MetricId::kHandoffsEnded, {"expired"}).Value() == 1);
  CHECK(f.path.cancelled == 1);
  REQUIRE_STATUS(f.manager.Renew(*stranded, 30'000'001), absl::StatusCode::kNotFound, "expired");
  REQUIRE_OK(f.manager.Post(*wanted, 30'000'001));
}

TEST_CASE("blocks that were freed are never read") {
  Fixture f;
  f.manager.RegisterPath(&f.path);
  const auto id = f.manager.Prepare(f.Request(kHost, kCuda), 0);
  f.current = false;
  REQUIRE_STATUS(f.manager.Post(*id, 0), absl::StatusCode::kFailedPrecondition, "freed");
  CHECK(f.path.posted == 0);
  CHECK(f.manager.open_count() == 0);
}

TEST_CASE("failures of the path end the handoff with its error") {
  Fixture f;
  f.manager.RegisterPath(&f.path);
  SECTION("when posting") {
    f.path.post_error = absl::UnavailableError("link down");
    const auto id = f.manager.Prepare(f.Request(kHost, kCuda), 0);
    REQUIRE_STATUS(f.manager.Post(*id, 0), absl::StatusCode::kUnavailable, "link down");
  }
  SECTION("when copying") {
    const auto id = f.manager.Prepare(f.Request(kHost, kCuda), 0);
    REQUIRE_OK(f.manager.Post(*id, 0));
    f.path.poll_error = absl::DataLossError("CRC");
    REQUIRE_STATUS(f.manager.Check(*id, 0), absl::StatusCode::kDataLoss, "CRC");
  }
  CHECK(f.manager.open_count() == 0);
}

TEST_CASE("posting twice and too many handoffs are refused") {
  Fixture f;
  const auto id = f.manager.Prepare(f.Request(kHost, kHost), 0);
  REQUIRE_OK(f.manager.Post(*id, 0));
  REQUIRE_STATUS(f.manager.Post(*id, 0), absl::StatusCode::kFailedPrecondition, "already");
  REQUIRE_OK(f.manager.Prepare(f.Request(kHost, kHost), 0));
  REQUIRE_OK(f.manager.Prepare(f.Request(kHost, kHost), 0));
  REQUIRE_STATUS(f.manager.Prepare(f.Request(kHost, kHost), 0),
                 absl::StatusCode::kResourceExhausted, "transfer.handoffs_max: 3");
}

}  // namespace
}  // namespace baton
