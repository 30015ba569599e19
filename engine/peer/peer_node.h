#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "engine/base/bounded_queue.h"
#include "engine/base/clock.h"
#include "engine/base/ids.h"
#include "engine/base/metrics.h"
#include "engine/peer/handshake.h"
#include "engine/peer/message.h"
#include "engine/peer/peer_pull.h"
#include "engine/peer/secret.h"
#include "engine/peer/transport.h"
#include "engine/transfer/pinned_pool.h"

namespace baton {

using PeerCallId = StrongId<struct PeerCallIdTag, uint64_t>;    // a prompt that a peer prefills
using PeerServeId = StrongId<struct PeerServeIdTag, uint64_t>;  // one that is prefilled for a peer
using PeerPullId = StrongId<struct PeerPullIdTag, uint64_t>;

// KV that this daemon holds for another.
struct PeerKv {
  PinnedBuffer memory;  // [blocks][block_bytes]
  int32_t blocks = 0;
  int64_t block_bytes = 0;
  TimeUs prefill_us = 0;
};

// KV that another daemon holds for this one.
struct RemoteKv {
  int peer = 0;
  uint64_t lease = 0;
  int32_t blocks = 0;
  int64_t block_bytes = 0;
  TimeUs prefill_us = 0;
};

struct PeerNodeOptions {
  std::vector<Address> peers;  // that prefill for this daemon, by their numbers
  PeerSecret secret{""};
  TimeUs lease_us = 30'000'000;
  int64_t requests_max = 64;  // of a link, in each direction
  // Rehearsal: what is to be the last thing done of the network; one of kPeerHoldPoints. Empty:
  // none.
  std::string hold_at = {};
};

// This daemon among its peers: one thread that owns the transport, keeps a link to each peer,
// proves and checks the secret, sends what it holds and receives what it has asked for.
//
// What a client is served is held under a lease that its heartbeats renew, and freed when it says
// so, its link ends or it falls silent. A message that cannot be, from a peer that has proved the
// secret, ends the link and everything that hangs on it. All functions may be called on any thread
// and do not block; callbacks come on the node's own thread and must not block either.
class PeerNode final : private PeerTransportEvents {
 public:
  struct Handler {
    // A peer wants this. Answer() ends it.
    std::function<void(PeerServeId, PeerPrefill)> on_prefill;
    // It does not any more; an answer is not needed.
    std::function<void(PeerServeId)> on_cancel;
    // Peer `number` lives, as this process of its.
    std::function<void(int peer, uint64_t generation)> on_heard;
  };
  using Answered = absl::AnyInvocable<void(absl::StatusOr<RemoteKv>)>;

  PeerNode(PeerNodeOptions options, std::unique_ptr<PeerTransport> transport, Handler handler,
           Metrics& metrics, const Clock& clock);
  ~PeerNode();

  const Address& listening() const { return transport_->listening(); }
  int peer_count() const { return static_cast<int>(peers_.size()); }
  // Whether there is a link to the peer now.
  bool IsOpen(int peer) const;

  // ---- Of who asks

  // Has a peer prefill; `message.call` is set here, and timeout_us is kept here too. `answered`
  // comes once, unless the call is cancelled or the node ends. UNAVAILABLE: there is no link to it,
  // or it was lost. DEADLINE_EXCEEDED: the time is over. Else what the peer says.
  PeerCallId Prefill(int peer, PeerPrefill message, Answered answered);
  // Nobody wants the answer any more.
  void Cancel(PeerCallId call);
  // Begins to fetch blocks of what a peer holds.
  std::pair<PeerPullId, std::shared_ptr<PeerPull>> Pull(int peer, uint64_t lease, int32_t first,
                                                        std::vector<void*> destinations,
                                                        int64_t block_bytes);
  // It has ended, or was cancelled.
  void Forget(PeerPullId pull);
  // What a peer holds is not needed any more.
  void Release(int peer, uint64_t lease);

  // ---- Of who serves

  void Answer(PeerServeId serve, absl::StatusOr<PeerKv> kv);

 private:
  // A run of bytes on its way out.
  struct Outgoing {
    uint64_t pull = 0;
    std::shared_ptr<const PeerKv> kv;
    int64_t first = 0;  // byte of the lease's memory
    int64_t total = 0;
    int64_t sent = 0;
  };
  struct Link {
    std::optional<int> peer;  // absent: it has connected here
    PeerHandshake handshake;
    TimeUs since_us = 0;
    TimeUs heard_us = 0;
    TimeUs beat_us = 0;                            // when it was last sent a heartbeat
    std::map<uint64_t, PeerServeId> serving = {};  // by its number of the call
    std::set<uint64_t> leases = {};
    std::deque<Outgoing> outgoing = {};
    int chunks_in_flight = 0;
  };
  struct Peer {
    Address address;
    std::optional<LinkId> link = {};
    TimeUs try_at_us = 0;
    TimeUs backoff_us = 0;
    std::string trouble = {};  // the last one that was logged
  };
  struct Call {
    LinkId link;
    int peer = 0;
    TimeUs deadline_us = 0;
    Answered answered;
  };
  struct Serving {
    LinkId link;
    uint64_t call = 0;
    TimeUs until_us = 0;
  };
  struct Lease {
    LinkId link;
    std::shared_ptr<const PeerKv> kv;
    TimeUs until_us = 0;  // renewed by heartbeats
    TimeUs last_us = 0;   // not beyond this
  };
  struct Pulling {
    LinkId link;
    std::shared_ptr<PeerPull> pull;
  };

  void Run();
  void Do(absl::AnyInvocable<void()> task);
  void Tick(TimeUs now_us);
  void ConnectTo(int number, TimeUs now_us);
  void Send(LinkId link, const PeerMessage& message);
  void SendChunks(LinkId id);
  // Ends a link and all that hangs on it.
  void Drop(LinkId id, const absl::Status& why);
  void EndLink(LinkId id, Link link, const absl::Status& why);
  void EndLease(uint64_t lease);
  bool HoldsAt(const char* point);
  void UpdateGauges();

  void OnAccepted(LinkId link) override;
  void OnMessage(LinkId link, std::span<const std::byte> header,
                 std::span<const std::byte> body) override;
  void OnSent(LinkId link, uint64_t tag) override;
  void OnClosed(LinkId link, const absl::Status& why) override;

  absl::Status Take(LinkId id, Link& link, const PeerEnvelope& envelope,
                    std::span<const std::byte> body);
  absl::Status Shake(LinkId id, Link& link, const PeerMessage& message);
  absl::Status TakeChunk(LinkId id, const PeerEnvelope& envelope, std::span<const std::byte> body);
  absl::Status OnPrefill(LinkId id, Link& link, PeerPrefill message);
  absl::Status OnPull(LinkId id, Link& link, const PeerPullBlocks& message);
  absl::Status OnHeld(LinkId id, Link& link, const PeerHeld& message);
  absl::Status OnFailure(LinkId id, const PeerFailure& message);
  void OnHeartbeat(const Link& link);

  const PeerNodeOptions options_;
  const std::unique_ptr<PeerTransport> transport_;
  const Handler handler_;
  const Clock& clock_;
  uint64_t generation_ = 0;                            // of this process
  BoundedQueue<absl::AnyInvocable<void()>> tasks_{0};  // each belongs to an admitted request
  std::atomic<uint64_t> next_id_{1};                   // of calls and pulls
  std::unique_ptr<std::atomic<bool>[]> open_;          // by peer
  std::atomic<bool> stopping_{false};

  // The node's thread has the rest.
  std::map<LinkId, Link> links_;
  std::vector<Peer> peers_;
  std::map<uint64_t, Call> calls_;
  std::map<uint64_t, Pulling> pulls_;
  std::map<PeerServeId, Serving> servings_;
  std::map<uint64_t, Lease> leases_;
  uint64_t next_serve_ = 1;
  uint64_t next_lease_ = 1;
  bool held_ = false;  // a rehearsal: nothing is said and heard any more
  struct Handles {
    prometheus::Gauge *links_out, *links_in, *leases;
    prometheus::Counter* sent_bytes;
  };
  const Handles metrics_;
  std::jthread thread_;
};

}  // namespace baton
