// Nodes over UCX, on the loopback device.
#include <unistd.h>

#include <catch2/catch.hpp>
#include <chrono>
#include <cstdio>

#include "engine/peer/peer_node.h"
#include "tests/engine/peer/node_pair.h"

namespace baton {
namespace {

const PeerSecret& Secret() {
  static const PeerSecret secret("0123456789abcdef");
  return secret;
}

Address Loopback(uint16_t port = 0) { return {.ip = "127.0.0.1", .v6 = false, .port = port}; }

struct UcxPair : NodePair {
  UcxPair() {
    auto listening = MakeUcxTransport({.listen = Loopback()});
    REQUIRE_OK(listening);
    address = (*listening)->listening();
    REQUIRE(address.port != 0);
    p.Start({.secret = Secret()}, *std::move(listening));
    auto asking = MakeUcxTransport({.peers = {address}});
    REQUIRE_OK(asking);
    d.Start({.peers = {address}, .secret = Secret()}, *std::move(asking));
    AwaitLink();
  }
  Address address;
};

TEST_CASE("prompts and KV of many sizes cross the network") {
  UcxPair pair;
  size_t asked = 0;
  for (const size_t tokens : {1u, 50u, 5000u, 300'000u}) {
    CAPTURE(tokens);
    std::vector<TokenId> prompt(tokens);
    for (size_t i = 0; i < tokens; ++i) prompt[i] = static_cast<TokenId>(i * 7);
    auto answer = pair.Ask(NodePair::Order(prompt));
    const PeerServeId serve = pair.p.AwaitAsked(++asked);
    {
      const std::lock_guard lock(pair.p.mutex);
      REQUIRE(pair.p.asked[asked - 1].second.tokens == prompt);
    }
    const auto blocks = static_cast<int32_t>(std::min<size_t>(tokens, 200));
    pair.p.node->Answer(serve, pair.p.Kv(blocks));
    const auto kv = NodePair::Get(std::move(answer));
    REQUIRE_OK(kv);
    REQUIRE_OK(pair.Fetch(*kv, 0, blocks));
    pair.d.node->Release(0, kv->lease);
  }
  CHECK(Eventually([&] { return pair.p.memory->GetStats().buffers == 0; }));
}

TEST_CASE("both sides notice when the other goes") {
  UcxPair pair;
  auto answer = pair.Ask();
  pair.p.node->Answer(pair.p.AwaitAsked(), pair.p.Kv(100));
  const auto kv = NodePair::Get(std::move(answer));
  REQUIRE_OK(kv);
  SECTION("who serves") {
    std::vector<std::byte> bytes(100 * kTestBlockBytes);
    std::vector<void*> destinations;
    for (int64_t i = 0; i < 100; ++i) destinations.push_back(bytes.data() + i * kTestBlockBytes);
    auto [id, pull] = pair.d.node->Pull(0, kv->lease, 0, destinations, kTestBlockBytes);
    pair.p.node.reset();
    REQUIRE(Eventually([pulling = pull.get()] { return pulling->ended().has_value(); }));
    CHECK(Eventually([&] { return !pair.d.node->IsOpen(0); }));
    pull->Cancel();
  }
  SECTION("who asked") {
    pair.d.node.reset();
    CHECK(Eventually([&] { return pair.p.memory->GetStats().buffers == 0; }));
  }
}

TEST_CASE("a peer that comes later is found") {
  auto reserved = MakeUcxTransport({.listen = Loopback()});
  REQUIRE_OK(reserved);
  const Address address = (*reserved)->listening();
  reserved->reset();
  NodePair pair;
  auto asking = MakeUcxTransport({.peers = {address}});
  REQUIRE_OK(asking);
  pair.d.Start({.peers = {address}, .secret = Secret()}, *std::move(asking));
  usleep(300'000);
  CHECK_FALSE(pair.d.node->IsOpen(0));
  auto listening = MakeUcxTransport({.listen = address});
  REQUIRE_OK(listening);
  pair.p.Start({.secret = Secret()}, *std::move(listening));
  pair.AwaitLink();
}

TEST_CASE("what UCX cannot do is said, naming the key") {
  REQUIRE_STATUS(MakeUcxTransport({.listen = Loopback(), .transports = "nonsense"}),
                 absl::StatusCode::kInvalidArgument, "peer.transports \"nonsense\"");
  REQUIRE_STATUS(MakeUcxTransport({.listen = Loopback(), .devices = "nonsense"}),
                 absl::StatusCode::kInvalidArgument, "peer.devices \"nonsense\"");
  const auto first = MakeUcxTransport({.listen = Loopback()});
  REQUIRE_OK(first);
  REQUIRE_STATUS(MakeUcxTransport({.listen = (*first)->listening()}),
                 absl::StatusCode::kUnavailable, "peer.listen");
}

TEST_CASE("bandwidth over loopback", "[.measure]") {
  UcxPair pair;
  auto answer = pair.Ask();
  pair.p.node->Answer(pair.p.AwaitAsked(), pair.p.Kv(600));
  const auto kv = NodePair::Get(std::move(answer));
  REQUIRE_OK(kv);
  std::vector<std::byte> bytes(600 * kTestBlockBytes);
  std::vector<void*> destinations;
  for (int64_t i = 0; i < 600; ++i) destinations.push_back(bytes.data() + i * kTestBlockBytes);
  for (int round = 0; round < 5; ++round) {
    auto [id, pull] = pair.d.node->Pull(0, kv->lease, 0, destinations, kTestBlockBytes);
    REQUIRE(Eventually([pulling = pull.get()] { return pulling->ended().has_value(); }));
    const absl::Status ended = *pull->ended();
    REQUIRE_OK(ended);
    std::printf("%.2f GB/s\n",
                static_cast<double>(bytes.size()) * 1e-3 / static_cast<double>(pull->elapsed_us()));
  }
}

}  // namespace
}  // namespace baton
