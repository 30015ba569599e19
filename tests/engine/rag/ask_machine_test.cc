#include "engine/rag/ask_machine.h"

#include <catch2/catch.hpp>

#include "engine/rag/passage.h"
#include "tests/support/status_matchers.h"

namespace baton {
namespace {

// One token a byte.
class ByteTokenizer final : public Tokenizer {
 public:
  std::vector<TokenId> Encode(std::string_view text) const override {
    std::vector<TokenId> ids;
    for (const char c : text) ids.push_back(static_cast<unsigned char>(c));
    return ids;
  }
  std::string TokenBytes(TokenId token, bool) const override {
    return std::string(1, static_cast<char>(token));
  }
  int32_t vocabulary() const override { return 256; }
  std::optional<TokenId> bos() const override { return std::nullopt; }
  bool add_bos() const override { return false; }
  bool IsEndOfText(TokenId token) const override { return token == 0; }
};

std::vector<ScoredPoint> Found(int count) {
  std::vector<ScoredPoint> points;
  for (int i = 0; i < count; ++i) {
    const std::string text = "Opening words. The ferry number " + std::to_string(i) + " sails.";
    const Document document{.id = "doc" + std::to_string(i), .title = "Ferries", .text = text};
    points.push_back(
        {.id = PassageId(document.id, 0),
         .score = 1.0f - 0.1f * static_cast<float>(i),
         .payload = MakePassagePayload(document, {0, static_cast<int64_t>(text.size())},
                                       {.passage = 0, .passages = 1})});
  }
  return points;
}

const ByteTokenizer kTokenizer;

TEST_CASE("with a model: embed, search, prepare, generate, finish") {
  AskMachine machine({.question = "Which ferry sails?", .k = 4, .max_tokens = 7}, {},
                     {.tokenizer = &kTokenizer, .context_tokens = 2000});
  CHECK(std::get<AskMachine::Embed>(machine.Start()).text == "Which ferry sails?");
  const auto search = std::get<AskMachine::Search>(machine.OnEmbedded({1, 2}));
  CHECK(search.query == std::vector<float>{1, 2});
  CHECK(search.k == 32);
  CHECK(std::holds_alternative<AskMachine::PrepareContext>(machine.OnFound()));
  auto context = machine.Prepare(Found(3));
  REQUIRE_OK(context);
  CHECK(context->passages.size() == 3);
  CHECK(context->passages[0].document_id == "doc0");
  const auto generate = std::get<AskMachine::Generate>(machine.OnPrepared(*context));
  CHECK(generate.max_tokens == 7);
  const std::string prompt(generate.prompt.begin(), generate.prompt.end());
  CHECK_THAT(prompt, Catch::Contains("ferry number 2") && Catch::Contains("Which ferry sails?"));
  const auto finish = std::get<AskMachine::Finish>(machine.OnGenerated({.model = "m"}, "All."));
  CHECK(finish.result.mode == AskMode::kGenerated);
  REQUIRE(finish.result.citations.size() == 3);
  const Citation& citation = finish.result.citations[1];
  CHECK(citation.number == 2);
  CHECK(citation.document_id == "doc1");
  CHECK(citation.quote == "The ferry number 1 sails.");
  CHECK(citation.begin == 15);
  CHECK(citation.end == citation.begin + std::ssize(citation.quote));
}

TEST_CASE("more passages are searched for than asked for, and the best kept") {
  const AskMachine machine({.question = "Which ferry is number 9?", .k = 2},
                           {.rerank_candidates = 12}, {.reason = "none"});
  CHECK(std::get<AskMachine::Search>(machine.OnEmbedded({1})).k == 12);
  auto found = Found(12);
  for (ScoredPoint& point : found) point.score = 0.5f;
  const auto context = machine.Prepare(found);
  REQUIRE_OK(context);
  REQUIRE(context->passages.size() == 2);
  CHECK(context->passages[0].document_id == "doc9");
  const AskMachine many({.question = "ferry?", .k = 40}, {.rerank_candidates = 12},
                        {.reason = "none"});
  CHECK(std::get<AskMachine::Search>(many.OnEmbedded({1})).k == 40);
}

TEST_CASE("passages are found by embedding, by words or by both") {
  const auto machine = [](std::optional<Retrieval> asked, const char* configured) {
    return AskMachine({.question = "Which ferry is number 9?", .k = 2, .retrieval = asked},
                      {.retrieval = configured}, {.reason = "none"});
  };
  const AskMachine dense = machine({}, "dense");
  CHECK(std::holds_alternative<AskMachine::Embed>(dense.Start()));
  CHECK(std::get<AskMachine::Search>(dense.OnEmbedded({1})).text.empty());
  for (const AskMachine& hybrid : {machine({}, "hybrid"), machine(Retrieval::kHybrid, "text")}) {
    CHECK(std::holds_alternative<AskMachine::Embed>(hybrid.Start()));
    const auto search = std::get<AskMachine::Search>(hybrid.OnEmbedded({1}));
    CHECK(search.query == std::vector<float>{1});
    CHECK(search.text == "Which ferry is number 9?");
  }
  const AskMachine text = machine(Retrieval::kText, "dense");
  const auto search = std::get<AskMachine::Search>(text.Start());
  CHECK(search.query.empty());
  CHECK(search.text == "Which ferry is number 9?");
  CHECK(search.k == 32);

  // By words alone, what counts is the share of the question's words.
  auto found = Found(12);
  for (ScoredPoint& point : found) {
    point.parts = ScoreParts{.text_score = point.score, .text_rank = 1};
  }
  auto context = text.Prepare(found);
  REQUIRE_OK(context);
  CHECK(context->passages[0].document_id == "doc9");
  CHECK(context->passages[0].score > 0.5);
  CHECK(context->passages[0].score <= 1);
  // What no embedding found is as near as the farthest that one did.
  for (size_t i = 0; i < found.size(); ++i) {
    found[i].score = 0.01f;
    found[i].parts = ScoreParts{};
    if (i < 2) found[i].parts = ScoreParts{.dense_score = i == 0 ? 0.9f : 0.6f, .dense_rank = 1};
  }
  context = machine({}, "hybrid").Prepare(found);
  REQUIRE_OK(context);
  CHECK(context->passages[0].document_id == "doc9");
  CHECK(context->passages[0].score > 0.6 * 2 / 3);
}

TEST_CASE("the citations are the passages that the answer names") {
  const auto numbers = [](std::string_view answer) {
    AskMachine machine({.question = "Which ferry sails?"}, {},
                       {.tokenizer = &kTokenizer, .context_tokens = 2000});
    auto context = machine.Prepare(Found(3));
    REQUIRE_OK(context);
    machine.OnPrepared(*std::move(context));
    const auto result = std::get<AskMachine::Finish>(machine.OnGenerated({}, answer)).result;
    CHECK(result.mode == AskMode::kGenerated);
    std::vector<int32_t> cited;
    for (const Citation& citation : result.citations) cited.push_back(citation.number);
    return cited;
  };
  CHECK(numbers(" Number 1 [2], and number 0 [1].") == std::vector<int32_t>{1, 2});
  CHECK(numbers(" Number 1 [7].") == std::vector<int32_t>{1, 2, 3});
  CHECK(numbers(" Not in the documents.").empty());
}

TEST_CASE("passages below rag.answer_score_min answer nothing") {
  auto found = Found(2);
  found[0].score = 1.0f;
  found[1].score = -1.0f;
  const AskMachine::Writer model = {.tokenizer = &kTokenizer, .context_tokens = 2000};
  AskMachine some({.question = "ferry?"}, {.answer_score_min = 0.3}, model);
  const auto context = some.Prepare(found);
  REQUIRE_OK(context);
  CHECK(context->passages.size() == 2);
  REQUIRE(context->citations.size() == 1);
  CHECK(context->citations[0].document_id == "doc0");

  AskMachine none({.question = "moon?"}, {.answer_score_min = 0.9}, model);
  auto nothing = none.Prepare(found);
  REQUIRE_OK(nothing);
  CHECK(nothing->prompt.empty());
  const auto finish = std::get<AskMachine::Finish>(none.OnPrepared(*std::move(nothing)));
  CHECK(finish.result.mode == AskMode::kNothingFound);
  CHECK(finish.result.citations.empty());
  CHECK_THAT(finish.result.mode_reason, Catch::Contains("rag.answer_score_min, 0.9"));
}

TEST_CASE("only passages that are in the prompt are cited") {
  SECTION("bounded by rag.context_passages_max") {
    AskMachine machine({.question = "ferry?"}, {.context_passages_max = 2},
                       {.tokenizer = &kTokenizer, .context_tokens = 2000});
    const auto context = machine.Prepare(Found(5));
    REQUIRE_OK(context);
    CHECK(context->passages.size() == 5);
    CHECK(context->citations.size() == 2);
    REQUIRE(context->quotable.size() == 3);
    CHECK(context->quotable[0] == kTokenizer.Encode(context->passages[2].text));
  }
  SECTION("of each the sentences that rag.context_sentences_max allows") {
    AskMachine machine({.question = "Which ferry sails?"}, {.context_sentences_max = 1},
                       {.tokenizer = &kTokenizer, .context_tokens = 2000});
    const auto context = machine.Prepare(Found(3));
    REQUIRE_OK(context);
    const std::string prompt(context->prompt.begin(), context->prompt.end());
    CHECK_THAT(prompt, Catch::Contains("[3] Ferries: The ferry number 2 sails.\n"));
    CHECK_THAT(prompt, !Catch::Contains("Opening words"));
    CHECK_THAT(context->passages[0].text, Catch::Contains("Opening words"));
    REQUIRE(context->quotable.size() == 3);  // what was left out of them is there to be quoted
    CHECK(context->quotable[0] == kTokenizer.Encode(context->passages[0].text));
  }
  SECTION("bounded by the model's context, half of which is left for the answer at most") {
    AskMachine machine({.question = "ferry?", .max_tokens = 100'000}, {},
                       {.tokenizer = &kTokenizer, .context_tokens = 500});
    auto context = machine.Prepare(Found(5));
    REQUIRE_OK(context);
    CHECK(context->prompt.size() <= 250);
    CHECK(context->quotable.size() == 5 - context->citations.size());
    CHECK(context->citations.size() < 5);
    CHECK_FALSE(context->citations.empty());
    CHECK(std::get<AskMachine::Generate>(machine.OnPrepared(*context)).max_tokens == 250);
  }
}

TEST_CASE("passages beside those of the prompt may be quoted, too") {
  const auto stored = [](int32_t number, int32_t passages) {
    const std::string text = "The ferry sails on day " + std::to_string(number) + ".";
    const Document document{.id = "long", .title = "Ferries", .text = text};
    return Point{.id = PassageId("long", number),
                 .vector = {},
                 .payload = MakePassagePayload(document, {0, static_cast<int64_t>(text.size())},
                                               {.passage = number, .passages = passages})};
  };
  const auto found = [&](std::vector<int32_t> numbers) {
    std::vector<ScoredPoint> points;
    for (const int32_t number : numbers) {
      const Point point = stored(number, 40);
      points.push_back({.id = point.id,
                        .score = 1.0f - 0.01f * static_cast<float>(points.size()),
                        .payload = point.payload});
    }
    return points;
  };
  const auto texts = [](const AskMachine::Context& context) {
    std::vector<std::string> all;
    for (const auto& tokens : context.quotable) all.emplace_back(tokens.begin(), tokens.end());
    return all;
  };
  const AskMachine::Writer writer = {.tokenizer = &kTokenizer, .context_tokens = 4000};

  SECTION("on either side, but for what was retrieved") {
    const AskMachine machine({.question = "When?", .k = 4}, {.context_passages_max = 1}, writer);
    auto context = machine.Prepare(found({5, 6}));
    REQUIRE_OK(context);
    CHECK(context->citations.size() == 1);
    CHECK(context->neighbours == std::vector{PassageId("long", 4)});
    CHECK(texts(*context) == std::vector<std::string>{"The ferry sails on day 6."});
    // What a client has put in its place is no passage.
    machine.AddNeighbours({stored(4, 40), Point{.id = 7}}, *context);
    CHECK(texts(*context) ==
          std::vector<std::string>{"The ferry sails on day 6.", "The ferry sails on day 4."});
  }
  SECTION("none before the first, each once") {
    const AskMachine machine({.question = "When?", .k = 4}, {}, writer);
    auto context = machine.Prepare(found({0, 2}));
    REQUIRE_OK(context);
    CHECK(context->neighbours == std::vector{PassageId("long", 1), PassageId("long", 3)});
  }
  SECTION("of many, those of the best") {
    const AskMachine machine({.question = "When?", .k = 20}, {.context_passages_max = 20}, writer);
    std::vector<int32_t> numbers;
    for (int32_t i = 0; i < 12; ++i) numbers.push_back(3 * i + 1);
    auto context = machine.Prepare(found(numbers));
    REQUIRE_OK(context);
    CHECK(context->neighbours.size() == 16);
    CHECK(context->neighbours.front() == PassageId("long", 2));
  }
  SECTION("where nothing is generated, none") {
    const AskMachine machine({.question = "When?", .k = 4}, {}, {.reason = "none"});
    auto context = machine.Prepare(found({5}));
    REQUIRE_OK(context);
    CHECK(context->neighbours.empty());
  }
}

TEST_CASE("a verbatim answer is a sentence of the prompt, and is what it cites") {
  const AskMachine::Writer writer = {.tokenizer = &kTokenizer, .context_tokens = 2000};
  AskMachine machine({.question = "Which ferry sails?", .verbatim = true},
                     {.context_passages_max = 2}, writer);
  auto context = machine.Prepare(Found(3));
  REQUIRE_OK(context);
  CHECK(
      context->grammar ==
      "root ::= \" \"? (\"Not in the documents.\" | \"Opening words. [1]\" | \"The ferry number 0 "
      "sails. [1]\" | \"Opening words. [2]\" | \"The ferry number 1 sails. [2]\")\n");
  machine.OnPrepared(*std::move(context));
  auto finish = std::get<AskMachine::Finish>(
      machine.OnGenerated({.model = "m"}, " The ferry number 1 sails. [2]"));
  REQUIRE(finish.result.citations.size() == 1);
  CHECK(finish.result.citations[0].number == 2);
  CHECK(finish.result.citations[0].document_id == "doc1");
  CHECK(finish.result.citations[0].quote == "The ferry number 1 sails.");
  CHECK(finish.result.citations[0].begin == 15);
  finish =
      std::get<AskMachine::Finish>(machine.OnGenerated({.model = "m"}, " Not in the documents."));
  CHECK(finish.result.citations.empty());
  // Of several answers each has its own.
  finish = std::get<AskMachine::Finish>(
      machine.OnGenerated({.model = "m"}, " The ferry number 0 sails. [1]"));
  REQUIRE(finish.result.citations.size() == 1);
  CHECK(finish.result.citations[0].number == 1);

  // The server's setting, and what comes before it.
  const auto grammar = [&](AskRequest request, int32_t sentences = 0) {
    request.question = "Which ferry sails?";
    const AskMachine asked(
        std::move(request),
        {.context_passages_max = 1, .context_sentences_max = sentences, .answers = "verbatim"},
        writer);
    const auto prepared = asked.Prepare(Found(1));
    REQUIRE_OK(prepared);
    return prepared->grammar;
  };
  CHECK_THAT(grammar({}), Catch::Contains("Opening words. [1]"));
  CHECK_THAT(grammar({}, 1), Catch::Contains("number 0 sails. [1]") && !Catch::Contains("Opening"));
  CHECK(grammar({.verbatim = false}).empty());
  CHECK(grammar({.constraint = {TextConstraint::Kind::kJsonObject, ""}}).empty());
  CHECK(grammar({.retrieval_only = true}).empty());
}

TEST_CASE("a model that brings a chat template is asked through it, unless that is off") {
  const ChatTemplates templates(
      {{.name = "default",
        .text = "{% for m in messages %}<{{ m.role }}>{{ m.content }}</>{% endfor %}<assistant>"}},
      {});
  const ChatTemplates broken({{.name = "default", .text = "{{"}}, {});
  const ChatTemplates refusing({{.name = "default", .text = "{{ raise_exception('no') }}"}}, {});
  const auto prepare = [](const ChatTemplates* of_model, const std::string& setting) {
    AskMachine machine(
        {.question = "Which ferry sails?"}, {.chat_template = setting},
        {.tokenizer = &kTokenizer, .chat_templates = of_model, .context_tokens = 2000});
    return machine.Prepare(Found(2));
  };
  const auto prompt_of = [&](const ChatTemplates* of_model, const std::string& setting) {
    const auto context = prepare(of_model, setting);
    REQUIRE_OK(context);
    return std::string(context->prompt.begin(), context->prompt.end());
  };
  const std::string chat = prompt_of(&templates, "auto");
  CHECK_THAT(chat, Catch::StartsWith("<user>Answer the question from the numbered passages"));
  CHECK_THAT(chat, Catch::Contains("[1] Ferries: "));
  CHECK_THAT(chat, Catch::EndsWith("Question: Which ferry sails?</><assistant>"));
  const std::string plain = prompt_of(nullptr, "auto");
  CHECK_THAT(plain, Catch::EndsWith("Question: Which ferry sails?\nAnswer:"));
  CHECK(prompt_of(&templates, "off") == plain);
  CHECK(prompt_of(&broken, "auto") == plain);
  REQUIRE_STATUS(prepare(&refusing, "auto"), absl::StatusCode::kInvalidArgument,
                 "the template refuses: no");
}

TEST_CASE("without a model, or asked so, the passages are the answer") {
  const auto result_of = [](AskRequest request, AskMachine::Writer writer, int found) {
    AskMachine machine(std::move(request), {}, std::move(writer));
    auto context = machine.Prepare(Found(found));
    REQUIRE_OK(context);
    CHECK(context->prompt.empty());
    return std::get<AskMachine::Finish>(machine.OnPrepared(*std::move(context))).result;
  };
  const AskResult no_model = result_of({.question = "ferry?"}, {.reason = "no model here"}, 2);
  CHECK(no_model.mode == AskMode::kRetrievalOnly);
  CHECK(no_model.mode_reason == "no model here");
  CHECK(no_model.citations.size() == 2);

  const AskResult asked = result_of({.question = "ferry?", .retrieval_only = true},
                                    {.tokenizer = &kTokenizer, .context_tokens = 2000}, 2);
  CHECK(asked.mode == AskMode::kRetrievalOnly);
  CHECK_THAT(asked.mode_reason, Catch::Contains("asked for retrieval only"));

  const AskResult nothing =
      result_of({.question = "ferry?"}, {.tokenizer = &kTokenizer, .context_tokens = 2000}, 0);
  CHECK(nothing.mode == AskMode::kNothingFound);
  CHECK(nothing.citations.empty());
}

TEST_CASE("a reranker's scores order the passages instead of the question's words") {
  const AskMachine machine({.question = "Which ferry is number 0?", .k = 2},
                           {.answer_score_min = 0.5}, {.reason = "none"});
  const auto found = Found(4);
  const auto texts = AskMachine::PassageTexts(found);
  REQUIRE_OK(texts);
  REQUIRE(texts->size() == 4);
  CHECK((*texts)[3] == "Ferries\nOpening words. The ferry number 3 sails.");
  const auto context = machine.Prepare(found, {{0.1f, 0.2f, 0.9f, 0.4f}});
  REQUIRE_OK(context);
  REQUIRE(context->passages.size() == 2);
  CHECK(context->passages[0].document_id == "doc2");
  CHECK(context->passages[0].score == 0.9f);
  CHECK(context->passages[1].document_id == "doc3");
  CHECK(context->citations.size() == 1);  // the other is below answer_score_min
  REQUIRE_STATUS(AskMachine::PassageTexts({{.id = 7}}), absl::StatusCode::kInvalidArgument,
                 "document_id");
}

TEST_CASE("a question that does not fit and a point that is no passage are errors") {
  const AskMachine small({.question = std::string(400, 'q')}, {},
                         {.tokenizer = &kTokenizer, .context_tokens = 300});
  REQUIRE_STATUS(small.Prepare(Found(1)), absl::StatusCode::kInvalidArgument, "question");
  const AskMachine machine({.question = "q"}, {}, {.reason = "none"});
  REQUIRE_STATUS(machine.Prepare({{.id = 7}}), absl::StatusCode::kInvalidArgument, "document_id");
}

}  // namespace
}  // namespace baton
