#include "engine/schedule/lookup_drafter.h"

#include <catch2/catch.hpp>
#include <random>
#include <vector>

namespace baton {
namespace {

using Tokens = std::vector<TokenId>;

LookupDrafter Drafter(const Tokens& prompt, std::vector<Tokens> texts = {}, int32_t max = 16) {
  return LookupDrafter(prompt, texts, max);
}

TEST_CASE("what followed the last tokens before is guessed") {
  CHECK(Drafter({1, 2, 3, 4, 5, 6, 1, 2}).Draft() == Tokens{3, 4, 5});
  CHECK(Drafter({7, 8, 9}).Draft().empty());
  CHECK(Drafter({5}).Draft().empty());
}

TEST_CASE("the longest match decides, then the latest") {
  // 2 stood before 9, 3 and 4; 1 2 before 4 and, latest, 3.
  CHECK(Drafter({1, 2, 4, 4, 1, 2, 3, 3, 2, 9, 9, 1, 2}).Draft() == Tokens{3, 3, 2});
}

TEST_CASE("a single token is enough only where it is rare") {
  CHECK(Drafter({1, 2, 3, 4, 1}).Draft() == Tokens{2, 3, 4});
  CHECK(Drafter({5, 1, 6, 1, 7, 1, 8, 1}).Draft().empty());
}

TEST_CASE("other texts are looked through, and no guess runs from one into the next") {
  CHECK(Drafter({9, 1, 2}, {{1, 2, 3}, {4, 5, 6}}).Draft() == Tokens{3});
  // A match does not reach across their border either: 3 4 is no match for 3 | 4.
  CHECK(Drafter({4, 7, 7, 3, 4}, {{8, 3}, {4, 5}}).Draft() == Tokens{7, 7, 3});
}

TEST_CASE("guesses grow while they are right and shrink where they are not") {
  Tokens text;
  for (TokenId t = 0; t < 200; ++t) text.push_back(t);
  Tokens prompt = text;
  prompt.insert(prompt.end(), {0, 1});
  LookupDrafter drafter = Drafter(prompt, {}, 8);
  REQUIRE(drafter.Draft() == Tokens{2, 3, 4});
  drafter.Append(Tokens{2, 3, 4, 5});
  REQUIRE(drafter.Draft().size() == 7);
  drafter.Append(Tokens{6, 7, 50});
  CHECK(drafter.Draft() == Tokens{51, 52, 53});  // two were right
  drafter.Append(Tokens{100});
  CHECK(drafter.Draft() == Tokens{101});
}

TEST_CASE("a step of the last token and a guess is a power of two long") {
  Tokens prompt;
  for (TokenId t = 0; t < 200; ++t) prompt.push_back(t);
  prompt.insert(prompt.end(), {0, 1});
  const auto lengths = [&prompt](int32_t max) {
    LookupDrafter drafter = Drafter(prompt, {}, max);
    std::vector<size_t> guessed;
    for (int i = 0; i < 5; ++i) {
      Tokens right = drafter.Draft();
      guessed.push_back(right.size());
      right.push_back(right.back() + 1);
      drafter.Append(right);
    }
    return guessed;
  };
  CHECK(lengths(64) == std::vector<size_t>{3, 7, 15, 31, 63});
  CHECK(lengths(16) == std::vector<size_t>{3, 7, 15, 15, 15});
  CHECK(lengths(2) == std::vector<size_t>{1, 1, 1, 1, 1});
}

TEST_CASE("it stops where guesses fail, and begins again where they would have been right") {
  // 1 2 is followed by 3 in the prompt, and by something else from then on.
  LookupDrafter drafter = Drafter({1, 2, 3, 1, 2});
  TokenId other = 1000;
  int steps = 0;
  while (drafter.pays()) {
    REQUIRE_FALSE(drafter.Draft().empty());
    drafter.Append(Tokens{++other, 1, 2});
    REQUIRE(++steps < 100);
  }
  CHECK(steps > 3);
  CHECK(drafter.Draft().empty());
  for (int i = 0; i < 100 && !drafter.pays(); ++i) {
    drafter.Draft();
    drafter.Append(Tokens{other});  // what its latest guess was
    drafter.Draft();
    drafter.Append(Tokens{1, 2});
  }
  CHECK(drafter.pays());
}

TEST_CASE("while guessing does not pay, it is tried now and then") {
  LookupDrafter drafter = Drafter({1, 2, 3, 1, 2});
  TokenId other = 1000;
  while (drafter.pays()) {
    drafter.Draft();
    drafter.Append(Tokens{++other, 1, 2});
  }
  // From here on each guess would be right, but few are made.
  int tokens = 0;
  while (!drafter.pays()) {
    CHECK(drafter.Draft().empty());
    drafter.Append(tokens % 3 == 0 ? Tokens{other} : Tokens{tokens % 3});
    REQUIRE(++tokens < 200);
  }
  CHECK(tokens >= 8);
}

TEST_CASE("with no guesses allowed there are none") {
  LookupDrafter drafter = Drafter({1, 2, 1, 2}, {}, 0);
  CHECK_FALSE(drafter.pays());
  CHECK(drafter.Draft().empty());
  drafter.Append(Tokens{3});
  CHECK(drafter.Draft().empty());
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
      const Tokens guess = drafter.Draft();
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
