#include "engine/schedule/peer_choice.h"

#include <algorithm>
#include <limits>
#include <utility>

namespace baton {
namespace {
constexpr double kForgotten = 0.2;  // of what is known of a peer's speed, with each answer
}  // namespace

std::optional<int> PeerChoice::Choose(const Prompt& prompt, absl::FunctionRef<bool(int)> open,
                                      TimeUs now_us) {
  std::optional<int> best;
  double best_us = std::numeric_limits<double>::infinity();
  for (int number = 0; number < static_cast<int>(peers_.size()); ++number) {
    const Peer& peer = At(number);
    if (!open(number) || peer.requests >= requests_max_ || now_us < peer.paused_until_us ||
        peer.refused.contains(prompt.model)) {
      continue;
    }
    const double us = peer.us_per_token * static_cast<double>(peer.tokens + prompt.tokens);
    if (best && (us > best_us || (us == best_us && peer.tokens >= At(*best).tokens))) continue;
    best = number;
    best_us = us;
  }
  if (!best || !prompt.local_us || best_us < *prompt.local_us) return best;
  if (++At(*best).passed_over < kProbeEvery) return std::nullopt;
  return best;
}

PeerChoice::Asked PeerChoice::Begin(int number, std::string model, int64_t tokens) {
  Peer& peer = At(number);
  Asked asked{.peer = number, .model = std::move(model), .tokens = tokens, .ahead = peer.tokens};
  ++peer.requests;
  peer.tokens += tokens;
  peer.passed_over = 0;
  return asked;
}

void PeerChoice::End(const Asked& asked, Outcome outcome, TimeUs took_us, TimeUs now_us) {
  Peer& peer = At(asked.peer);
  --peer.requests;
  peer.tokens -= asked.tokens;
  switch (outcome) {
    case Outcome::kDone:
    case Outcome::kTimedOut: {
      const double us = static_cast<double>(took_us) /
                        static_cast<double>(std::max<int64_t>(1, asked.ahead + asked.tokens));
      peer.us_per_token =
          peer.us_per_token == 0 ? us : (1 - kForgotten) * peer.us_per_token + kForgotten * us;
      if (outcome == Outcome::kDone) peer.pause_us = 0;
      break;
    }
    case Outcome::kFull:
      // Those that were under way with it say the same: that is one time.
      if (now_us < peer.paused_until_us) break;
      peer.pause_us = peer.pause_us == 0 ? kPauseUs : std::min(2 * peer.pause_us, kPauseUsMax);
      peer.paused_until_us = now_us + peer.pause_us;
      break;
    case Outcome::kRefused:
      peer.refused.insert(asked.model);
      break;
    case Outcome::kOther:
      break;
  }
}

void PeerChoice::Heard(int number, uint64_t generation) {
  Peer& peer = At(number);
  if (std::exchange(peer.generation, generation) == generation) return;
  peer.refused.clear();
  peer.us_per_token = 0;
  peer.pause_us = 0;
  peer.paused_until_us = 0;
}

}  // namespace baton
