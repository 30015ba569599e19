#include "engine/model/grammar/matcher.h"

#include <algorithm>
#include <iterator>
#include <map>
#include <random>
#include <set>
#include <string>

#include "engine/base/strings.h"
#include "engine/model/grammar/json_grammar.h"
#include "engine/model/utf8.h"
#include "tests/engine/model/grammar/list_tokenizer.h"
#include "tests/support/status_matchers.h"

namespace baton {
namespace {

using Random = std::mt19937;

size_t Below(Random& random, size_t count) { return random() % count; }

// A grammar as the tests make it, and a recogniser that tries everything.
struct Expr {
  enum Kind { kCharacters, kNegated, kRule, kSequence, kAlternatives, kRepeat } kind;
  std::string characters;  // of a literal, or of a class if `is_class`
  bool is_class = false;
  size_t rule = 0;
  int min = 0;
  int max = -1;  // -1: no limit
  std::vector<Expr> parts;
};

// One, two and three bytes; the last two share their first two bytes.
const std::vector<std::string> kAlphabet = {"a", "b", "\u00e9", "\u20ac", "\u20ad"};

Expr RandomExpr(Random& random, size_t rules, int depth) {
  Expr expr{.kind = Expr::kCharacters};
  switch (depth == 0 ? Below(random, 3) : Below(random, 8)) {
    case 0:
      for (size_t i = Below(random, 3); i-- > 0;) {
        expr.characters += kAlphabet[Below(random, kAlphabet.size())];
      }
      return expr;
    case 1:
      expr.kind = Below(random, 3) == 0 ? Expr::kNegated : Expr::kCharacters;
      expr.is_class = true;
      for (size_t i = Below(random, 4); i-- > 0;) {
        expr.characters += kAlphabet[Below(random, kAlphabet.size())];
      }
      return expr;
    case 2:
      expr.kind = Expr::kRule;
      expr.rule = Below(random, rules);
      return expr;
    case 3:
    case 4:
      expr.kind = Expr::kSequence;
      break;
    case 5:
    case 6:
      expr.kind = Expr::kAlternatives;
      break;
    default:
      expr.kind = Expr::kRepeat;
      expr.min = static_cast<int>(Below(random, 3));
      expr.max = Below(random, 2) == 0 ? -1 : expr.min + static_cast<int>(Below(random, 3));
      expr.parts.push_back(RandomExpr(random, rules, depth - 1));
      return expr;
  }
  for (size_t i = 1 + Below(random, 3); i-- > 0;) {
    expr.parts.push_back(RandomExpr(random, rules, depth - 1));
  }
  return expr;
}

std::string Gbnf(const Expr& expr) {
  std::string text;
  switch (expr.kind) {
    case Expr::kNegated:
      return "[^" + expr.characters + "]";
    case Expr::kCharacters:
      return expr.is_class ? "[" + expr.characters + "]" : "\"" + expr.characters + "\"";
    case Expr::kRule:
      return expr.rule == 0 ? "root" : StrCat("r", expr.rule);
    case Expr::kRepeat:
      return StrCat("(", Gbnf(expr.parts[0]), "){", expr.min, ",",
                    expr.max < 0 ? "" : StrCat(expr.max), "}");
    case Expr::kSequence:
    case Expr::kAlternatives:
      for (const Expr& part : expr.parts) {
        text += (text.empty() ? "(" : expr.kind == Expr::kSequence ? " " : " | ") + Gbnf(part);
      }
      return text + ")";
  }
  return text;
}

size_t CharacterAt(const std::string& text, size_t at) {
  return at < text.size() ? Utf8CharBytes(std::string_view(text).substr(at)) : 0;
}

bool HasCharacter(const std::string& characters, const std::string& wanted) {
  for (size_t at = 0; at < characters.size(); at += CharacterAt(characters, at)) {
    if (characters.substr(at, CharacterAt(characters, at)) == wanted) {
      return true;
    }
  }
  return false;
}

class NaiveRecogniser {
 public:
  NaiveRecogniser(const std::vector<Expr>& rules, const std::string& text)
      : rules_(rules), text_(text) {}

  bool Accepts() { return EndsOfRule(0, 0).contains(text_.size()); }

 private:
  // Where a match that starts at `at` can end.
  std::set<size_t> Ends(const Expr& expr, size_t at) {
    const std::string rest = text_.substr(at);
    switch (expr.kind) {
      case Expr::kCharacters:
        if (!expr.is_class) {
          return rest.starts_with(expr.characters) ? std::set{at + expr.characters.size()}
                                                   : std::set<size_t>();
        }
        [[fallthrough]];
      case Expr::kNegated: {
        const std::string character = rest.substr(0, CharacterAt(rest, 0));
        const bool wanted = !character.empty() && HasCharacter(expr.characters, character) ==
                                                      (expr.kind != Expr::kNegated);
        return wanted ? std::set{at + character.size()} : std::set<size_t>();
      }
      case Expr::kRule:
        return EndsOfRule(expr.rule, at);
      case Expr::kAlternatives: {
        std::set<size_t> all;
        for (const Expr& part : expr.parts) {
          all.merge(Ends(part, at));
        }
        return all;
      }
      case Expr::kSequence: {
        std::set<size_t> ends = {at};
        for (const Expr& part : expr.parts) {
          ends = FromEach(part, ends);
        }
        return ends;
      }
      case Expr::kRepeat: {
        std::set<size_t> ends = {at};
        std::set<size_t> all;
        // More rounds than bytes left match nothing in one of them, and change nothing.
        const int rounds = expr.max < 0 ? expr.min + static_cast<int>(rest.size()) : expr.max;
        for (int round = 0; round <= rounds; ++round) {
          if (round >= expr.min) {
            all.insert(ends.begin(), ends.end());
          }
          ends = FromEach(expr.parts[0], ends);
        }
        return all;
      }
    }
    return {};
  }

  std::set<size_t> FromEach(const Expr& expr, const std::set<size_t>& starts) {
    std::set<size_t> all;
    for (const size_t start : starts) {
      all.merge(Ends(expr, start));
    }
    return all;
  }

  // Not left-recursive, so that each (rule, at) is known before it is asked for again.
  const std::set<size_t>& EndsOfRule(size_t rule, size_t at) {
    const auto known = known_.find({rule, at});
    if (known != known_.end()) {
      return known->second;
    }
    std::set<size_t> ends = Ends(rules_[rule], at);
    return known_[{rule, at}] = std::move(ends);
  }

  const std::vector<Expr>& rules_;
  const std::string& text_;
  std::map<std::pair<size_t, size_t>, std::set<size_t>> known_;
};

struct RandomGrammar {
  std::vector<Expr> rules;
  std::string text;
};

RandomGrammar MakeGrammar(Random& random) {
  RandomGrammar grammar;
  const size_t rules = 1 + Below(random, 4);
  for (size_t i = 0; i < rules; ++i) {
    grammar.rules.push_back(RandomExpr(random, rules, 3));
    // Often something is read first, so that recursion is not on the left.
    if (Below(random, 3) != 0) {
      Expr guarded{.kind = Expr::kSequence};
      guarded.parts.push_back(
          {.kind = Expr::kCharacters, .characters = kAlphabet[Below(random, 5)]});
      guarded.parts.push_back(std::move(grammar.rules.back()));
      Expr either{.kind = Expr::kAlternatives};
      either.parts.push_back(std::move(guarded));
      either.parts.push_back(RandomExpr(random, rules, 0));
      grammar.rules.back() = std::move(either);
    }
    grammar.text += (i == 0 ? "root" : StrCat("r", i)) + " ::= " + Gbnf(grammar.rules[i]) + "\n";
  }
  return grammar;
}

std::vector<std::string> AllTexts(size_t characters_max) {
  std::vector<std::string> texts = {""};
  size_t begin = 0;
  for (size_t length = 0; length < characters_max; ++length) {
    const size_t end = texts.size();
    for (size_t i = begin; i < end; ++i) {
      for (const std::string& character : kAlphabet) {
        texts.push_back(texts[i] + character);
      }
    }
    begin = end;
  }
  return texts;
}

absl::StatusOr<GrammarMatcher> MakeMatcher(
    const std::string& text,
    std::shared_ptr<const GrammarVocabulary> vocabulary = ByteVocabulary()) {
  auto grammar = Grammar::FromGbnf(text, std::move(vocabulary));
  if (!grammar.ok()) {
    return grammar.status();
  }
  return GrammarMatcher::Make(*std::move(grammar));
}

std::vector<uint64_t> MaskWords(const GrammarVocabulary& vocabulary) {
  return std::vector<uint64_t>(GrammarMatcher::Words(vocabulary.size()));
}

bool IsSet(const std::vector<uint64_t>& mask, TokenId token) {
  return (mask[static_cast<size_t>(token) / 64] >> (static_cast<size_t>(token) % 64) & 1) != 0;
}

// Each token's bit is what a copy says of it, and the bits behind them are clear.
bool MaskIsNaive(const GrammarMatcher& matcher, const GrammarVocabulary& vocabulary,
                 std::vector<uint64_t>& mask) {
  const auto allowed = matcher.Allowed(mask);
  REQUIRE_OK(allowed);
  int32_t count = 0;
  for (TokenId token = 0; token < static_cast<TokenId>(mask.size() * 64); ++token) {
    GrammarMatcher copy = matcher;
    const absl::Status advanced = copy.Advance(token);
    const bool expected = advanced.ok();
    if (advanced.code() == absl::StatusCode::kResourceExhausted) {
      count += IsSet(mask, token) ? 1 : 0;  // either is right
      continue;
    }
    count += expected ? 1 : 0;
    if (expected != IsSet(mask, token)) {
      UNSCOPED_INFO("token " << token << " '" << Escaped(vocabulary.Bytes(token)) << "' should be "
                             << expected);
      return false;
    }
  }
  return count == *allowed;
}

TEST_CASE("random grammars match what a recogniser that tries everything matches", "[grammar]") {
  Random random(Catch::rngSeed());
  const std::vector<std::string> texts = AllTexts(4);
  int matched = 0;
  int refused = 0;
  for (int round = 0; round < 400; ++round) {
    const RandomGrammar grammar = MakeGrammar(random);
    INFO("seed " << Catch::rngSeed() << ", grammar " << round << ":\n" << grammar.text);
    const auto start = MakeMatcher(grammar.text);
    if (!start.ok()) {
      REQUIRE(start.status().code() == absl::StatusCode::kInvalidArgument);
      ++refused;
      if (StatusOf(start).find("cannot match") != std::string::npos) {
        for (const std::string& text : texts) {
          REQUIRE_FALSE(NaiveRecogniser(grammar.rules, text).Accepts());
        }
      } else {
        REQUIRE_THAT(StatusOf(start), Catch::Contains("left recursion"));
      }
      continue;
    }
    for (const std::string& text : texts) {
      GrammarMatcher matcher = *start;
      const absl::Status advanced = matcher.AdvanceBytes(text);
      const bool accepted = advanced.ok() && matcher.CanEnd();
      const bool expected = NaiveRecogniser(grammar.rules, text).Accepts();
      matched += expected ? 1 : 0;
      if (accepted != expected) {
        CAPTURE(text, advanced.ToString());
        CHECK(accepted == expected);
        return;
      }
      // What is not refused can be completed.
      if (advanced.ok() && !matcher.CanEnd()) {
        auto mask = MaskWords(*ByteVocabulary());
        REQUIRE_OK(matcher.Allowed(mask));
      }
    }
  }
  CHECK(matched > 1'000);
  CHECK(refused < 350);
}

// Pieces of the tokens of a vocabulary, some cut inside characters, some longer than kClassBytes.
std::vector<std::string> RandomTokens(Random& random, size_t count,
                                      const std::vector<std::string>& pieces) {
  std::vector<std::string> tokens;
  while (tokens.size() < count) {
    std::string token;
    const size_t parts = 1 + (Below(random, 10) == 0 ? Below(random, 40) : Below(random, 6));
    const std::string& repeated = pieces[Below(random, pieces.size())];
    const bool repeats = Below(random, 4) == 0;
    for (size_t i = 0; i < parts; ++i) {
      token += repeats ? repeated : pieces[Below(random, pieces.size())];
    }
    const size_t from = Below(random, std::min<size_t>(3, token.size()));
    tokens.push_back(token.substr(from, token.size() - from - Below(random, 2)));
  }
  return tokens;
}

TEST_CASE("masks of random grammars are those of trying every token", "[grammar]") {
  Random random(Catch::rngSeed());
  const auto vocabulary = ByteVocabulary(RandomTokens(random, 300, kAlphabet));
  auto mask = MaskWords(*vocabulary);
  int checked = 0;
  for (int round = 0; round < 150; ++round) {
    const RandomGrammar grammar = MakeGrammar(random);
    auto matcher = MakeMatcher(grammar.text, vocabulary);
    if (!matcher.ok()) {
      continue;
    }
    std::string text;
    for (int step = 0; step < 6 && !matcher->Finished(); ++step) {
      INFO("seed " << Catch::rngSeed() << ", grammar " << round << ", behind '" << Escaped(text)
                   << "':\n"
                   << grammar.text);
      REQUIRE(MaskIsNaive(*matcher, *vocabulary, mask));
      ++checked;
      std::vector<TokenId> allowed;
      for (TokenId token = 1; token < vocabulary->size(); ++token) {
        if (IsSet(mask, token)) {
          allowed.push_back(token);
        }
      }
      if (allowed.empty()) {
        break;
      }
      const TokenId token = allowed[Below(random, allowed.size())];
      text += vocabulary->Bytes(token);
      REQUIRE_OK(matcher->Advance(token));
    }
  }
  CHECK(checked > 100);
}

TEST_CASE("masks of a large vocabulary are those of trying every token", "[grammar]") {
  Random random(Catch::rngSeed());
  std::vector<std::string> pieces = {"\"",
                                     "{",
                                     "}",
                                     "[",
                                     "]",
                                     ":",
                                     ",",
                                     " ",
                                     "  ",
                                     "\n",
                                     "1",
                                     "2.5",
                                     "-",
                                     "e+",
                                     "true",
                                     "null",
                                     "the",
                                     "ab",
                                     "\\",
                                     "\\n",
                                     "\\u00",
                                     "\u00e9",
                                     "\u4e2d\u6587",
                                     "\U0001F600",
                                     "name",
                                     "\",",
                                     "\": ",
                                     "\"}",
                                     "x",
                                     "word "};
  const auto vocabulary = ByteVocabulary(RandomTokens(random, 8'000, pieces));
  auto mask = MaskWords(*vocabulary);
  const std::string grammars[] = {
      JsonObjectGbnf(),
      "root ::= [^\"]{3,200} \"\\\"\" \"x\"?",
      "root ::= line{1,50}\nline ::= word (\" \" word)* \"\\n\"\n"
      "word ::= [a-z\u00e9]+ | [0-9]{1,3} (\".\" [0-9]+)?",
      // Words and white space run into one another.
      "root ::= (word ws)*\nword ::= [a-z] word | [a-z]\nws ::= [ \\n] ws | \"\"",
      "root ::= . root | \"\"",
      "root ::= [ab]* \"a\" [ab]{30} | .{2,} \"x\"",
  };
  for (const std::string& text : grammars) {
    auto matcher = MakeMatcher(text, vocabulary);
    REQUIRE_OK(matcher);
    std::string so_far;
    for (int step = 0; step < 25 && !matcher->Finished(); ++step) {
      INFO("seed " << Catch::rngSeed() << ", behind '" << Escaped(so_far) << "':\n" << text);
      REQUIRE(MaskIsNaive(*matcher, *vocabulary, mask));
      std::vector<TokenId> allowed;
      for (TokenId token = 1; token < vocabulary->size(); ++token) {
        if (IsSet(mask, token)) {
          allowed.push_back(token);
        }
      }
      if (allowed.empty()) {
        break;
      }
      const TokenId token = allowed[Below(random, allowed.size())];
      so_far += vocabulary->Bytes(token);
      REQUIRE_OK(matcher->Advance(token));
    }
  }
}

TEST_CASE("masks stay the same when there is no room to keep them", "[grammar]") {
  Random random(Catch::rngSeed());
  const auto vocabulary =
      ByteVocabulary(RandomTokens(random, 500, {"\"", "{", "}", "a", ":", "1"}));
  const auto kept = Grammar::FromGbnf(JsonObjectGbnf(), vocabulary);
  const auto not_kept = Grammar::FromGbnf(JsonObjectGbnf(), vocabulary, {}, 1'000);
  REQUIRE_OK(kept);
  REQUIRE_OK(not_kept);
  auto a = GrammarMatcher::Make(*kept);
  auto b = GrammarMatcher::Make(*not_kept);
  auto a_mask = MaskWords(*vocabulary);
  auto b_mask = MaskWords(*vocabulary);
  for (const char byte : std::string("{\"a\": [1, 22, {\"b\": \"x\"}], \"cc\": -0.5}")) {
    REQUIRE_OK(a->Allowed(a_mask));
    REQUIRE_OK(b->Allowed(b_mask));
    REQUIRE(a_mask == b_mask);
    REQUIRE_OK(a->AdvanceBytes(std::string_view(&byte, 1)));
    REQUIRE_OK(b->AdvanceBytes(std::string_view(&byte, 1)));
  }
  CHECK(a->CanEnd());
  CHECK((*kept)->masks().masks_bytes() > 1'000);
  CHECK((*not_kept)->masks().masks_bytes() <= 1'000 + 1'000);
}

TEST_CASE("tokens may begin and end inside a character", "[grammar]") {
  const auto vocabulary = ByteVocabulary({"a\xE2", "\x82\xAC\xE2", "\x82\xAC!", "\x82\xAD"});
  auto matcher = MakeMatcher("root ::= \"a\" [\u20ac]{2} \"!\"", vocabulary);
  REQUIRE_OK(matcher);
  auto mask = MaskWords(*vocabulary);
  REQUIRE(*matcher->Allowed(mask) == 2);  // 'a' and the first token
  CHECK(IsSet(mask, 257));
  REQUIRE_OK(matcher->Advance(257));
  REQUIRE(*matcher->Allowed(mask) == 2);
  CHECK(IsSet(mask, 1 + 0x82));
  CHECK(IsSet(mask, 258));
  REQUIRE_OK(matcher->Advance(258));
  REQUIRE(*matcher->Allowed(mask) == 2);
  CHECK(IsSet(mask, 259));
  CHECK_FALSE(matcher->CanEnd());
  REQUIRE_OK(matcher->Advance(259));
  CHECK(matcher->CanEnd());
}

TEST_CASE("the end of a text is allowed where the grammar may end", "[grammar]") {
  auto matcher = MakeMatcher("root ::= \"ab\" \"c\"?");
  REQUIRE_OK(matcher);
  auto mask = MaskWords(*ByteVocabulary());
  CHECK_FALSE(matcher->CanEnd());
  REQUIRE_STATUS(matcher->Advance(0), absl::StatusCode::kInvalidArgument,
                 "does not allow the text to end here");
  REQUIRE_OK(matcher->AdvanceBytes("ab"));
  CHECK(matcher->CanEnd());
  CHECK_FALSE(matcher->Finished());
  CHECK(*matcher->Allowed(mask) == 2);
  CHECK(IsSet(mask, 0));
  CHECK(IsSet(mask, 1 + 'c'));

  GrammarMatcher copy = *matcher;
  REQUIRE_OK(copy.Advance(1 + 'c'));
  CHECK(copy.Finished());
  CHECK(*copy.Allowed(mask) == 1);  // only the end
  REQUIRE_OK(copy.Advance(0));
  CHECK(*copy.Allowed(mask) == 0);
  CHECK(copy.CanEnd());
  CHECK_FALSE(copy.Advance(0).ok());
  CHECK_FALSE(copy.Advance(1 + 'c').ok());

  // The copy's way has not moved the matcher it was made from.
  CHECK(*matcher->Allowed(mask) == 2);
  REQUIRE_OK(matcher->Advance(0));
  CHECK(matcher->Finished());
}

TEST_CASE("a token that is refused changes nothing", "[grammar]") {
  auto matcher = MakeMatcher("root ::= \"(\" root \")\" | \"x\"", ByteVocabulary({"((y", "((x"}));
  REQUIRE_OK(matcher);
  REQUIRE_STATUS(matcher->Advance(257), absl::StatusCode::kInvalidArgument,
                 "the grammar does not allow '((y' here");
  REQUIRE_STATUS(matcher->Advance(999), absl::StatusCode::kInvalidArgument,
                 "token 999 is not in the vocabulary of 259");
  REQUIRE_STATUS(matcher->Advance(-1), absl::StatusCode::kInvalidArgument, "token -1");
  REQUIRE_OK(matcher->Advance(258));
  REQUIRE_STATUS(matcher->AdvanceBytes(")))"), absl::StatusCode::kInvalidArgument, "')))'");
  REQUIRE_OK(matcher->AdvanceBytes("))"));
  CHECK(matcher->CanEnd());
}

TEST_CASE("a special token is never allowed", "[grammar]") {
  const auto vocabulary =
      std::make_shared<const GrammarVocabulary>(ListTokenizer({"", "a", "<eos>", "b"}, {2}));
  auto matcher = MakeMatcher("root ::= .*", vocabulary);
  REQUIRE_OK(matcher);
  auto mask = MaskWords(*vocabulary);
  REQUIRE_OK(matcher->Allowed(mask));
  CHECK(mask[0] == 0b1110);
  REQUIRE_STATUS(matcher->Advance(0), absl::StatusCode::kInvalidArgument, "stands for no text");
  // A text for which the vocabulary lacks a token.
  auto lost = MakeMatcher("root ::= \"ac\"", vocabulary);
  REQUIRE_OK(lost->Advance(1));
  REQUIRE_STATUS(lost->Allowed(mask), absl::StatusCode::kFailedPrecondition, "no token");
}

TEST_CASE("ambiguity and nesting end at their limits, not in memory", "[grammar]") {
  SECTION("as many readings as there are ways to have read the text") {
    std::string text = "root ::= ";
    for (int i = 0; i < 1'200; ++i) {
      text += StrCat(i == 0 ? "" : " | ", "r", i, " \"", i, "\"");
    }
    for (int i = 0; i < 1'200; ++i) {
      text += StrCat("\nr", i, " ::= \"a\" (\"a\" r", i, " \"b\" | \"c\")");
    }
    const auto matcher = MakeMatcher(text);
    REQUIRE_STATUS(matcher, absl::StatusCode::kResourceExhausted, "more than 1024 ways");
  }
  SECTION("calls within one another") {
    auto matcher = MakeMatcher("root ::= \"(\" root \")\" | \"x\"");
    REQUIRE_OK(matcher);
    REQUIRE_OK(matcher->AdvanceBytes(std::string(16'000, '(')));
    REQUIRE_STATUS(matcher->AdvanceBytes(std::string(1'000, '(')),
                   absl::StatusCode::kResourceExhausted, "deeper than 16384");
    REQUIRE_OK(matcher->AdvanceBytes("x" + std::string(16'000, ')')));
    CHECK(matcher->CanEnd());
  }
  SECTION("recursion at the end of a rule takes no stack") {
    auto matcher = MakeMatcher("root ::= \"a\" root | \"\"");
    REQUIRE_OK(matcher);
    REQUIRE_OK(matcher->AdvanceBytes(std::string(100'000, 'a')));
    CHECK(matcher->CanEnd());
  }
  SECTION("many readings of a short text") {
    auto matcher = MakeMatcher("root ::= \"a\" root root | \"a\" root | \"a\"");
    REQUIRE_OK(matcher);
    REQUIRE_OK(matcher->AdvanceBytes(std::string(200, 'a')));
    CHECK(matcher->CanEnd());
    auto mask = MaskWords(*ByteVocabulary());
    CHECK(*matcher->Allowed(mask) == 2);
  }
}

}  // namespace
}  // namespace baton
