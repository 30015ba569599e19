#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "engine/base/clock.h"
#include "engine/base/metrics.h"
#include "engine/given_kv.h"
#include "engine/mailbox.h"
#include "engine/peer/network_path.h"
#include "engine/peer/peer_node.h"
#include "engine/peer/peer_options.h"
#include "engine/schedule/peer_choice.h"
#include "engine/transfer/transfer_manager.h"

namespace baton {

// Has peers prefill prompts and fetches their KV: asked -> posted -> ready, each as a handoff from
// peer:N to host memory of peer.memory_mb. Chooses the peer by what its answers have cost. And has
// the memory for what this daemon prefills for others. Lives on the engine's loop thread.
class PeerLane {
 public:
  struct Env {
    const Clock* clock = nullptr;
    Metrics* metrics = nullptr;
    TransferManager* transfer = nullptr;
    Mailbox* mailbox = nullptr;
    // A peer wants this prefilled, or does not any more. On the loop's thread.
    std::function<void(PeerServeId, PeerPrefill)> serve;
    std::function<void(PeerServeId)> stop_serving;
  };

  // INVALID_ARGUMENT, UNAVAILABLE, RESOURCE_EXHAUSTED or UNIMPLEMENTED, naming the key. `hold_at`:
  // as PeerNodeOptions'.
  static absl::StatusOr<std::unique_ptr<PeerLane>> Create(const PeerOptions& options,
                                                          const TransferOptions& transfer,
                                                          const std::string& hold_at, Env env);
  ~PeerLane();

  NetworkPath* path() { return path_.get(); }
  PeerNode& node() { return *node_; }
  bool asks() const { return !peers_.empty(); }
  std::string NameOf(int peer) const { return peers_[static_cast<size_t>(peer)].ToString(); }

  // ---- To ask

  // Which peer is to prefill; nothing: none is there, has room and the model, or they take longer.
  std::optional<int> Choose(const PeerChoice::Prompt& prompt);
  // What came of it.
  struct Fetched {
    std::shared_ptr<const GivenKv> kv;
    HandoffReport report;
    TimeUs peer_us = 0;  // that the peer has computed
  };
  using Done = absl::AnyInvocable<void(absl::StatusOr<Fetched>)>;
  // Has the peer prefill and fetches `blocks` blocks. `done` comes once, on the loop and not from
  // within this call, unless the fetch is dropped. RESOURCE_EXHAUSTED: no memory is free.
  absl::StatusOr<uint64_t> Fetch(int peer, PeerPrefill order, int32_t blocks,
                                 const KvLayout& layout, Done done);
  void Drop(uint64_t fetch);
  void Poll(TimeUs now_us);
  TimeUs NextWakeUs(TimeUs now_us) const;

  // ---- To serve

  // RESOURCE_EXHAUSTED: names peer.memory_mb.
  absl::StatusOr<PinnedBuffer> Allocate(int64_t bytes);
  void Answer(PeerServeId serve, absl::StatusOr<PeerKv> kv);

 private:
  struct Asking {
    int peer = 0;
    PeerChoice::Asked asked;
    TimeUs begun_us = 0;
    TimeUs until_us = 0;
    PeerCallId call;
    std::shared_ptr<GivenKv> kv;
    std::optional<RemoteKv> remote = {};
    std::vector<PeerBlock> blocks = {};  // what the handoff's sources point to
    std::optional<HandoffId> handoff = {};
    TimeUs renew_at_us = 0;
    Done done;
  };

  PeerLane(const PeerOptions& options, std::vector<Address> peers, Env env);
  void OnAnswer(uint64_t fetch, absl::StatusOr<RemoteKv> answer);
  absl::Status Post(Asking& asking, TimeUs now_us);
  void End(uint64_t fetch, absl::StatusOr<HandoffReport> report);
  void LetGo(Asking& asking, const absl::Status& status);

  const PeerOptions options_;
  const Env env_;
  std::unique_ptr<PinnedPool> memory_;
  std::unique_ptr<PeerNode> node_;  // it holds memory
  std::unique_ptr<NetworkPath> path_;
  std::vector<Address> peers_;
  PeerChoice choice_;
  std::map<uint64_t, Asking> asking_;
  uint64_t next_fetch_ = 1;
  prometheus::Gauge* const used_;
  prometheus::Histogram* const seconds_;
};

}  // namespace baton
