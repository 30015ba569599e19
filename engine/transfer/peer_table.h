#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>

#include "engine/base/clock.h"
#include "engine/base/ids.h"

namespace baton {

using PeerId = StrongId<struct PeerIdTag, uint64_t>;  // another process, by its configured number

// Which other processes live, by their heartbeats. Not thread safe.
class PeerTable {
 public:
  static constexpr size_t kPeersMax = 4096;

  // One is lost when it has been silent for so long.
  explicit PeerTable(TimeUs silent_us_max) : silent_us_max_(silent_us_max) {}

  // False where the message is of an older generation than the last one, or kPeersMax others live,
  // and so ignored.
  bool Heard(PeerId peer, uint64_t generation, TimeUs now_us);
  // The generation of one that lives; nothing for one that is silent or was never heard.
  std::optional<uint64_t> AliveGeneration(PeerId peer, TimeUs now_us) const;
  size_t count() const { return peers_.size(); }
  TimeUs silent_us_max() const { return silent_us_max_; }

 private:
  struct Peer {
    uint64_t generation = 0;
    TimeUs heard_us = 0;
  };
  const TimeUs silent_us_max_;
  std::map<PeerId, Peer> peers_;
};

}  // namespace baton
