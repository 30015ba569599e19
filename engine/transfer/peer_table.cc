#include "engine/transfer/peer_table.h"

namespace baton {

bool PeerTable::Heard(PeerId peer, uint64_t generation, TimeUs now_us) {
  const auto it = peers_.find(peer);
  if (it == peers_.end()) {
    if (peers_.size() >= kPeersMax) {  // those that are lost make room
      std::erase_if(peers_, [&](const auto& entry) {
        return now_us - entry.second.heard_us >= silent_us_max_;
      });
      if (peers_.size() >= kPeersMax) return false;
    }
    peers_.emplace(peer, Peer{.generation = generation, .heard_us = now_us});
    return true;
  }
  if (generation < it->second.generation) return false;
  it->second = {.generation = generation, .heard_us = now_us};
  return true;
}

std::optional<uint64_t> PeerTable::AliveGeneration(PeerId peer, TimeUs now_us) const {
  const auto it = peers_.find(peer);
  if (it == peers_.end() || now_us - it->second.heard_us >= silent_us_max_) return std::nullopt;
  return it->second.generation;
}

}  // namespace baton
