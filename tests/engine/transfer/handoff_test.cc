// Handoffs by layers, with layouts, peers and endings: what transfer_manager_test.cc leaves out.
#include <catch2/catch.hpp>
#include <cstring>
#include <vector>

#include "engine/transfer/transfer_manager.h"
#include "tests/engine/transfer/scripted_path.h"
#include "tests/support/status_matchers.h"

namespace baton {
namespace {

using State = TransferManager::State;
constexpr MemorySpace kHost{};
constexpr MemorySpace kCuda{.kind = MemorySpace::Kind::kCuda, .device = 1};
constexpr PeerId kPeer{7};
constexpr KvLayout kLayout = {
    .layers = 6, .kv_heads = 1, .head_dim = 2, .block_tokens = 8, .type = KvType::kF32};

struct Fixture {
  Metrics metrics;
  ScriptedPath path;  // outlives the manager
  TransferManager manager{{.lease_ms = 30'000, .handoffs_max = 3}, metrics};
  bool current = true;
  std::vector<std::byte> from = std::vector<std::byte>(2 * Bytes(), std::byte{3});
  std::vector<std::byte> to = std::vector<std::byte>(2 * Bytes(), std::byte{0});

  static size_t Bytes() { return static_cast<size_t>(kLayout.block_bytes()); }
  Fixture() { manager.RegisterPath(&path); }

  // Two blocks, which trade places.
  HandoffRequest Request() {
    return {.source = kHost,
            .destination = kCuda,
            .job = {.sources = {from.data(), from.data() + Bytes()},
                    .destinations = {to.data() + Bytes(), to.data()}},
            .still_current = [this] { return current; },
            .source_layout = kLayout,
            .destination_layout = kLayout};
  }
  // How many layers of the first destination block have arrived, and that nothing behind has.
  int Arrived() const {
    const auto layer = static_cast<size_t>(kLayout.layer_bytes());
    int layers = 0;
    for (size_t i = 0; i < Bytes(); ++i) {
      if (to[i] == std::byte{3} && i % layer == 0) ++layers;
      CHECK((to[i] == std::byte{3}) == (i / layer < static_cast<size_t>(layers)));
      CHECK(to[i] == to[i + Bytes()]);
    }
    return layers;
  }
};

TEST_CASE("layers are copied as they are done, while those behind are still computed") {
  Fixture f;
  f.path.defaults.polls = 1;
  const auto id = f.manager.Prepare(f.Request(), 0);
  REQUIRE_OK(id);
  REQUIRE_OK(f.manager.PostLayers(*id, 2, 10));
  CHECK(*f.manager.Check(*id, 20) == State::kPosted);  // on its way
  CHECK(*f.manager.Check(*id, 30) == State::kPosted);  // arrived, but not all
  CHECK(f.Arrived() == 2);
  REQUIRE_OK(f.manager.PostLayers(*id, 3, 40));
  REQUIRE_OK(f.manager.PostLayers(*id, 5, 50));
  CHECK(*f.manager.Check(*id, 60) == State::kPosted);
  CHECK(*f.manager.Check(*id, 70) == State::kPosted);
  CHECK(f.Arrived() == 5);
  REQUIRE_OK(f.manager.Post(*id, 80));  // the rest
  CHECK(*f.manager.Check(*id, 90) == State::kPosted);
  CHECK(*f.manager.Check(*id, 100) == State::kReady);
  CHECK(f.Arrived() == 6);
  REQUIRE_STATUS(f.manager.PostLayers(*id, 6, 110), absl::StatusCode::kFailedPrecondition,
                 "already");
  const auto report = f.manager.Release(*id);
  REQUIRE(report.has_value());
  CHECK(report->bytes == 2 * kLayout.block_bytes());
  CHECK(report->copy_us == 70);  // 10 to 30, 40 to 70, 80 to 100
  CHECK(f.path.open() == 0);
  CHECK(f.path.posted == 4);
}

TEST_CASE("within one space layers only change hands") {
  Fixture f;
  HandoffRequest request = f.Request();
  request.destination = kHost;
  request.job = {};
  const auto id = f.manager.Prepare(std::move(request), 0);
  REQUIRE_OK(id);
  REQUIRE_OK(f.manager.PostLayers(*id, 3, 0));
  CHECK(*f.manager.Check(*id, 0) == State::kPosted);
  REQUIRE_OK(f.manager.PostLayers(*id, 6, 0));
  CHECK(*f.manager.Check(*id, 0) == State::kReady);
  CHECK(f.manager.Release(*id)->bytes == 0);
}

TEST_CASE("layer groups that are none are refused, and the handoff goes on") {
  Fixture f;
  const auto id = f.manager.Prepare(f.Request(), 0);
  constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;
  REQUIRE_STATUS(f.manager.PostLayers(*id, 7, 0), kInvalid, "at most 6, but is 7");
  REQUIRE_STATUS(f.manager.PostLayers(*id, 0, 0), kInvalid, "above 0");
  REQUIRE_OK(f.manager.PostLayers(*id, 4, 0));
  REQUIRE_STATUS(f.manager.PostLayers(*id, 4, 0), kInvalid, "above 4, which are posted");
  REQUIRE_OK(f.manager.Post(*id, 0));
  CHECK(*f.manager.Check(*id, 0) == State::kReady);
  HandoffRequest whole = f.Request();
  whole.source_layout = whole.destination_layout = std::nullopt;
  whole.job.block_bytes = kLayout.block_bytes();
  const auto blocks = f.manager.Prepare(std::move(whole), 0);
  REQUIRE_STATUS(f.manager.PostLayers(*blocks, 1, 0), kInvalid, "names no layouts");
}

TEST_CASE("layouts that do not go together are refused before anything is taken") {
  Fixture f;
  constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;
  HandoffRequest one_side = f.Request();
  one_side.destination_layout = std::nullopt;
  REQUIRE_STATUS(f.manager.Prepare(std::move(one_side), 0), kInvalid, "only one side");
  HandoffRequest heads = f.Request();
  heads.destination_layout->kv_heads = 2;
  REQUIRE_STATUS(f.manager.Prepare(std::move(heads), 0), kInvalid, "kv_heads");
  HandoffRequest tokens = f.Request();
  tokens.tokens = 17;
  REQUIRE_STATUS(f.manager.Prepare(std::move(tokens), 0), kInvalid, "17 positions need 3 blocks");
  HandoffRequest uneven = f.Request();
  uneven.job.destinations.push_back(f.to.data());
  REQUIRE_STATUS(f.manager.Prepare(std::move(uneven), 0), kInvalid, "2 blocks to 3");
  CHECK(f.manager.open_count() == 0);
}

TEST_CASE("only a path that converts takes what must be converted") {
  Fixture f;
  const auto request = [&] {
    HandoffRequest wanted = f.Request();
    wanted.destination_layout->type = KvType::kF16;
    return wanted;
  };
  REQUIRE_STATUS(f.manager.Prepare(request(), 0), absl::StatusCode::kUnimplemented,
                 "no copy path from host to cuda:1 converts");
  ScriptedPath converter("converter");
  converter.converts = true;
  f.manager.RegisterPath(&converter);
  const auto id = f.manager.Prepare(request(), 0);
  REQUIRE_OK(id);
  REQUIRE_OK(f.manager.PostLayers(*id, 2, 0));
  REQUIRE(converter.last.conversion.has_value());
  CHECK(converter.last.conversion->layer_end == 2);
  CHECK(converter.last.conversion->tokens == 16);
  f.manager.Release(*id);
  CHECK(converter.cancelled == 1);
}

TEST_CASE("where a path refuses, the next best one takes it") {
  Fixture f;
  ScriptedPath other("other");
  f.manager.RegisterPath(&other);
  f.path.defaults.post = absl::ResourceExhaustedError("ring full");
  const auto id = f.manager.Prepare(f.Request(), 0);
  REQUIRE_OK(f.manager.Post(*id, 0));
  CHECK(*f.manager.Check(*id, 5) == State::kReady);
  CHECK(f.manager.Release(*id)->path == "other");
  // Once something is on its way it stays with its path.
  other.defaults.post = absl::OkStatus();
  f.path.defaults.post = absl::OkStatus();
  const auto second = f.manager.Prepare(f.Request(), 0);
  REQUIRE_OK(f.manager.PostLayers(*second, 1, 0));
  f.path.defaults.post = other.defaults.post = absl::UnavailableError("link down");
  REQUIRE_STATUS(f.manager.PostLayers(*second, 2, 0), absl::StatusCode::kUnavailable, "link down");
  CHECK(f.manager.EndOf(*second) == HandoffEnd::kFailed);
  CHECK(f.path.open() + other.open() == 0);
}

TEST_CASE("whatever is asked of a handoff that has ended says how it ended and changes nothing") {
  Fixture f;
  f.path.defaults.polls = 1000;
  const auto id = f.manager.Prepare(f.Request(), 0);
  REQUIRE_OK(f.manager.Post(*id, 0));
  std::string how;
  HandoffEnd end = HandoffEnd::kReleased;
  SECTION("released twice") {
    f.path.defaults.polls = 0;
    const auto ready = f.manager.Prepare(f.Request(), 0);
    REQUIRE_OK(f.manager.Post(*ready, 0));
    REQUIRE(*f.manager.Check(*ready, 0) == State::kReady);
    CHECK(f.manager.Release(*ready).has_value());
    CHECK_FALSE(f.manager.Release(*ready).has_value());
    REQUIRE_STATUS(f.manager.Cancel(*ready), absl::StatusCode::kNotFound, "was released");
    CHECK(f.manager.EndOf(*ready) == HandoffEnd::kReleased);
    REQUIRE_OK(f.manager.Cancel(*id));
    how = "was cancelled";
    end = HandoffEnd::kCancelled;
  }
  SECTION("released after cancel") {
    REQUIRE_OK(f.manager.Cancel(*id));
    CHECK_FALSE(f.manager.Release(*id).has_value());
    how = "was cancelled";
    end = HandoffEnd::kCancelled;
  }
  SECTION("expired") {
    CHECK(f.manager.ExpireLeases(30'000'000) == std::vector{*id});
    how = "nobody renewed its lease";
    end = HandoffEnd::kExpired;
  }
  SECTION("stale") {
    f.current = false;
    CHECK_FALSE(f.manager.Check(*id, 0).ok());
    how = "its blocks were freed";
    end = HandoffEnd::kStale;
  }
  constexpr auto kNotFound = absl::StatusCode::kNotFound;
  REQUIRE_STATUS(f.manager.Cancel(*id), kNotFound, how);
  REQUIRE_STATUS(f.manager.Check(*id, 0), kNotFound, how);
  REQUIRE_STATUS(f.manager.Post(*id, 0), kNotFound, how);
  REQUIRE_STATUS(f.manager.PostLayers(*id, 1, 0), kNotFound, how);
  REQUIRE_STATUS(f.manager.Renew(*id, 0), kNotFound, how);
  CHECK_FALSE(f.manager.Release(*id).has_value());
  CHECK(f.manager.EndOf(*id) == end);
  CHECK(f.path.cancelled == 1);
  CHECK(f.path.open() == 0);
  CHECK(f.manager.open_count() == 0);
  REQUIRE_STATUS(f.manager.Cancel(HandoffId(99)), kNotFound, "handoff 99");
  CHECK(f.manager.EndOf(HandoffId(99)) == std::nullopt);
}

TEST_CASE("a handoff to another process ends with it") {
  Fixture f;
  f.path.defaults.polls = 1000;
  const auto request = [&] {
    HandoffRequest wanted = f.Request();
    wanted.peer = kPeer;
    return wanted;
  };
  constexpr auto kUnavailable = absl::StatusCode::kUnavailable;
  REQUIRE_STATUS(f.manager.Prepare(request(), 0), kUnavailable, "peer 7 has not been heard of");
  f.manager.Heartbeat(kPeer, 1, 0);
  const auto id = f.manager.Prepare(request(), 1'000'000);
  REQUIRE_OK(id);
  REQUIRE_OK(f.manager.Post(*id, 1'000'000));
  SECTION("silent: nobody can renew the lease of the dead") {
    f.manager.Heartbeat(kPeer, 1, 5'000'000);
    REQUIRE_OK(f.manager.Renew(*id, 19'999'999));
    REQUIRE_STATUS(f.manager.Renew(*id, 20'000'000), kUnavailable, "peer 7 is silent");
    REQUIRE_STATUS(f.manager.Prepare(request(), 20'000'000), kUnavailable, "peer 7");
  }
  SECTION("silent: released without anybody asking, before its lease ends") {
    CHECK(f.manager.ExpireLeases(14'999'999).empty());
    CHECK(f.manager.ExpireLeases(15'000'000) == std::vector{*id});
  }
  SECTION("restarted: its memory is another's") {
    f.manager.Heartbeat(kPeer, 2, 2'000'000);
    CHECK(f.manager.open_count() == 0);
    // A late message of the one before brings nothing back.
    f.manager.Heartbeat(kPeer, 1, 3'000'000);
    CHECK(f.manager.peers().AliveGeneration(kPeer, 3'000'000) == 2);
    REQUIRE_OK(f.manager.Prepare(request(), 3'000'000));
    f.manager.ExpireLeases(100'000'000);
  }
  CHECK(f.manager.EndOf(*id) == HandoffEnd::kPeerLost);
  REQUIRE_STATUS(f.manager.Check(*id, 20'000'000), absl::StatusCode::kNotFound, "its peer is lost");
  CHECK(f.path.cancelled == 1);
  CHECK(f.path.open() == 0);
}

TEST_CASE("handoffs within this process do not ask for heartbeats") {
  Fixture f;
  f.path.defaults.polls = 1;
  const auto id = f.manager.Prepare(f.Request(), 0);
  REQUIRE_OK(f.manager.Post(*id, 29'000'000));
  CHECK(f.manager.ExpireLeases(29'999'999).empty());
  REQUIRE_OK(f.manager.Check(*id, 29'999'999));
}

TEST_CASE("peers are bounded; those that are lost make room") {
  PeerTable peers(100);
  for (uint64_t i = 0; i < PeerTable::kPeersMax; ++i) REQUIRE(peers.Heard(PeerId(i), 1, 0));
  CHECK_FALSE(peers.Heard(PeerId(1'000'000), 1, 50));
  CHECK(peers.Heard(PeerId(3), 1, 50));
  CHECK(peers.Heard(PeerId(1'000'000), 1, 100));
  CHECK(peers.count() == 2);
}

}  // namespace
}  // namespace baton
