#pragma once

#include <catch2/catch.hpp>
#include <future>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "engine/base/metrics.h"
#include "engine/peer/peer_node.h"
#include "tests/support/eventually.h"
#include "tests/support/status_matchers.h"

namespace baton {

inline constexpr int64_t kTestBlockBytes = 100'000;

// A node and what its handler was told. Serves what it is asked for as the test says.
struct TestNode {
  Metrics metrics;
  std::unique_ptr<PinnedPool> memory;
  std::mutex mutex;
  std::vector<std::pair<PeerServeId, PeerPrefill>> asked;
  std::vector<PeerServeId> cancelled;
  std::optional<uint64_t> heard;
  std::unique_ptr<PeerNode> node;

  void Start(PeerNodeOptions options, std::unique_ptr<PeerTransport> transport) {
    auto pool = PinnedPool::Create(64 << 20);
    REQUIRE_OK(pool);
    memory = *std::move(pool);
    node = std::make_unique<PeerNode>(
        std::move(options), std::move(transport),
        PeerNode::Handler{.on_prefill =
                              [this](PeerServeId serve, PeerPrefill prefill) {
                                const std::lock_guard lock(mutex);
                                asked.emplace_back(serve, std::move(prefill));
                              },
                          .on_cancel =
                              [this](PeerServeId serve) {
                                const std::lock_guard lock(mutex);
                                cancelled.push_back(serve);
                              },
                          .on_heard =
                              [this](int, uint64_t generation) {
                                const std::lock_guard lock(mutex);
                                heard = generation;
                              }},
        metrics, SystemClock());
  }
  ~TestNode() { node.reset(); }

  PeerServeId AwaitAsked(size_t count = 1) {
    REQUIRE(Eventually([&] {
      const std::lock_guard lock(mutex);
      return asked.size() >= count;
    }));
    const std::lock_guard lock(mutex);
    return asked[count - 1].first;
  }
  double leases() { return metrics.Gauge(MetricId::kPeerLeases).Value(); }
  // KV whose bytes tell where they belong.
  PeerKv Kv(int32_t blocks) {
    auto buffer = memory->Allocate(blocks * kTestBlockBytes);
    REQUIRE_OK(buffer);
    for (int64_t i = 0; i < blocks * kTestBlockBytes; ++i) buffer->data()[i] = ByteAt(i);
    return {.memory = *std::move(buffer),
            .blocks = blocks,
            .block_bytes = kTestBlockBytes,
            .prefill_us = 77};
  }
  static std::byte ByteAt(int64_t i) { return static_cast<std::byte>(i * 31 + (i >> 13)); }
};

// One that asks, D, and one that serves, P.
struct NodePair {
  TestNode p;
  TestNode d;

  static PeerPrefill Order(std::vector<TokenId> tokens = {1, 2, 3}) {
    return {.model = {.name = "m",
                      .layout = {.layers = 1, .kv_heads = 1, .head_dim = 8, .block_tokens = 8}},
            .timeout_us = 60'000'000,
            .tokens = std::move(tokens)};
  }
  std::future<absl::StatusOr<RemoteKv>> Ask(PeerPrefill order = Order(),
                                            PeerCallId* call = nullptr) {
    auto promise = std::make_shared<std::promise<absl::StatusOr<RemoteKv>>>();
    const PeerCallId id = d.node->Prefill(
        0, std::move(order),
        [promise](absl::StatusOr<RemoteKv> answer) { promise->set_value(std::move(answer)); });
    if (call != nullptr) *call = id;
    return promise->get_future();
  }
  static absl::StatusOr<RemoteKv> Get(std::future<absl::StatusOr<RemoteKv>> future) {
    REQUIRE(future.wait_for(kAwaitMax) == std::future_status::ready);
    return future.get();
  }
  void AwaitLink() {
    REQUIRE(Eventually([&] { return d.node->IsOpen(0); }));
  }
  // Fetches blocks and says how that ended; what came is checked.
  absl::Status Fetch(const RemoteKv& kv, int32_t first, int32_t blocks) {
    std::vector<std::byte> bytes(static_cast<size_t>(blocks * kTestBlockBytes));
    std::vector<void*> destinations;
    for (int32_t i = 0; i < blocks; ++i) destinations.push_back(bytes.data() + i * kTestBlockBytes);
    auto [id, pull] = d.node->Pull(0, kv.lease, first, destinations, kTestBlockBytes);
    const bool ended =
        Eventually([&, pulling = pull.get()] { return pulling->ended().has_value(); });
    if (!ended) pull->Cancel();
    REQUIRE(ended);
    const absl::Status status = *pull->ended();
    d.node->Forget(id);
    if (!status.ok()) return status;
    int64_t wrong = 0;
    for (int64_t i = 0; i < std::ssize(bytes); ++i) {
      if (bytes[static_cast<size_t>(i)] != TestNode::ByteAt(first * kTestBlockBytes + i)) ++wrong;
    }
    CHECK(wrong == 0);
    return status;
  }
};

}  // namespace baton
