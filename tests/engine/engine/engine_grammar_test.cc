// Texts that must match a grammar, through the whole engine.
#include <algorithm>
#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "engine/base/strings.h"
#include "engine/engine.h"
#include "engine/model/grammar/gbnf_parser.h"
#include "engine/model/grammar/matcher.h"
#include "tests/engine/engine/engine_fixture.h"

namespace baton {
namespace {

using Kind = TextConstraint::Kind;
constexpr TokenId kEndOfText = 2;
constexpr char kList[] =
    "root ::= \"[\" item (\", \" item){1,3} \"]\"\nitem ::= [0-9]{1,3} | word\n"
    "word ::= \"the\" | \"cat\" | \"one two three\"\n";
constexpr char kSchema[] = R"({"type": "object", "properties": {
    "name": {"type": "string", "maxLength": 8},
    "age": {"type": "integer", "minimum": 0, "maximum": 120},
    "tags": {"type": "array", "items": {"enum": ["red", "green"]}, "minItems": 1, "maxItems": 3}},
    "required": ["name", "age", "tags"]})";

struct Fixture : EngineFixture {
  explicit Fixture(int32_t draft_tokens_max = 0) {
    AddRandomModel({.context_tokens = 256});
    options.schedule.draft_tokens_max = draft_tokens_max;
    Start();
  }
  std::shared_ptr<GenerateRecorder> Begin(GenerateRequest request) {
    auto sink = std::make_shared<GenerateRecorder>();
    REQUIRE_OK(engine->Submit(std::move(request), sink));
    return sink;
  }
  std::shared_ptr<GenerateRecorder> RunWell(GenerateRequest request) {
    auto sink = Begin(std::move(request));
    REQUIRE_OK(sink->Wait().status);
    return sink;
  }
  // Whether the text of a completion is one of the grammar, read by another matcher.
  static bool Matches(const std::string& gbnf, const std::string& text) {
    const auto rules = ParseGbnf(gbnf, {});
    REQUIRE_OK(rules);
    auto automaton = CompileGrammar(*rules, {});
    REQUIRE_OK(automaton);
    GrammarStepper stepper(*automaton);
    stepper.AllowWork(1'000'000);
    std::vector<GrammarReading> readings;
    GrammarStacks stacks;
    bool ended = false;
    REQUIRE(stepper.Enter({automaton->root, GrammarStacks::kBottom}, stacks, readings, ended));
    for (const char byte : text) {
      const size_t count = readings.size();
      REQUIRE(stepper.Step(0, count, static_cast<uint8_t>(byte), stacks, readings, ended));
      readings.erase(readings.begin(), readings.begin() + static_cast<std::ptrdiff_t>(count));
      if (count == 0) return false;
    }
    return ended;
  }
};

GenerateRequest Constrained(Kind kind, std::string text, float temperature, uint64_t seed = 1) {
  GenerateRequest request{.prompt = std::string("one two three one two three the cat"),
                          .max_tokens = 120,
                          .constraint = {.kind = kind, .text = std::move(text)}};
  request.sampling.temperature = temperature;
  request.sampling.seed = seed;
  return request;
}

void CheckPerson(const std::string& text) {
  CAPTURE(text);
  const auto person = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  REQUIRE(person.is_object());
  CHECK(person.size() == 3);
  CHECK(person.at("name").is_string());
  CHECK(person.at("age").is_number_integer());
  CHECK(person.at("age") >= 0);
  CHECK(person.at("age") <= 120);
  REQUIRE(person.at("tags").is_array());
  CHECK((person.at("tags").size() >= 1 && person.at("tags").size() <= 3));
  for (const auto& tag : person.at("tags")) CHECK((tag == "red" || tag == "green"));
}

TEST_CASE("texts are of their grammar, greedy and sampled, with guesses and without") {
  std::vector<std::vector<TokenId>> ids[2];
  int64_t accepted = 0;
  for (const int drafts : {0, 1}) {
    Fixture f(drafts * 16);
    for (uint64_t seed = 1; seed <= 12; ++seed) {
      const float temperature = seed <= 2 ? 0.0f : seed <= 7 ? 0.8f : 2.0f;
      const auto list = f.RunWell(Constrained(Kind::kGrammar, kList, temperature, seed));
      CAPTURE(list->text);
      CHECK(Fixture::Matches(kList, list->text));
      CHECK(list->completions.at(0).result.reason == FinishReason::kStop);
      ids[drafts].push_back(list->ids);
      accepted += list->completions.at(0).result.draft_tokens_accepted;

      const auto person = f.RunWell(Constrained(Kind::kJsonSchema, kSchema, temperature, seed));
      CheckPerson(person->text);
      CHECK(person->completions.at(0).result.reason == FinishReason::kStop);
      ids[drafts].push_back(person->ids);
      accepted += person->completions.at(0).result.draft_tokens_accepted;
    }
  }
  CHECK(ids[0] == ids[1]);
  CHECK(accepted > 0);
}

TEST_CASE("a text that repeats under its grammar is guessed") {
  const auto run = [](int32_t drafts) {
    Fixture f(drafts);
    return f.RunWell(Constrained(Kind::kGrammar, "root ::= (\"one two three \"){8}", 0.0f));
  };
  const auto plain = run(0);
  const auto drafted = run(16);
  CHECK(plain->ids == drafted->ids);
  const GenerateResult& result = drafted->completions.at(0).result;
  CHECK(result.draft_tokens_accepted > 10);
  CHECK(result.reason == FinishReason::kStop);
  // The end was found among guesses: nothing behind it was delivered.
  CHECK(drafted->text.size() == 8 * 14);
}

TEST_CASE("any JSON object") {
  Fixture f;
  GenerateRequest request = Constrained(Kind::kJsonObject, "", 0.7f);
  for (uint64_t seed = 1; seed <= 6; ++seed) {
    request.sampling.seed = seed;
    const auto sink = f.RunWell(request);
    CAPTURE(sink->text);
    REQUIRE_FALSE(sink->text.empty());
    CHECK(sink->text.front() == '{');
    if (sink->completions.at(0).result.reason == FinishReason::kStop) {
      CHECK(nlohmann::json::accept(sink->text));
    } else {
      CHECK(sink->completions.at(0).result.generated_tokens == 120);
    }
  }
}

TEST_CASE("several completions each follow the grammar by themselves") {
  Fixture f;
  GenerateRequest request = Constrained(Kind::kJsonSchema, kSchema, 1.5f);
  request.completions = 6;
  const auto sink = f.RunWell(request);
  REQUIRE(sink->completions.size() == 6);
  std::vector<std::vector<TokenId>> different;
  for (const auto& [index, completion] : sink->completions) {
    const std::string text = DecodeAll(f.models[0]->tokenizer(), completion.ids);
    CheckPerson(text);
    different.push_back(completion.ids);
  }
  std::sort(different.begin(), different.end());
  CHECK(std::unique(different.begin(), different.end()) - different.begin() > 1);
}

TEST_CASE("biases choose among what the grammar allows, and no more") {
  Fixture f;
  const auto& tokenizer = f.models[0]->tokenizer();
  TokenId x = -1;
  TokenId b = -1;
  for (TokenId token = 0; token < tokenizer.vocabulary(); ++token) {
    if (tokenizer.TokenBytes(token, false) == "x") x = token;
    if (tokenizer.TokenBytes(token, false) == "b") b = token;
  }
  REQUIRE((x >= 0 && b >= 0));
  GenerateRequest request = Constrained(Kind::kGrammar, "root ::= [ab]{6}", 0.0f);
  request.sampling.logit_bias = {{x, 100}, {b, 100}, {kEndOfText, 100}};
  CHECK(f.RunWell(request)->text == "bbbbbb");
  request.constraint.text = "root ::= \"b\"{4} | \"b\"{2}";
  request.sampling.logit_bias[kEndOfText] = -100;
  request.sampling.logit_bias[b] = -100;  // what alone is left comes all the same
  CHECK(f.RunWell(request)->text == "bbbb");
}

TEST_CASE("where a text may end: end-of-text, min_tokens, ignore_eos, stops, max_tokens") {
  Fixture f;
  const auto& tokenizer = f.models[0]->tokenizer();
  GenerateRequest request = Constrained(Kind::kGrammar, "root ::= \"a\"+", 0.0f);
  request.sampling.logit_bias = {{kEndOfText, 100}};
  const auto result = [](const auto& sink) { return sink->completions.at(0).result; };

  // End-of-text comes as soon as it may, and not before min_tokens.
  auto sink = f.RunWell(request);
  CHECK(result(sink).generated_tokens == 1);
  CHECK(result(sink).reason == FinishReason::kStop);
  CHECK(std::get<TokenId>(result(sink).stop) == kEndOfText);
  request.stop.min_tokens = 5;
  CHECK(result(f.RunWell(request)).generated_tokens == 5);
  // Where nothing can follow, min_tokens gives way, and no token has ended the text.
  request.constraint.text = "root ::= \"a\"{3}";
  sink = f.RunWell(request);
  CHECK(sink->text == "aaa");
  CHECK(result(sink).reason == FinishReason::kStop);
  CHECK(std::holds_alternative<std::monostate>(result(sink).stop));
  request.stop.min_tokens = 0;

  // Ignored, end-of-text is no text; the text still ends with its grammar.
  request.ignore_eos = true;
  CHECK(f.RunWell(request)->text == "aaa");
  request.constraint.text = "root ::= \"a\"+";
  request.max_tokens = 7;
  sink = f.RunWell(request);
  CHECK(result(sink).generated_tokens == 7);
  CHECK(result(sink).reason == FinishReason::kLength);
  CHECK(sink->text.find_first_not_of('a') == std::string::npos);
  request.ignore_eos = false;
  request.sampling.logit_bias = {};

  // A text that is complete with its last token has not been cut short.
  request.constraint.text = "root ::= \"one\"";
  request.max_tokens = f.RunWell(request)->completions.at(0).result.generated_tokens;
  CHECK(result(f.RunWell(request)).reason == FinishReason::kStop);
  request.max_tokens = 20;

  // A stop string ends the text before it is complete.
  request.constraint.text = "root ::= \"abcdef\"";
  request.stop.strings = {"cd"};
  sink = f.RunWell(request);
  CHECK(sink->text == "ab");
  CHECK(result(sink).reason == FinishReason::kStopString);
  request.stop.strings.clear();

  // A stop token that spells text is text to the grammar, and ends it where it comes.
  TokenId a = -1;
  TokenId c = -1;
  for (TokenId token = 0; token < tokenizer.vocabulary(); ++token) {
    if (tokenizer.TokenBytes(token, false) == "a") a = token;
    if (tokenizer.TokenBytes(token, false) == "c") c = token;
  }
  request.sampling.logit_bias = {{a, 50}, {c, 100}};  // of all that spell the same
  request.constraint.text = "root ::= \"a\"{2} \"c\" \"a\"{2}";
  request.stop.tokens = {c};
  sink = f.RunWell(request);
  CHECK(sink->text == "aa");
  CHECK(result(sink).reason == FinishReason::kStopToken);
  request.stop.min_tokens = 5;
  CHECK(f.RunWell(request)->text == "aacaa");
  // One that spells nothing is as end-of-text: <s>.
  request.stop = {.tokens = {1}};
  request.constraint.text = "root ::= \"a\"{2,}";
  request.sampling.logit_bias = {{1, 100}};
  sink = f.RunWell(request);
  CHECK(sink->text == "aa");
  CHECK(result(sink).reason == FinishReason::kStopToken);
}

TEST_CASE("a constraint that is wrong is refused, one that fails later ends its request alone") {
  Fixture f;
  const auto refused = [&f](Kind kind, const std::string& text, const std::string& message) {
    REQUIRE_STATUS(f.Begin(Constrained(kind, text, 0))->Wait().status,
                   absl::StatusCode::kInvalidArgument, message);
  };
  refused(Kind::kGrammar, "root ::= a", "grammar line 1, column 10: the rule a is not defined");
  refused(Kind::kGrammar, "root ::= \"\"", "grammar: it matches no text but the empty one");
  refused(Kind::kJsonSchema, "[]", "json_schema at #: a schema is an object or true");
  // Behind "xx" the text could be read in more ways than are followed. Others run meanwhile.
  std::string ambiguous = "root ::= \"xx\" (";
  std::string rules;
  for (int i = 0; i < 1'200; ++i) {
    ambiguous += StrCat(i == 0 ? "" : " | ", "r", i, " \"", i, "\"");
    rules += StrCat("\nr", i, " ::= \"a\" (\"a\" r", i, " \"b\" | \"c\")");
  }
  auto beside = std::make_shared<GenerateRecorder>();
  REQUIRE_OK(f.engine->Submit(Constrained(Kind::kJsonSchema, kSchema, 1), beside));
  refused(Kind::kGrammar, ambiguous + ")" + rules,
          "grammar: no token of the vocabulary continues the text, which is not complete, within "
          "1024 ways");
  REQUIRE_OK(beside->Wait().status);
  CheckPerson(beside->text);
  const auto sink = f.RunWell(Constrained(Kind::kGrammar, kList, 0));
  CHECK(Fixture::Matches(kList, sink->text));
  CHECK(f.engine->InFlight() == 0);
}

}  // namespace
}  // namespace baton
