// The protocol, over a network in memory, so that every message can be meddled with.
#include "engine/peer/peer_node.h"

#include <atomic>
#include <catch2/catch.hpp>
#include <chrono>
#include <thread>

#include "tests/engine/peer/memory_transport.h"
#include "tests/engine/peer/node_pair.h"

namespace baton {
namespace {

constexpr uint16_t kPort = 7;

struct MemoryPair : NodePair {
  MemoryNetwork network;

  PeerNodeOptions Options(bool asks) {
    PeerNodeOptions options{.secret = PeerSecret("0123456789abcdef")};
    if (asks) options.peers = {{.ip = "127.0.0.1", .v6 = false, .port = kPort}};
    return options;
  }
  void Start() { Start(Options(false), Options(true)); }
  void Start(PeerNodeOptions of_p, PeerNodeOptions of_d) {
    p.Start(std::move(of_p), network.Make(kPort));
    d.Start(std::move(of_d), network.Make(0));
  }
  ~MemoryPair() {  // before the network
    d.node.reset();
    p.node.reset();
  }
};

TEST_CASE("a prompt is asked for, held, fetched and released") {
  MemoryPair pair;
  pair.Start();
  pair.AwaitLink();
  auto answer = pair.Ask();
  const PeerServeId serve = pair.p.AwaitAsked();
  CHECK(pair.p.asked[0].second.tokens == std::vector<TokenId>{1, 2, 3});
  pair.p.node->Answer(serve, pair.p.Kv(5));
  const auto kv = NodePair::Get(std::move(answer));
  REQUIRE_OK(kv);
  CHECK(kv->blocks == 5);
  CHECK(kv->block_bytes == kTestBlockBytes);
  CHECK(kv->prefill_us == 77);
  REQUIRE_OK(pair.Fetch(*kv, 0, 5));
  REQUIRE_OK(pair.Fetch(*kv, 3, 2));
  CHECK(Eventually([&] { return pair.p.leases() == 1; }));
  pair.d.node->Release(0, kv->lease);
  CHECK(Eventually([&] { return pair.p.leases() == 0; }));
  CHECK(Eventually([&] { return pair.p.memory->GetStats().buffers == 0; }));
  REQUIRE_STATUS(pair.Fetch(*kv, 0, 1), absl::StatusCode::kNotFound, "has ended");
  CHECK(pair.d.heard.has_value());
}

TEST_CASE("errors, bad pulls and unknown leases are told, and the link lives") {
  MemoryPair pair;
  pair.Start();
  pair.AwaitLink();
  auto answer = pair.Ask();
  pair.p.node->Answer(pair.p.AwaitAsked(), absl::ResourceExhaustedError("full"));
  REQUIRE_STATUS(NodePair::Get(std::move(answer)), absl::StatusCode::kResourceExhausted, "full");
  answer = pair.Ask();
  pair.p.node->Answer(pair.p.AwaitAsked(2), pair.p.Kv(2));
  const auto kv = NodePair::Get(std::move(answer));
  REQUIRE_OK(kv);
  REQUIRE_STATUS(pair.Fetch(*kv, 1, 2), absl::StatusCode::kInvalidArgument, "reach beyond");
  REQUIRE_STATUS(pair.Fetch({.lease = 99}, 0, 1), absl::StatusCode::kNotFound, "lease 99");
  REQUIRE_OK(pair.Fetch(*kv, 0, 2));
}

TEST_CASE("a call that is cancelled is cancelled there, and a late answer is let go") {
  MemoryPair pair;
  pair.Start();
  pair.AwaitLink();
  PeerCallId call;
  const auto answer = pair.Ask(NodePair::Order(), &call);
  const PeerServeId serve = pair.p.AwaitAsked();
  pair.d.node->Cancel(call);
  REQUIRE(Eventually([&] {
    const std::lock_guard lock(pair.p.mutex);
    return pair.p.cancelled == std::vector<PeerServeId>{serve};
  }));
  pair.p.node->Answer(serve, pair.p.Kv(1));
  CHECK(Eventually([&] { return pair.p.memory->GetStats().buffers == 0; }));
  CHECK(pair.p.leases() == 0);
}

TEST_CASE("a peer that does not answer in time is given up") {
  MemoryPair pair;
  pair.Start();
  pair.AwaitLink();
  PeerPrefill order = NodePair::Order();
  order.timeout_us = 1000;
  auto answer = pair.Ask(std::move(order));
  REQUIRE_STATUS(NodePair::Get(std::move(answer)), absl::StatusCode::kDeadlineExceeded,
                 "peer.timeout_ms");
}

TEST_CASE("more prompts than a link may have are refused") {
  MemoryPair pair;
  PeerNodeOptions of_p = pair.Options(false);
  of_p.requests_max = 2;
  pair.Start(std::move(of_p), pair.Options(true));
  pair.AwaitLink();
  auto first = pair.Ask();
  auto second = pair.Ask();
  REQUIRE_STATUS(NodePair::Get(pair.Ask()), absl::StatusCode::kResourceExhausted,
                 "peer.requests_max");
}

TEST_CASE("whoever does not know the secret gets no link") {
  std::atomic<int> challenges = 0;
  MemoryPair pair;
  PeerNodeOptions of_d = pair.Options(true);
  of_d.secret = PeerSecret("another, of 16 bytes or more");
  pair.network.meddle = [&](MemoryNetwork::Bytes& header, MemoryNetwork::Bytes&) {
    if (ParseEnvelope(header)->type == 2) ++challenges;
    return true;
  };
  pair.Start(pair.Options(false), std::move(of_d));
  REQUIRE(Eventually([&] { return challenges >= 2; }));  // it has tried again
  CHECK_FALSE(pair.d.node->IsOpen(0));
  REQUIRE_STATUS(NodePair::Get(pair.Ask()), absl::StatusCode::kUnavailable, "no link");
}

TEST_CASE("a message that was forged or is rubbish ends the link, and it comes back") {
  for (const int kind : {0, 1, 2, 3}) {
    CAPTURE(kind);
    std::atomic<bool> meddle = false;
    MemoryPair pair;
    pair.network.meddle = [&](MemoryNetwork::Bytes& header, MemoryNetwork::Bytes& body) {
      const auto envelope = ParseEnvelope(header);
      if (!meddle || envelope->type != 6) return true;  // the prefill
      meddle = false;
      if (kind == 0) header[8] ^= std::byte{1};  // the token
      if (kind == 1) header.resize(3);
      if (kind == 2) body.resize(body.size() / 2);
      if (kind == 3) header[4] = std::byte{8};  // a held, which no server gets
      return true;
    };
    pair.Start();
    pair.AwaitLink();
    meddle = true;
    REQUIRE_STATUS(NodePair::Get(pair.Ask()), absl::StatusCode::kUnavailable, "link was lost");
    pair.AwaitLink();
    auto answer = pair.Ask();
    pair.p.node->Answer(pair.p.AwaitAsked(), pair.p.Kv(1));
    REQUIRE_OK(NodePair::Get(std::move(answer)));
  }
}

TEST_CASE("a chunk that cannot be ends the link and the pull") {
  MemoryPair pair;
  pair.network.meddle = [&](MemoryNetwork::Bytes& header, MemoryNetwork::Bytes& body) {
    if (ParseEnvelope(header)->type == PeerEnvelope::kChunkType) body.resize(body.size() - 1);
    return true;
  };
  pair.Start();
  pair.AwaitLink();
  auto answer = pair.Ask();
  pair.p.node->Answer(pair.p.AwaitAsked(), pair.p.Kv(3));
  const auto kv = NodePair::Get(std::move(answer));
  REQUIRE_OK(kv);
  REQUIRE_STATUS(pair.Fetch(*kv, 0, 3), absl::StatusCode::kUnavailable, "must have");
  CHECK(Eventually([&] { return pair.p.memory->GetStats().buffers == 0; }));
}

TEST_CASE("what a peer that dies had asked for, held and fetched ends") {
  MemoryPair pair;
  pair.Start();
  pair.AwaitLink();
  auto held = pair.Ask();
  pair.p.node->Answer(pair.p.AwaitAsked(), pair.p.Kv(3));
  REQUIRE_OK(NodePair::Get(std::move(held)));
  const auto waiting = pair.Ask();
  const PeerServeId serve = pair.p.AwaitAsked(2);
  SECTION("who asked") {
    pair.d.node.reset();
    CHECK(Eventually([&] { return pair.p.memory->GetStats().buffers == 0; }));
    CHECK(Eventually([&] {
      const std::lock_guard lock(pair.p.mutex);
      return pair.p.cancelled == std::vector<PeerServeId>{serve};
    }));
  }
  SECTION("who serves") {
    pair.p.node.reset();
    CHECK(Eventually([&] { return !pair.d.node->IsOpen(0); }));
  }
}

TEST_CASE("the lease of a silent peer expires, heartbeats keep it") {
  std::atomic<bool> silent = false;
  MemoryPair pair;
  pair.network.meddle = [&](MemoryNetwork::Bytes& header, MemoryNetwork::Bytes&) {
    return !silent || ParseEnvelope(header)->type != 5;
  };
  PeerNodeOptions of_p = pair.Options(false);
  PeerNodeOptions of_d = pair.Options(true);
  of_p.lease_us = of_d.lease_us = 1'000'000;
  pair.Start(std::move(of_p), std::move(of_d));
  pair.AwaitLink();
  auto answer = pair.Ask();
  pair.p.node->Answer(pair.p.AwaitAsked(), pair.p.Kv(3));
  const auto kv = NodePair::Get(std::move(answer));
  REQUIRE_OK(kv);
  std::this_thread::sleep_for(std::chrono::milliseconds(1500));
  CHECK(pair.p.leases() == 1);
  silent = true;
  CHECK(Eventually([&] { return pair.p.leases() == 0; }));
  CHECK(Eventually([&] { return pair.p.memory->GetStats().buffers == 0; }));
}

}  // namespace
}  // namespace baton
