#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/base/clock.h"
#include "engine/base/ids.h"
#include "engine/base/metrics.h"
#include "engine/kv/kv_layout.h"
#include "engine/transfer/copy_path.h"
#include "engine/transfer/memory_space.h"
#include "engine/transfer/path_table.h"
#include "engine/transfer/peer_table.h"
#include "engine/transfer/transfer_options.h"

namespace baton {

using HandoffId = StrongId<struct HandoffIdTag, uint64_t>;  // never given twice

// What is handed from the executor that wrote the blocks to the one that will read them.
struct HandoffRequest {
  MemorySpace source;
  MemorySpace destination;
  // Empty where the blocks stay where they are and only change hands: within one space.
  CopyPath::Job job;
  // Whether the blocks of both sides are still those that were handed off. Asked before every use,
  // so that a freed and reused block is never read or written.
  absl::AnyInvocable<bool()> still_current;
  // What the blocks of each side look like; needed where they differ, and to post layer by layer.
  // Neither: whole blocks of job.block_bytes.
  std::optional<KvLayout> source_layout = std::nullopt;
  std::optional<KvLayout> destination_layout = std::nullopt;
  // Positions handed over where layouts differ, the first one in the first block; 0: as many as the
  // source's blocks hold.
  int64_t tokens = 0;
  // The process on the other side; absent: this one. Its handoffs end with it.
  std::optional<PeerId> peer = std::nullopt;
  // To a tier below, or from it: not counted as a handoff in the metrics.
  bool offload = false;
  // What goes ahead of a handoff: its bytes count, and it as no handoff of its own.
  bool ahead = false;
};

// How a handoff went.
struct HandoffReport {
  std::string path;    // "same_space" or the copy path's name
  int64_t bytes = 0;   // that left the source; the same-space path copies none
  TimeUs copy_us = 0;  // that something of it was on its way
};

// How a handoff ended.
enum class HandoffEnd : uint8_t {
  kReleased,   // by its owner, ready
  kCancelled,  // by its owner, before
  kExpired,    // nobody renewed its lease
  kFailed,     // the path did
  kStale,      // its blocks were freed
  kPeerLost,   // the other side is silent or was restarted
};
std::string_view Name(HandoffEnd end);  // "was released", ...

// Leased transfers of KV blocks between memory spaces: prepare, post, check, release.
//
//   prepared -> posted -> ready -> released
//        \__________\________\____ failed, stale, expired, peer lost: released by the manager
//
// A handoff holds a lease: whoever still wants it renews it; one that nobody renews is cancelled
// and released by ExpireLeases(), so that nothing is stranded when a side dies. Whatever is asked
// of a handoff that has ended is NOT_FOUND, with how it ended, and changes nothing. Not thread safe
// but for what says so: owned by the engine's loop. No call blocks.
class TransferManager {
 public:
  enum class State : uint8_t { kPrepared, kPosted, kReady };

  TransferManager(const TransferOptions& options, Metrics& metrics);
  ~TransferManager();

  // Better paths are registered first; which one a handoff takes is decided by what copies have
  // cost (PathTable). `path` outlives the manager.
  void RegisterPath(CopyPath* path);
  // One that copies within Post, for copies below transfer.transfer_threshold_bytes only; those
  // take such a path where one connects their spaces.
  void RegisterDirectPath(CopyPath* path);

  // Whether some path copies from one space to the other. Thread safe once all are registered.
  bool Connects(const MemorySpace& source, const MemorySpace& destination) const;
  // How long a copy by the best path is expected to take, what is on its way there before it
  // included; nothing while no path has made enough copies to know.
  std::optional<double> PredictUs(const SpacePair& pair, int64_t bytes) const;
  // The same as if nothing were on its way. Thread safe once all paths are registered.
  std::optional<double> PredictIdleUs(const SpacePair& pair, int64_t bytes) const;

  // Chooses the path and takes the lease. UNIMPLEMENTED: no path connects the spaces, or none that
  // does converts. RESOURCE_EXHAUSTED: too many handoffs are open. INVALID_ARGUMENT: the layouts
  // cannot be converted, or the blocks do not hold the tokens. UNAVAILABLE: the peer is not known
  // or silent.
  absl::StatusOr<HandoffId> Prepare(HandoffRequest request, TimeUs now_us);
  // Begins to copy what is not posted yet. FAILED_PRECONDITION: the blocks are stale, or all is
  // posted. Where the path refuses, the next best one is tried; where none takes it, the handoff
  // ends with the error.
  absl::Status Post(HandoffId id, TimeUs now_us);
  // Begins to copy the layers before `layer_end` that are not posted yet, while those behind are
  // still computed. The handoff is ready when all layers are posted and copied. INVALID_ARGUMENT:
  // the request names no layouts, or there are no such layers; the handoff stays as it was.
  absl::Status PostLayers(HandoffId id, int32_t layer_end, TimeUs now_us);
  // Where it stands now. On error (the copy failed, the blocks went stale) it has been released.
  absl::StatusOr<State> Check(HandoffId id, TimeUs now_us);
  // Extends the lease. NOT_FOUND: it has ended. UNAVAILABLE: its peer is lost, and so is it.
  absl::Status Renew(HandoffId id, TimeUs now_us);
  // Ends a handoff in any state; its report where it was ready. One that has ended is left alone:
  // releasing twice, or after Cancel, does nothing and reports nothing.
  std::optional<HandoffReport> Release(HandoffId id);
  // As Release, where nobody wants it any more. NOT_FOUND: it had ended, and how.
  absl::Status Cancel(HandoffId id);
  // Releases every handoff whose lease ended or whose peer is lost; says which.
  std::vector<HandoffId> ExpireLeases(TimeUs now_us);

  // The peer lives. A new generation means that it was restarted: handoffs with the one before end.
  // A message from an older generation is late and ignored. At each renew_interval_us().
  void Heartbeat(PeerId peer, uint64_t generation, TimeUs now_us);
  const PeerTable& peers() const { return peers_; }

  size_t open_count() const { return handoffs_.size(); }
  TimeUs renew_interval_us() const { return lease_us_ / 6; }
  // What is worth a copy ahead of a handoff; nothing: none is.
  std::optional<int64_t> ahead_bytes_min() const { return ahead_bytes_min_; }
  // How one of the last kEndsKept ended; nothing for one that is open, older or unknown.
  static constexpr size_t kEndsKept = 4096;
  std::optional<HandoffEnd> EndOf(HandoffId id) const;
  // What copies have cost. Thread safe.
  std::vector<PathReport> Paths() const { return table_.Report(); }

 private:
  struct Path {
    CopyPath* path = nullptr;
    bool direct = false;
    int64_t bytes_in_flight = 0;
  };
  // Some layers, or all, on their way.
  struct Part {
    CopyPath::Ticket ticket = 0;
    int64_t bytes = 0;
    TimeUs posted_us = 0;
  };
  struct Handoff {
    HandoffRequest request;
    std::optional<size_t> path;  // in paths_; nothing: same space
    State state = State::kPrepared;
    int32_t layers = 0;  // 0: whole blocks, of layers unknown
    int32_t layers_posted = 0;
    bool all_posted = false;
    std::vector<Part> parts;  // not complete yet
    uint64_t peer_generation = 0;
    TimeUs lease_until_us = 0;
    TimeUs busy_since_us = 0;  // parts are on their way
    HandoffReport report;
  };

  absl::Status SetLayouts(Handoff& handoff) const;
  // The paths that can take it, best first by the table's choice.
  std::vector<size_t> PathsFor(const Handoff& handoff, int64_t bytes);
  // So that the handoff goes there.
  void Take(Handoff& handoff, size_t path) const;
  // By the best path; `ahead`: also what is on its way.
  std::optional<double> Predict(const SpacePair& pair, int64_t bytes, bool ahead) const;
  static bool IsCopied(const HandoffRequest& request);
  static CopyPath::Job JobOf(const Handoff& handoff, int32_t layer_begin, int32_t layer_end);
  absl::StatusOr<Handoff*> Find(HandoffId id, TimeUs now_us);
  absl::Status PostPart(HandoffId id, Handoff& handoff, int32_t layer_end, TimeUs now_us);
  void MarkReady(Handoff& handoff);
  std::optional<HandoffReport> End(HandoffId id, HandoffEnd how);

  const TimeUs lease_us_;
  const size_t handoffs_max_;
  const int64_t threshold_bytes_;
  const std::optional<int64_t> ahead_bytes_min_;
  Metrics& metrics_;
  PathTable table_;
  PeerTable peers_;
  std::vector<Path> paths_;  // as numbered in table_
  std::map<HandoffId, Handoff> handoffs_;
  std::map<HandoffId, HandoffEnd> ends_;  // the last kEndsKept
  uint64_t next_id_ = 1;
};

}  // namespace baton
