#include "engine/rag/sentences.h"

#include <random>
#include <string>

#include "catch2/catch.hpp"
#include "tests/engine/rag/random_text.h"

namespace baton {
namespace {

std::vector<std::string> Texts(std::string_view text) {
  std::vector<std::string> texts;
  for (const Sentence& sentence : SplitSentences(text)) {
    texts.emplace_back(Slice(text, sentence.range));
  }
  return texts;
}
using Strings = std::vector<std::string>;

TEST_CASE("prose is cut at sentence ends", "[sentences]") {
  CHECK(Texts("One two. Three four!  Five?\nSix") ==
        Strings{"One two.", "Three four!", "Five?", "Six"});
  CHECK(Texts("He said \"Stop.\" Then he left (at last.) Done.") ==
        Strings{"He said \"Stop.\"", "Then he left (at last.)", "Done."});
  CHECK(Texts("Wait... What?! Yes.") == Strings{"Wait...", "What?!", "Yes."});
  CHECK(Texts("wrapped\nover lines. Next") == Strings{"wrapped\nover lines.", "Next"});
  CHECK(Texts("") == Strings{});
  CHECK(Texts(" \n\t\r\n ") == Strings{});
}

TEST_CASE("stops that end no sentence", "[sentences]") {
  for (const char* text :
       {"Dr. Valdane met Mrs. Orrell.", "It is 3.5 metres.", "J. R. Penn and J.R. Penn tied it.",
        "Tools, e.g. Hammers, i.e. Iron.", "See Fig. 3 and No. 7.", "About approx. 5 of them.",
        "At 3 p.m. the bell rang.", "\"Why?\" he asked.", "Visit www.example.org today.",
        "It costs 1.20 crowns. or so"}) {
    CAPTURE(text);
    CHECK(Texts(text) == Strings{text});
  }
  // The same words where they do end one.
  CHECK(Texts("The answer is no. Then he left.").size() == 2);
  CHECK(Texts("So did I. She too.").size() == 2);
  CHECK(Texts("In 1904. The end.").size() == 2);
}

TEST_CASE("sentences of other scripts", "[sentences]") {
  CHECK(Texts("\u6e2f\u3002\u706f\u53f0\uff01\u6d77") ==
        Strings{"\u6e2f\u3002", "\u706f\u53f0\uff01", "\u6d77"});
  CHECK(Texts("Caf\u00e9. \u00c9t\u00e9.") == Strings{"Caf\u00e9.", "\u00c9t\u00e9."});
}

TEST_CASE("headings, items and rows stand alone", "[sentences]") {
  const std::string text =
      "# Title\nBody one. Body two.\n\nNew paragraph\n- item one\n  goes on. Ends.\n2. second "
      "item\n"
      "| a | b |\n| c | d |\n#hashtag is prose\n2019. A year.";
  const std::vector<Sentence> sentences = SplitSentences(text);
  CHECK(Texts(text) == Strings{"# Title", "Body one.", "Body two.", "New paragraph",
                               "- item one\n  goes on.", "Ends.", "2. second item", "| a | b |",
                               "| c | d |", "#hashtag is prose\n2019.", "A year."});
  REQUIRE(sentences.size() == 11);
  CHECK(sentences[0].heading);
  CHECK(sentences[0].paragraph_start);
  CHECK(sentences[1].paragraph_start);
  CHECK_FALSE(sentences[1].heading);
  CHECK_FALSE(sentences[2].paragraph_start);
  CHECK(sentences[3].paragraph_start);
  CHECK_FALSE(sentences[4].paragraph_start);
}

TEST_CASE("any bytes: sentences cover everything but white space", "[sentences]") {
  const uint64_t seed = std::random_device()();
  CAPTURE(seed);
  std::mt19937_64 random(seed);
  for (int round = 0; round < 300; ++round) {
    const std::string text = RandomText(random, random() % 200);
    int64_t at = 0;
    for (const Sentence& sentence : SplitSentences(text)) {
      REQUIRE(sentence.range.begin >= at);
      REQUIRE(sentence.range.end > sentence.range.begin);
      for (; at < sentence.range.begin; ++at) REQUIRE(IsSpaceByte(text[at]));
      REQUIRE_FALSE(IsSpaceByte(text[sentence.range.begin]));
      REQUIRE_FALSE(IsSpaceByte(text[sentence.range.end - 1]));
      at = sentence.range.end;
    }
    for (; at < static_cast<int64_t>(text.size()); ++at) REQUIRE(IsSpaceByte(text[at]));
  }
}

}  // namespace
}  // namespace baton
