#include "engine/rag/verbatim.h"

#include <catch2/catch.hpp>
#include <memory>
#include <string>
#include <vector>

#include "engine/model/grammar/matcher.h"
#include "engine/rag/answer.h"
#include "tests/engine/model/grammar/list_tokenizer.h"
#include "tests/support/status_matchers.h"

namespace baton {
namespace {

// Whether the text is all of what the grammar allows.
bool Allows(const std::shared_ptr<const Grammar>& grammar, std::string_view text) {
  auto matcher = GrammarMatcher::Make(grammar);
  REQUIRE_OK(matcher);
  return matcher->AdvanceBytes(text).ok() && matcher->CanEnd();
}

TEST_CASE("a verbatim answer is a quote and its number, or the refusal") {
  const std::vector<Citation> quotes = {{.number = 1, .quote = "It opens at \"nine\"."},
                                        {.number = 1, .quote = "It opens at ten."},
                                        {.number = 2, .quote = "Back\\slash,\nline and \x01."},
                                        {.number = 2, .quote = "Où? Là-bas."}};
  const std::string gbnf = VerbatimGrammar(quotes);
  const auto grammar = Grammar::FromGbnf(gbnf, ByteVocabulary());
  REQUIRE_OK(grammar);
  for (const Citation& quote : quotes) {
    const std::string answer = quote.quote + " [" + std::to_string(quote.number) + "]";
    CAPTURE(answer);
    CHECK(Allows(*grammar, answer));
    CHECK(Allows(*grammar, " " + answer));
    CHECK(FindVerbatim(quotes, " " + answer) == &quote);
    CHECK(FindVerbatim(quotes, answer) == &quote);
    CHECK_FALSE(Allows(*grammar, quote.quote));  // without its number
    CHECK_FALSE(Allows(*grammar, answer + " "));
    CHECK(FindVerbatim(quotes, quote.quote) == nullptr);
  }
  CHECK(Allows(*grammar, " Not in the documents."));
  CHECK_FALSE(Allows(*grammar, "It opens at ten. [2]"));
  CHECK_FALSE(Allows(*grammar, "It opens at nine. [1]"));
  CHECK_FALSE(Allows(*grammar, ""));
  CHECK(FindVerbatim(quotes, kRefusal) == nullptr);
  CHECK(FindVerbatim({}, "It opens at ten. [1]") == nullptr);
}

}  // namespace
}  // namespace baton
