#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "absl/functional/function_ref.h"
#include "engine/base/clock.h"

namespace baton {

// Which of several other daemons is to prefill a prompt, and whether one should: by what their
// answers have taken, what each still has to do for this one, and what the prompt would take here.
// Pure: no link, no clock.
class PeerChoice {
 public:
  // One that is slower than this daemon is asked so often all the same, to see whether it still is.
  static constexpr int64_t kProbeEvery = 32;
  // One that was full is left alone for so long, twice as long each time it still is.
  static constexpr TimeUs kPauseUs = 250'000;
  static constexpr TimeUs kPauseUsMax = 16'000'000;

  // `requests_max`: that one peer has at once.
  PeerChoice(size_t peers, int64_t requests_max) : requests_max_(requests_max), peers_(peers) {}

  struct Prompt {
    std::string_view model;
    int64_t tokens = 0;                   // that must be computed
    std::optional<double> local_us = {};  // with its wait, here; nothing: not known
  };
  // Nothing: none is open, has room and the model, or all take longer than this daemon. Those whose
  // times are not known come first, the one with least to do before the others.
  std::optional<int> Choose(const Prompt& prompt, absl::FunctionRef<bool(int)> open, TimeUs now_us);

  // A prompt goes to a peer, and comes back.
  struct Asked {
    int peer = 0;
    std::string model;
    int64_t tokens = 0;
    int64_t ahead = 0;  // tokens that it had to do before
  };
  Asked Begin(int peer, std::string model, int64_t tokens);
  enum class Outcome : uint8_t {
    kDone,
    kTimedOut,  // has taken its time as well, and may do so again
    kFull,      // it has no room now
    kRefused,   // it has not this model: not asked for it again while its process lives
    kOther,
  };
  void End(const Asked& asked, Outcome outcome, TimeUs took_us, TimeUs now_us);
  // Its process says who it is: what was known of another one is forgotten.
  void Heard(int peer, uint64_t generation);

 private:
  struct Peer {
    int64_t requests = 0;  // under way, and their tokens
    int64_t tokens = 0;
    double us_per_token = 0;  // of what it had to do, until the KV was here, forgetting; 0: unknown
    int64_t passed_over = 0;  // since it was last asked
    TimeUs pause_us = 0;      // of the last time that it was full; 0: it was not
    TimeUs paused_until_us = 0;
    uint64_t generation = 0;
    std::set<std::string, std::less<>> refused = {};  // models
  };
  Peer& At(int peer) { return peers_[static_cast<size_t>(peer)]; }

  const int64_t requests_max_;
  std::vector<Peer> peers_;
};

}  // namespace baton
