#include "engine/model/grammar/filter.h"

#include <cmath>
#include <set>
#include <string>

#include "tests/engine/model/grammar/list_tokenizer.h"
#include "tests/support/status_matchers.h"

namespace baton {
namespace {

// 0 and 5 end a text, 6 is special and does not.
const std::vector<std::string> kTokens = {"", "a", "b", "ab", "x", "", ""};

std::shared_ptr<const Grammar> MakeGrammar(const std::string& gbnf) {
  const ListTokenizer tokenizer(kTokens, {0, 5});
  auto grammar = Grammar::FromGbnf(gbnf, std::make_shared<const GrammarVocabulary>(tokenizer));
  REQUIRE_OK(grammar);
  return *grammar;
}

// The tokens that Apply leaves, of a model with one more logit than the tokenizer has tokens.
std::set<TokenId> Left(const GrammarFilter& filter, bool may_end = true) {
  std::vector<float> logits(kTokens.size() + 1, 1.5f);
  filter.Apply(logits, may_end);
  std::set<TokenId> left;
  for (size_t i = 0; i < logits.size(); ++i) {
    if (logits[i] == 1.5f) {
      left.insert(static_cast<TokenId>(i));
    } else {
      CHECK(logits[i] == -std::numeric_limits<float>::infinity());
    }
  }
  return left;
}

using Tokens = std::set<TokenId>;

TEST_CASE("tokens that continue a text are left, and its ends where it may end", "[filter]") {
  GrammarFilter filter(MakeGrammar("root ::= \"ab\" \"x\"?"), {0, 5});
  CHECK(Left(filter) == Tokens{1, 3});
  CHECK(Left(filter, /*may_end=*/false) == Tokens{1, 3});
  const GrammarFilter before = filter;
  filter.Advance(1);
  CHECK(Left(filter) == Tokens{2});
  filter.Advance(2);
  CHECK(Left(filter) == Tokens{0, 4, 5});
  CHECK(Left(filter, /*may_end=*/false) == Tokens{4});
  CHECK_FALSE(filter.complete());
  CHECK(Left(before) == Tokens{1, 3});  // a copy goes on by itself
  GrammarFilter ended = filter;
  ended.Advance(5);
  CHECK(ended.complete());
  filter.Advance(4);
  CHECK(filter.complete());
  REQUIRE_OK(filter.status());
  filter.Advance(4);  // computed in vain behind the end
  CHECK(filter.complete());
  REQUIRE_OK(filter.status());
}

TEST_CASE("end-of-text that is ignored is not text, the text still ends", "[filter]") {
  GrammarFilter filter(MakeGrammar("root ::= \"a\"{2}"), {});
  filter.Advance(1);
  CHECK(Left(filter) == Tokens{1});
  filter.Advance(1);
  CHECK(filter.complete());
  GrammarFilter open(MakeGrammar("root ::= \"a\"+"), {});
  open.Advance(1);
  CHECK(Left(open) == Tokens{1});
}

TEST_CASE("stop tokens that spell nothing end a text, others are text", "[filter]") {
  GrammarFilter filter(MakeGrammar("root ::= \"a\" (\"b\" | \"x\")*"), {6, 2, 2, 0, 99, -1});
  CHECK(Left(filter) == Tokens{1, 3});
  filter.Advance(1);
  CHECK(Left(filter) == Tokens{0, 2, 4, 6});
  CHECK(Left(filter, /*may_end=*/false) == Tokens{4});
  GrammarFilter special = filter;
  special.Advance(6);
  CHECK(special.complete());
  filter.Advance(2);
  CHECK_FALSE(filter.complete());

  // Where the grammar leaves nothing else, what spells text comes though it may not end it.
  GrammarFilter only(MakeGrammar("root ::= \"a\" \"b\" \"x\""), {2});
  only.Advance(1);
  CHECK(Left(only, /*may_end=*/false) == Tokens{2});
}

TEST_CASE("a text that no token continues says so", "[filter]") {
  GrammarFilter filter(MakeGrammar("root ::= \"a\" (\"y\" | \"z\")"), {0});
  REQUIRE_OK(filter.status());
  filter.Advance(1);
  REQUIRE_STATUS(filter.status(), absl::StatusCode::kInvalidArgument,
                 "grammar: no token of the vocabulary continues the text");
  CHECK_FALSE(filter.complete());
  CHECK(Left(filter).size() == kTokens.size() + 1);  // what comes does not count
  filter.Advance(1);

  GrammarFilter wrong(MakeGrammar("root ::= \"ab\""), {0});
  wrong.Advance(2);
  REQUIRE_STATUS(wrong.status(), absl::StatusCode::kInvalidArgument, "does not allow");
}

}  // namespace
}  // namespace baton
