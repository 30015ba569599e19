#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/base/clock.h"
#include "engine/base/ids.h"
#include "engine/base/metrics.h"
#include "engine/transfer/copy_path.h"
#include "engine/transfer/memory_space.h"
#include "engine/transfer/transfer_options.h"

namespace baton {

using HandoffId = StrongId<struct HandoffIdTag, uint64_t>;

// What is handed from the executor that wrote the blocks to the one that will read them.
struct HandoffRequest {
  MemorySpace source;
  MemorySpace destination;
  // Empty where both spaces are one: the blocks stay where they are and only change hands.
  CopyPath::Job job;
  // Whether the source blocks are still those that were handed off. Asked before every use, so that
  // a freed and reused block is never read.
  absl::AnyInvocable<bool()> still_current;
};

// How a handoff went.
struct HandoffReport {
  std::string path;   // "same_space" or the copy path's name
  int64_t bytes = 0;  // copied; the same-space path copies none
  TimeUs copy_us = 0;
};

// Leased transfers of KV blocks between memory spaces: prepare, post, check, release.
//
//   prepared -> posted -> ready -> released
//        \__________\________\____ failed, expired: released by the manager
//
// A handoff holds a lease: whoever still wants it renews it; one that nobody renews is cancelled
// and released by ExpireLeases(), so that nothing is stranded when a side dies. Not thread safe:
// owned by the engine's loop. No call blocks.
class TransferManager {
 public:
  enum class State : uint8_t { kPrepared, kPosted, kReady };

  TransferManager(const TransferOptions& options, Metrics& metrics);
  ~TransferManager();

  // Better paths are registered first. `path` outlives the manager.
  void RegisterPath(CopyPath* path);

  // Chooses the path and takes the lease. UNIMPLEMENTED: no path connects the spaces.
  // RESOURCE_EXHAUSTED: too many handoffs are open.
  absl::StatusOr<HandoffId> Prepare(HandoffRequest request, TimeUs now_us);
  // Begins to copy. FAILED_PRECONDITION: the blocks are stale, or the handoff is not prepared.
  absl::Status Post(HandoffId id, TimeUs now_us);
  // Where it stands now. On error (the copy failed, the blocks went stale) it has been released.
  absl::StatusOr<State> Check(HandoffId id, TimeUs now_us);
  // Extends the lease. NOT_FOUND: it has expired or was released.
  absl::Status Renew(HandoffId id, TimeUs now_us);
  // Ends a handoff in any state; its report where it was ready. Unknown ids are ignored.
  std::optional<HandoffReport> Release(HandoffId id);
  // Releases every handoff whose lease ended; says which.
  std::vector<HandoffId> ExpireLeases(TimeUs now_us);

  size_t open_count() const { return handoffs_.size(); }
  TimeUs renew_interval_us() const { return lease_us_ / 6; }

 private:
  struct Handoff {
    HandoffRequest request;
    CopyPath* path = nullptr;  // null: same space
    CopyPath::Ticket ticket = 0;
    State state = State::kPrepared;
    TimeUs lease_until_us = 0;
    TimeUs posted_us = 0;
    HandoffReport report;
  };

  absl::StatusOr<Handoff*> Find(HandoffId id);
  void MarkReady(Handoff& handoff, TimeUs now_us);

  const TimeUs lease_us_;
  const size_t handoffs_max_;
  Metrics& metrics_;
  std::vector<CopyPath*> paths_;
  std::map<HandoffId, Handoff> handoffs_;
  uint64_t next_id_ = 1;
};

}  // namespace baton
