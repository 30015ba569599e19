#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "engine/peer/peer_node.h"
#include "engine/transfer/copy_path.h"

namespace baton {

// A block that a peer holds: what a copy's source points to where its space is peer:N.
struct PeerBlock {
  int32_t peer = 0;
  uint64_t lease = 0;
  int32_t index = 0;  // of the lease's blocks
};

// Fetches blocks that a peer holds into host memory, over the node's link to it. Post:
// INVALID_ARGUMENT where a job's blocks are no run of one lease. Cancel waits for the copy of one
// chunk at most.
class NetworkPath final : public CopyPath {
 public:
  explicit NetworkPath(PeerNode& node) : node_(node) {}

  static MemorySpace SpaceOf(int peer) {
    return {.kind = MemorySpace::Kind::kPeer, .device = peer};
  }

  const std::string& name() const override { return name_; }
  bool Connects(const MemorySpace& source, const MemorySpace& destination) const override;
  absl::StatusOr<Ticket> Post(const Job& job) override;
  absl::StatusOr<bool> Poll(Ticket ticket) override;
  std::optional<TimeUs> CopyUs(Ticket ticket) const override;
  void Cancel(Ticket ticket) override;

 private:
  struct Copy {
    PeerPullId id;
    std::shared_ptr<PeerPull> pull;
  };

  const std::string name_ = "network";
  PeerNode& node_;
  std::map<Ticket, Copy> copies_;
  Ticket next_ticket_ = 1;
  Ticket completed_ = 0;  // the last one that Poll said to be complete
  TimeUs completed_us_ = 0;
};

}  // namespace baton
