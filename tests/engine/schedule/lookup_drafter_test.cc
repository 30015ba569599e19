#include "engine/schedule/lookup_drafter.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <random>
#include <set>
#include <vector>

namespace baton {
namespace {

using Tokens = std::vector<TokenId>;

constexpr double kTokenCost = 0.15;

LookupDrafter Drafter(const Tokens& prompt, std::vector<Tokens> texts = {}, int32_t max = 16) {
  return LookupDrafter(prompt, texts, max);
}

TEST_CASE("what followed the last tokens before is guessed") {
  CHECK(Drafter({1, 2, 3, 4, 5, 6, 1, 2}).Draft(kTokenCost) == Tokens{3, 4, 5});
  CHECK(Drafter({7, 8, 9}).Draft(kTokenCost).empty());
  CHECK(Drafter({5}).Draft(kTokenCost).empty());
}

TEST_CASE("the longest match decides, then the latest") {
  // 2 stood before 9, 3 and 4; 1 2 before 4 and, latest, 3.
  CHECK(Drafter({1, 2, 4, 4, 1, 2, 3, 3, 2, 9, 9, 1, 2}).Draft(kTokenCost) == Tokens{3, 3, 2});
}

TEST_CASE("a single token is trusted less where it is not rare") {
  CHECK(Drafter({1, 2, 3, 4, 1}).Draft(0.5) == Tokens{2});
  const Tokens often = {5, 1, 6, 1, 7, 1, 8, 1};
  CHECK(Drafter(often).Draft(kTokenCost) == Tokens{8, 1});
  CHECK(Drafter(often).Draft(0.5).empty());
}

TEST_CASE("a single token that is not rare has an account of its own") {
  LookupDrafter drafter = Drafter({5, 1, 6, 1, 7, 1, 8, 1});
  TokenId other = 1000;
  int steps = 0;
  while (!drafter.Draft(kTokenCost).empty()) {
    drafter.Append(Tokens{++other, 1});
    REQUIRE(++steps < 100);
  }
  CHECK(steps > 3);
  drafter.Append(Tokens{7});
  CHECK(drafter.pays());
  CHECK(drafter.Draft(kTokenCost) == Tokens{1, 8, 1});
}

TEST_CASE("other texts are looked through, and no guess runs from one into the next") {
  CHECK(Drafter({9, 1, 2}, {{1, 2, 3}, {4, 5, 6}}).Draft(kTokenCost) == Tokens{3});
  // A match does not reach across their border either: 3 4 is no match for 3 | 4.
  CHECK(Drafter({4, 7, 7, 3, 4}, {{8, 3}, {4, 5}}).Draft(kTokenCost) == Tokens{7, 7, 3});
}

Tokens Counting(TokenId count) {
  Tokens text;
  for (TokenId t = 0; t < count; ++t) text.push_back(t);
  return text;
}

TEST_CASE("guesses grow while they are right and shrink where they are not") {
  Tokens prompt = Counting(500);
  prompt.insert(prompt.end(), {0, 1});
  LookupDrafter drafter = Drafter(prompt, {}, 7);
  size_t length = drafter.Draft(kTokenCost).size();
  CHECK(length == 3);
  for (int step = 0; step < 10; ++step) {
    Tokens right = drafter.Draft(kTokenCost);
    REQUIRE(right.size() >= length);
    length = right.size();
    right.push_back(right.back() + 1);
    drafter.Append(right);
  }
  CHECK(length == 7);
  for (int step = 0; step < 20; ++step) {  // the first token right, and no other
    const Tokens half_right = drafter.Draft(kTokenCost);
    REQUIRE(half_right.size() <= length);
    length = half_right.size();
    drafter.Append(Tokens{half_right.front(), 10 * step});
  }
  CHECK(length == 1);
}

TEST_CASE("a guess is as long as its tokens' cost allows") {
  Tokens prompt = Counting(100);
  prompt.insert(prompt.end(), {0, 1});
  const auto length = [&prompt](double cost) { return Drafter(prompt).Draft(cost).size(); };
  size_t last = 16;
  for (const double cost : {0.0, 0.01, 0.05, 0.1, 0.15, 0.3, 0.6, 1.0}) {
    CHECK(length(cost) <= last);
    last = length(cost);
  }
  CHECK(length(0) == length(0.001));  // nothing is free
  CHECK(length(0.05) > 3);
  CHECK(length(0.3) == 2);
  CHECK(length(1) == 0);
}

TEST_CASE("what does not fit one pass of eight tokens fills another") {
  const auto lengths = [](int32_t max) {
    Tokens prompt = Counting(3000);
    prompt.insert(prompt.end(), {0, 1});
    LookupDrafter drafter = Drafter(prompt, {}, max);
    std::set<size_t> guessed;
    for (int i = 0; i < 40; ++i) {
      Tokens right = drafter.Draft(0.0);
      guessed.insert(right.size());
      right.push_back(right.back() + 1);
      drafter.Append(right);
    }
    return guessed;
  };
  CHECK(*lengths(2).rbegin() == 2);
  CHECK(*lengths(16).rbegin() == 15);
  CHECK(*lengths(64).rbegin() == 63);
  for (const size_t length : lengths(64)) CHECK((length < 8 || length % 8 == 7));
}

TEST_CASE("it stops where guesses fail, and begins again where they would have been right") {
  // 1 2 is followed by 3 in the prompt, and by something else from then on.
  LookupDrafter drafter = Drafter({1, 2, 3, 1, 2});
  TokenId other = 1000;
  int steps = 0;
  while (drafter.pays()) {
    REQUIRE_FALSE(drafter.Draft(kTokenCost).empty());
    drafter.Append(Tokens{++other, 1, 2});
    REQUIRE(++steps < 100);
  }
  CHECK(steps > 3);
  CHECK(drafter.Draft(kTokenCost).empty());
  for (int i = 0; i < 100 && !drafter.pays(); ++i) {
    drafter.Draft(kTokenCost);
    drafter.Append(Tokens{other});  // what its latest guess was
    drafter.Draft(kTokenCost);
    drafter.Append(Tokens{1, 2});
  }
  CHECK(drafter.pays());
}

TEST_CASE("while guessing does not pay, it is tried now and then") {
  LookupDrafter drafter = Drafter({1, 2, 3, 1, 2});
  TokenId other = 1000;
  while (drafter.pays()) {
    drafter.Draft(kTokenCost);
    drafter.Append(Tokens{++other, 1, 2});
  }
  // From here on each guess would be right, but few are made.
  int tokens = 0;
  while (!drafter.pays()) {
    CHECK(drafter.Draft(kTokenCost).empty());
    drafter.Append(tokens % 3 == 0 ? Tokens{other} : Tokens{tokens % 3});
    REQUIRE(++tokens < 200);
  }
  CHECK(tokens >= 8);
}

TEST_CASE("with no guesses allowed there are none") {
  LookupDrafter drafter = Drafter({1, 2, 1, 2}, {}, 0);
  CHECK_FALSE(drafter.pays());
  CHECK(drafter.Draft(kTokenCost).empty());
  drafter.Append(Tokens{3});
  CHECK(drafter.Draft(kTokenCost).empty());
}

TEST_CASE("whatever the tokens, a guess is what stood somewhere, and never too long") {
  const auto seed = std::random_device{}();
  CAPTURE(seed);
  std::mt19937 random(seed);
  for (int round = 0; round < 200; ++round) {
    const auto max = static_cast<int32_t>(random() % 20);
    const auto draw = [&](size_t count) {
      Tokens tokens(count);
      for (TokenId& token : tokens) token = static_cast<TokenId>(random() % 6);
      return tokens;
    };
    Tokens sequence = draw(1 + random() % 30);
    const std::vector<Tokens> texts = {draw(random() % 10), draw(random() % 10)};
    LookupDrafter drafter(sequence, texts, max);
    for (int step = 0; step < 30; ++step) {
      const Tokens guess = drafter.Draft(kTokenCost);
      REQUIRE(std::ssize(guess) <= max);
      const auto stood_in = [&guess](const Tokens& text) {
        return std::search(text.begin(), text.end(), guess.begin(), guess.end()) != text.end();
      };
      REQUIRE((guess.empty() || stood_in(sequence) || stood_in(texts[0]) || stood_in(texts[1])));
      const Tokens next = draw(1 + random() % 4);
      drafter.Append(next);
      sequence.insert(sequence.end(), next.begin(), next.end());
    }
  }
}

}  // namespace
}  // namespace baton
