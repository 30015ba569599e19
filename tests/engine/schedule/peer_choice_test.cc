#include "engine/schedule/peer_choice.h"

#include <catch2/catch.hpp>
#include <map>
#include <random>
#include <vector>

namespace baton {
namespace {

using Outcome = PeerChoice::Outcome;

bool AllOpen(int) { return true; }

// Teaches what a token takes there.
void Teach(PeerChoice& peers, int peer, double us_per_token) {
  const auto asked = peers.Begin(peer, "m", 100);
  peers.End(asked, Outcome::kDone, static_cast<TimeUs>(100 * us_per_token), 0);
}

PeerChoice::Prompt Prompt(int64_t tokens, std::optional<double> local_us = {}) {
  return {.model = "m", .tokens = tokens, .local_us = local_us};
}

TEST_CASE("the quicker side gets the prompt, and the slower one is tried now and then") {
  PeerChoice peers(1, 4);
  CHECK(peers.Choose(Prompt(1000, 1.0), AllOpen, 0) == 0);  // nothing is known of it
  Teach(peers, 0, 10);
  struct Row {
    double local_us;
    bool asked;
  };
  // 1,000 tokens take 10,000 us there.
  for (const Row row : {Row{10'001, true}, Row{10'000, false}, Row{9'999, false}}) {
    CAPTURE(row.local_us);
    CHECK(peers.Choose(Prompt(1000, row.local_us), AllOpen, 0).has_value() == row.asked);
  }
  CHECK(peers.Choose(Prompt(1000), AllOpen, 0) == 0);  // what it takes here is not known
  Teach(peers, 0, 10);                                 // counts anew
  for (int64_t i = 1; i < PeerChoice::kProbeEvery; ++i) {
    CHECK_FALSE(peers.Choose(Prompt(1000, 1.0), AllOpen, 0));
  }
  CHECK(peers.Choose(Prompt(1000, 1.0), AllOpen, 0) == 0);
}

TEST_CASE("what a peer has to do already comes before the prompt") {
  PeerChoice peers(2, 8);
  Teach(peers, 0, 10);
  Teach(peers, 1, 12);
  CHECK(peers.Choose(Prompt(1000), AllOpen, 0) == 0);
  const auto first = peers.Begin(0, "m", 1000);
  CHECK(peers.Choose(Prompt(1000), AllOpen, 0) == 1);
  // One alone: 20,000 us with what is ahead.
  const auto only = [](int peer) { return peer == 0; };
  CHECK(peers.Choose(Prompt(1000, 20'001), only, 0) == 0);
  CHECK_FALSE(peers.Choose(Prompt(1000, 20'000), only, 0));
  // A wait behind others teaches nothing of its speed.
  const auto second = peers.Begin(0, "m", 1000);
  CHECK(second.ahead == 1000);
  peers.End(first, Outcome::kDone, 10'000, 0);
  peers.End(second, Outcome::kDone, 20'000, 0);
  CHECK(peers.Choose(Prompt(1000, 10'001), only, 0) == 0);
  CHECK_FALSE(peers.Choose(Prompt(1000, 9'999), only, 0));
}

TEST_CASE("unknown peers are asked side by side, and none beyond its bound") {
  PeerChoice peers(3, 2);
  std::map<int, int> asked;
  std::vector<PeerChoice::Asked> under_way;
  for (int i = 0; i < 6; ++i) {
    const auto peer = peers.Choose(Prompt(100), AllOpen, 0);
    REQUIRE(peer);
    ++asked[*peer];
    under_way.push_back(peers.Begin(*peer, "m", 100));
  }
  CHECK(asked == std::map<int, int>{{0, 2}, {1, 2}, {2, 2}});
  CHECK_FALSE(peers.Choose(Prompt(100), AllOpen, 0));
  peers.End(under_way[1], Outcome::kOther, 0, 0);
  CHECK(peers.Choose(Prompt(100), AllOpen, 0) == under_way[1].peer);
  CHECK_FALSE(peers.Choose(
      Prompt(100), [](int) { return false; }, 0));
}

TEST_CASE("a full peer is left alone, longer each time, until it takes something") {
  PeerChoice peers(1, 4);
  TimeUs now_us = 1000;
  const auto full = [&] { peers.End(peers.Begin(0, "m", 100), Outcome::kFull, 5, now_us); };
  TimeUs pause_us = PeerChoice::kPauseUs;
  for (int i = 0; i < 10; ++i) {
    const auto beside = peers.Begin(0, "m", 100);
    full();
    peers.End(beside, Outcome::kFull, 5, now_us);  // says the same again
    CHECK_FALSE(peers.Choose(Prompt(100), AllOpen, now_us + pause_us - 1));
    now_us += pause_us;
    CHECK(peers.Choose(Prompt(100), AllOpen, now_us) == 0);
    pause_us = std::min(2 * pause_us, PeerChoice::kPauseUsMax);
  }
  CHECK(pause_us == PeerChoice::kPauseUsMax);
  peers.End(peers.Begin(0, "m", 100), Outcome::kDone, 5, now_us);
  full();
  CHECK(peers.Choose(Prompt(100), AllOpen, now_us + PeerChoice::kPauseUs) == 0);
  full();
  peers.Heard(0, 7);  // another process
  CHECK(peers.Choose(Prompt(100), AllOpen, now_us) == 0);
}

TEST_CASE("a model that a peer refuses is asked for again once it was restarted") {
  PeerChoice peers(1, 4);
  peers.Heard(0, 1);
  peers.End(peers.Begin(0, "m", 100), Outcome::kRefused, 5, 0);
  CHECK_FALSE(peers.Choose(Prompt(100), AllOpen, 0));
  CHECK(peers.Choose({.model = "other", .tokens = 100}, AllOpen, 0) == 0);
  peers.Heard(0, 1);
  CHECK_FALSE(peers.Choose(Prompt(100), AllOpen, 0));
  peers.Heard(0, 2);
  CHECK(peers.Choose(Prompt(100), AllOpen, 0) == 0);
}

TEST_CASE("a peer that times out is known to be slow, and one that fails otherwise is not") {
  PeerChoice peers(1, 4);
  peers.End(peers.Begin(0, "m", 100), Outcome::kTimedOut, 1'000'000, 0);
  CHECK_FALSE(peers.Choose(Prompt(100, 999'999), AllOpen, 0));
  PeerChoice others(1, 4);
  others.End(others.Begin(0, "m", 100), Outcome::kOther, 1'000'000, 0);
  CHECK(others.Choose(Prompt(100, 1), AllOpen, 0) == 0);
}

TEST_CASE("of several peers prompts go to each by its speed") {
  PeerChoice peers(3, 1000);
  const std::vector<double> us = {10, 20, 40};
  for (int peer = 0; peer < 3; ++peer) Teach(peers, peer, us[static_cast<size_t>(peer)]);
  const uint32_t seed = 20261122;
  CAPTURE(seed);
  std::mt19937 random(seed);
  std::vector<double> tokens(3);
  for (int i = 0; i < 700; ++i) {
    const auto count = static_cast<int64_t>(50 + random() % 100);
    const auto peer = peers.Choose(Prompt(count), AllOpen, 0);
    REQUIRE(peer);
    peers.Begin(*peer, "m", count);
    tokens[static_cast<size_t>(*peer)] += static_cast<double>(count);
  }
  // None would be done much later than the others.
  for (size_t peer = 0; peer < 3; ++peer) {
    CHECK(tokens[peer] * us[peer] == Approx(tokens[0] * us[0]).epsilon(0.2));
  }
}

}  // namespace
}  // namespace baton
