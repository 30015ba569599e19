#include "engine/rag/quote.h"

#include <random>
#include <string>

#include "catch2/catch.hpp"
#include "tests/engine/rag/random_text.h"

namespace baton {
namespace {

std::string Quote(std::string_view question, std::string_view passage) {
  return std::string(Slice(passage, FindQuote(question, passage)));
}

TEST_CASE("the sentence that shares most of the question's words", "[quote]") {
  const char* passage =
      "# Steps of the tower\nThe tower is painted white. From the door to the lantern there are "
      "187 "
      "steps. The lamp is electric, and it was the first.";
  CHECK(Quote("How many steps are there to the lantern?", passage) ==
        "From the door to the lantern there are 187 steps.");
  CHECK(Quote("Who painted the tower?", passage) == "The tower is painted white.");
  CHECK(Quote("electrical lamps", passage).starts_with("The lamp is electric"));
}

TEST_CASE("words that tell little do not outvote one that tells much", "[quote]") {
  CHECK(Quote("what is the name of the ketch that is in the harbour",
              "It is in the nature of the thing that the one is the other. A ketch lay there.") ==
        "A ketch lay there.");
}

TEST_CASE("the first of equals, never a heading where there is text", "[quote]") {
  CHECK(Quote("zebra", "One. Two. Three.") == "One.");
  CHECK(Quote("", "# Head\nOne. Two.") == "One.");
  CHECK(Quote("head", "# Head") == "# Head");
  CHECK(Quote("anything", "") == "");
}

TEST_CASE("the best sentences, in the order of the text", "[quote]") {
  const char* passage =
      "# The mill\nIt was built in 1702. The miller is Osk Brun. Flour costs two crowns. The mill "
      "stands by the river.";
  const auto focus = [passage](std::string_view question, size_t count) {
    return Focus(question, passage, count);
  };
  CHECK(focus("Who is the miller?", 1) == "The miller is Osk Brun.");
  CHECK(focus("By which river does the miller live?", 2) ==
        "The miller is Osk Brun. The mill stands by the river.");
  // Where the others say nothing of it, those beside the best one.
  CHECK(focus("What does flour cost?", 2) == "The miller is Osk Brun. Flour costs two crowns.");
  CHECK(focus("flour", 100) ==
        "It was built in 1702. The miller is Osk Brun. Flour costs two crowns. The mill stands by "
        "the river.");
  CHECK(Focus("head", "# Head", 3) == "# Head");
  CHECK(Focus("anything", "", 3).empty());
  CHECK(BestSentences("mill", passage, 0).empty());
}

TEST_CASE("any bytes give a range within the passage", "[quote]") {
  const uint64_t seed = std::random_device()();
  CAPTURE(seed);
  std::mt19937_64 random(seed);
  for (int round = 0; round < 200; ++round) {
    const std::string question = RandomText(random, random() % 30);
    const std::string passage = RandomText(random, random() % 100);
    const TextRange quote = FindQuote(question, passage);
    REQUIRE(quote.begin >= 0);
    REQUIRE(quote.begin <= quote.end);
    REQUIRE(quote.end <= static_cast<int64_t>(passage.size()));
  }
}

}  // namespace
}  // namespace baton
