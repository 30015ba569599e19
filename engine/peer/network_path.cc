#include "engine/peer/network_path.h"

#include <utility>

#include "engine/base/strings.h"
#include "engine/transfer/host_copy_path.h"

namespace baton {

bool NetworkPath::Connects(const MemorySpace& source, const MemorySpace& destination) const {
  return source.kind == MemorySpace::Kind::kPeer && source.device >= 0 &&
         source.device < node_.peer_count() && IsHostMemory(destination);
}

absl::StatusOr<CopyPath::Ticket> NetworkPath::Post(const Job& job) {
  if (job.sources.empty() || job.conversion) {
    return absl::InvalidArgumentError("the network path takes whole blocks, one at least");
  }
  const auto* first = static_cast<const PeerBlock*>(job.sources.front());
  for (size_t i = 0; i < job.sources.size(); ++i) {
    const auto* block = static_cast<const PeerBlock*>(job.sources[i]);
    if (block->peer == first->peer && block->lease == first->lease &&
        block->index == first->index + static_cast<int32_t>(i)) {
      continue;
    }
    return absl::InvalidArgumentError(
        StrCat("block ", i, " of a copy from a peer does not follow the one before it"));
  }
  const Ticket ticket = next_ticket_++;
  auto [id, pull] =
      node_.Pull(first->peer, first->lease, first->index, job.destinations, job.block_bytes);
  copies_.emplace(ticket, Copy{.id = id, .pull = std::move(pull)});
  return ticket;
}

absl::StatusOr<bool> NetworkPath::Poll(Ticket ticket) {
  const auto it = copies_.find(ticket);
  if (it == copies_.end()) return absl::NotFoundError(StrCat("no copy ", ticket));
  const std::optional<absl::Status> ended = it->second.pull->ended();
  if (!ended) return false;
  completed_ = ticket;
  completed_us_ = it->second.pull->elapsed_us();
  node_.Forget(it->second.id);
  copies_.erase(it);
  if (!ended->ok()) return *ended;
  return true;
}

std::optional<TimeUs> NetworkPath::CopyUs(Ticket ticket) const {
  return ticket == completed_ ? std::optional(completed_us_) : std::nullopt;
}

void NetworkPath::Cancel(Ticket ticket) {
  const auto it = copies_.find(ticket);
  if (it == copies_.end()) return;
  it->second.pull->Cancel();
  node_.Forget(it->second.id);
  copies_.erase(it);
}

}  // namespace baton
