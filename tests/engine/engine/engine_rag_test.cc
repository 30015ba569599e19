#include <algorithm>
#include <catch2/catch.hpp>
#include <random>
#include <set>
#include <string>

#include "engine/engine.h"
#include "tests/engine/engine/engine_fixture.h"

namespace baton {
namespace {

absl::StatusOr<IngestResult> Ingest(Engine& engine, IngestRequest request) {
  return Call<IngestResult>(
      [&](Done<IngestResult> done) { return engine.Submit(request, std::move(done)); });
}

struct Asked {
  std::shared_ptr<AskRecorder> sink = std::make_shared<AskRecorder>();
  absl::Status status;
  AskResult result;
};

Asked Ask(Engine& engine, AskRequest request) {
  Asked asked;
  const auto id = engine.Submit(std::move(request), asked.sink);
  if (!id.ok()) {
    asked.status = id.status();
    return asked;
  }
  auto outcome = asked.sink->Wait();
  asked.status = outcome.status;
  asked.result = std::move(outcome.result);
  return asked;
}

// An invented name that no text holds by chance.
std::string Name(std::mt19937& random) {
  std::string name;
  for (int i = 0; i < 4; ++i) {
    name += "bdfgklmnprstvz"[random() % 14];
    name += "aeiou"[random() % 5];
  }
  name[0] = static_cast<char>(name[0] - 'a' + 'A');
  return name;
}

TEST_CASE("facts made up at run time are each cited in the answer to their question") {
  const auto seed = std::random_device{}();
  CAPTURE(seed);
  std::mt19937 random(seed);
  EngineFixture f;
  Engine& engine = f.Start();
  struct Fact {
    std::string subject, sentence;
  };
  std::vector<Fact> facts;
  IngestRequest ingest{.collection = "facts"};
  for (int d = 0; d < 5; ++d) {
    std::string text;
    for (int i = 0; i < 8; ++i) {
      const std::string subject = Name(random);
      facts.push_back({subject, "The tower of " + subject + " is " +
                                    std::to_string(10 + random() % 900) + " metres tall."});
      text += facts.back().sentence + " Visitors come in spring. The road is closed at night.\n\n";
    }
    ingest.documents.push_back({.id = "doc" + std::to_string(d), .title = "Towers", .text = text});
  }
  const auto ingested = Ingest(engine, ingest);
  REQUIRE_OK(ingested);
  CHECK(ingested->documents == 5);
  CHECK(ingested->passages >= 5);

  for (const Fact& fact : facts) {
    const Asked asked = Ask(engine, {.collection = "facts",
                                     .question = "How tall is the tower of " + fact.subject + "?",
                                     .k = 3});
    REQUIRE_OK(asked.status);
    CHECK(asked.result.mode == AskMode::kRetrievalOnly);
    CHECK_THAT(asked.result.mode_reason, Catch::Contains("no language model is configured"));
    CAPTURE(fact.sentence);
    bool cited = false;
    for (const Citation& citation : asked.result.citations) {
      cited |= citation.quote == fact.sentence;
    }
    CHECK(cited);
    CHECK(asked.result.timings.stages.at(0).name == "embed");
    CHECK(asked.result.timings.stages.at(1).name == "search");
  }
}

TEST_CASE("a document ingested again replaces its passages") {
  EngineFixture f;
  Engine& engine = f.Start();
  std::string text;
  for (int i = 0; i < 40; ++i) text += "Sentence number " + std::to_string(i) + " stands here.\n\n";
  IngestRequest request{
      .collection = "docs", .documents = {{.id = "a", .text = text}}, .passage_chars_max = 64};
  const auto first = Ingest(engine, request);
  REQUIRE_OK(first);
  REQUIRE(first->passages > 10);
  request.documents[0].text = "Only this is left.";
  const auto second = Ingest(engine, request);
  REQUIRE_OK(second);
  CHECK(second->passages == 1);
  CHECK(second->passages_removed == first->passages - 1);
  CHECK(engine.DescribeCollection("docs")->points == 1);
  const Asked asked = Ask(engine, {.collection = "docs", .question = "What is left?"});
  REQUIRE(asked.sink->passages.size() == 1);
  CHECK(asked.sink->passages[0].text == "Only this is left.");
}

TEST_CASE("with a model the answer is generated from cited passages, stage by stage") {
  EngineFixture f;
  f.AddRandomModel({.context_tokens = 256});
  f.options.rag.answer_tokens_max = 8;
  Engine& engine = f.Start();
  REQUIRE_OK(Ingest(engine, {.collection = "docs",
                             .documents = {{.id = "a", .text = "The bell rings at nine."},
                                           {.id = "b", .text = "The ferry leaves at noon."}}}));
  Asked asked = Ask(engine, {.collection = "docs", .question = "When does the ferry leave?"});
  REQUIRE_OK(asked.status);
  CHECK(asked.result.mode == AskMode::kGenerated);
  CHECK(asked.result.generated.generated_tokens >= 0);
  CHECK(asked.result.generated.generated_tokens <= 8);
  REQUIRE_FALSE(asked.result.citations.empty());
  CHECK(asked.result.citations[0].document_id == "b");
  CHECK(asked.result.citations[0].number == 1);
  std::vector<std::string> names;
  for (const Stage& stage : asked.result.timings.stages) names.push_back(stage.name);
  REQUIRE(names.size() >= 3);
  CHECK(names[0] == "embed");
  CHECK(names[1] == "search");
  CHECK(names[2] == "prefill");

  asked = Ask(engine, {.collection = "docs", .question = "ferry?", .retrieval_only = true});
  CHECK(asked.result.mode == AskMode::kRetrievalOnly);
  CHECK(asked.sink->ids.empty());
}

TEST_CASE("several answers rest on one retrieval") {
  EngineFixture f;
  f.AddRandomModel({.context_tokens = 256});
  f.options.rag.answer_tokens_max = 12;
  Engine& engine = f.Start();
  REQUIRE_OK(Ingest(engine, {.collection = "docs",
                             .documents = {{.id = "a", .text = "The bell rings at nine."},
                                           {.id = "b", .text = "The ferry leaves at noon."}}}));
  AskRequest request{.collection = "docs",
                     .question = "When does the ferry leave?",
                     .sampling = {.temperature = 2.0f, .seed = 7},
                     .answers = 3};
  const Asked asked = Ask(engine, request);
  REQUIRE_OK(asked.status);
  CHECK(asked.sink->retrieved == 1);
  CHECK(asked.sink->misplaced == 0);
  REQUIRE(asked.sink->answers.size() == 3);
  std::set<std::string> texts;
  for (const auto& [index, answer] : asked.sink->answers) {
    CAPTURE(index);
    CHECK(answer.ended);
    CHECK(answer.result.mode == AskMode::kGenerated);
    CHECK(answer.result.generated.index == index);
    CHECK_FALSE(answer.result.citations.empty());
    std::vector<std::string> names;
    for (const Stage& stage : answer.result.timings.stages) names.push_back(stage.name);
    REQUIRE(names.size() >= 3);
    CHECK(std::count(names.begin(), names.end(), "search") == 1);
    CHECK(std::count(names.begin(), names.end(), "prefill") == 1);
    texts.insert(answer.text);

    // Each is what its seed gives alone.
    request.answers = 1;
    request.sampling.seed = answer.result.generated.seed;
    const Asked alone = Ask(engine, request);
    REQUIRE_OK(alone.status);
    CHECK(alone.sink->ids == answer.ids);
    CHECK(alone.sink->text == answer.text);
  }
  CHECK(asked.sink->answers.at(0).result.generated.seed == 7);
  CHECK(texts.size() == 3);

  request.answers = 3;
  request.retrieval_only = true;
  const Asked found = Ask(engine, request);
  REQUIRE_OK(found.status);
  CHECK(found.sink->answers.size() == 1);
  CHECK(found.result.mode == AskMode::kRetrievalOnly);
  for (const int32_t answers : {0, 17}) {
    request.answers = answers;
    REQUIRE_STATUS(Ask(engine, request).status, absl::StatusCode::kInvalidArgument,
                   "n must be 1 to 16, but is " + std::to_string(answers));
  }
}

TEST_CASE("an answer follows the request's grammar") {
  EngineFixture f;
  f.AddRandomModel({.context_tokens = 256});
  f.options.rag.answer_tokens_max = 60;
  Engine& engine = f.Start();
  REQUIRE_OK(Ingest(engine, {.collection = "docs",
                             .documents = {{.id = "b", .text = "The ferry leaves at noon."}}}));
  AskRequest request{.collection = "docs", .question = "When does the ferry leave?"};
  request.constraint = {.kind = TextConstraint::Kind::kGrammar,
                        .text = R"(root ::= "at " ("noon" | "night") " [1]"?)"};
  Asked asked = Ask(engine, request);
  REQUIRE_OK(asked.status);
  CHECK(asked.result.mode == AskMode::kGenerated);
  const std::set<std::string> texts = {"at noon", "at night", "at noon [1]", "at night [1]"};
  CHECK(texts.contains(asked.sink->text));
  CHECK(asked.result.generated.reason == FinishReason::kStop);
  request.constraint.text = "root :=";
  REQUIRE_STATUS(Ask(engine, request).status, absl::StatusCode::kInvalidArgument,
                 "grammar line 1, column 6: expected ::= behind the rule name root, found ':'");
}

TEST_CASE("asking what cannot be answered is refused or said") {
  EngineFixture f;
  Engine& engine = f.Start();
  CHECK(absl::IsNotFound(Ask(engine, {.collection = "none", .question = "x"}).status));
  CHECK(absl::IsInvalidArgument(Ask(engine, {.collection = "none", .question = " \n"}).status));
  CHECK(absl::IsInvalidArgument(
      Ask(engine, {.collection = "none", .question = "x", .k = 101}).status));
  REQUIRE_OK(Call<CollectionInfo>([&](Done<CollectionInfo> done) {
    return engine.SubmitCreate({.name = "points", .dimension = 512}, std::move(done));
  }));
  const Asked foreign = Ask(engine, {.collection = "points", .question = "x"});
  CHECK(absl::IsFailedPrecondition(foreign.status));
  CHECK_THAT(std::string(foreign.status.message()), Catch::Contains("not filled by Ingest"));
  CHECK(absl::IsFailedPrecondition(
      Ingest(engine, {.collection = "points", .documents = {{.id = "a", .text = "b"}}}).status()));
  REQUIRE_STATUS(Ingest(engine, {.collection = "d", .documents = {{.id = "a", .text = " "}}}),
                 absl::StatusCode::kInvalidArgument, "documents[0].text is blank");
  REQUIRE_STATUS(Ingest(engine, {.collection = "d", .documents = {}}),
                 absl::StatusCode::kInvalidArgument, "documents must be 1 to 1000");
  const Asked no_model = Ask(engine, {.collection = "points", .question = "x", .model = "missing"});
  CHECK_FALSE(no_model.status.ok());
}

TEST_CASE("a collection is asked and filled by the embedder that filled it first") {
  EngineFixture f;
  const auto ingest = [&f](const std::string& collection, const std::string& id) {
    return Ingest(*f.engine,
                  {.collection = collection,
                   .documents = {{.id = id, .text = "The ferry " + id + " leaves at noon."}}});
  };
  const auto embedder_of = [&f](const std::string& collection) {
    const auto info = f.engine->DescribeCollection(collection);
    REQUIRE_OK(info);
    return info->embedder;
  };
  f.Start();
  REQUIRE_OK(ingest("old", "a"));
  f.Stop();

  f.AddRandomEncoder("mini");
  f.embedders[0].question_prefix = "query: ";
  f.embedders[0].passage_prefix = "passage: ";
  f.Start();
  REQUIRE_OK(ingest("old", "b"));
  CHECK(embedder_of("old") == "lexical-512");
  REQUIRE_OK(ingest("new", "c"));
  CHECK(embedder_of("new") == "mini");
  CHECK(f.engine->DescribeCollection("new")->spec.dimension == 64);
  for (const std::string collection : {"old", "new"}) {
    const Asked asked = Ask(*f.engine, {.collection = collection, .question = "When does it go?"});
    REQUIRE_OK(asked.status);
    CHECK_FALSE(asked.result.citations.empty());
  }
  // The prefix is part of what was embedded: the passage is found by it, to the last bit.
  const auto embedded = Call<EmbedResult>([&](Done<EmbedResult> done) {
    return f.engine->Submit(
        EmbedRequest{.texts = {"passage: The ferry c leaves at noon.", "The ferry c"}},
        std::move(done));
  });
  REQUIRE_OK(embedded);
  CHECK(embedded->model == "mini");
  const auto found = Call<SearchResult>([&](Done<SearchResult> done) {
    return f.engine->Submit(
        SearchRequest{.collection = "new", .queries = embedded->embeddings, .params = {.k = 1}},
        std::move(done));
  });
  REQUIRE_OK(found);
  CHECK(found->results[0][0].score == Approx(1).margin(1e-6));
  CHECK(found->results[1][0].score < 0.9999);
  f.Stop();

  f.embedders.clear();
  f.Start();
  CHECK(Ask(*f.engine, {.collection = "old", .question = "x"}).status.ok());
  const Asked refused = Ask(*f.engine, {.collection = "new", .question = "x"});
  REQUIRE_STATUS(refused.status, absl::StatusCode::kFailedPrecondition,
                 "embedding model \"mini\" is not loaded; loaded: lexical-512");
  REQUIRE_STATUS(ingest("new", "d"), absl::StatusCode::kFailedPrecondition, "\"mini\"");
  f.Stop();

  f.AddRandomEncoder("mini", {.dim = 32});
  f.Start();
  REQUIRE_STATUS(ingest("new", "d"), absl::StatusCode::kFailedPrecondition,
                 "with dimension 64, but here it has 32");
}

// The words are in no embedding, which is made of the letters of others.
TEST_CASE("passages are found by their words where the collection is asked so") {
  EngineFixture f;
  f.Start();
  REQUIRE_OK(
      Ingest(*f.engine, {.collection = "old", .documents = {{.id = "a", .text = "A ferry."}}}));
  CHECK(f.engine->DescribeCollection("old")->payload_indexes.empty());
  const Asked refused =
      Ask(*f.engine, {.collection = "old", .question = "ferry?", .retrieval = Retrieval::kHybrid});
  REQUIRE_STATUS(refused.status, absl::StatusCode::kFailedPrecondition,
                 "field \"text\" of collection \"old\" has no payload index");
  f.Stop();

  f.options.rag.retrieval = "hybrid";
  f.Start();
  IngestRequest ingest{.collection = "new", .documents = {}};
  for (int i = 0; i < 50; ++i) {
    const std::string number = std::to_string(100 + i);
    ingest.documents.push_back(
        {.id = number, .title = "Ferries", .text = "The ferry numbered " + number + " is old."});
  }
  REQUIRE_OK(Ingest(*f.engine, ingest));
  // A collection from before gets its index with the next Ingest.
  ingest.collection = "old";
  REQUIRE_OK(Ingest(*f.engine, ingest));
  for (const std::string collection : {"old", "new"}) {
    const auto info = f.engine->DescribeCollection(collection);
    REQUIRE_OK(info);
    CHECK(info->payload_indexes ==
          std::vector<PayloadIndex>{{.field = "text", .kind = PayloadIndexKind::kText}});
    for (const auto retrieval : {std::optional<Retrieval>(), std::optional(Retrieval::kText)}) {
      const Asked asked = Ask(
          *f.engine,
          {.collection = collection, .question = "What of the ferry 137?", .retrieval = retrieval});
      REQUIRE_OK(asked.status);
      REQUIRE(!asked.result.citations.empty());
      CHECK(asked.result.citations[0].document_id == "137");
    }
  }
  // Without a word, what it is like may still be found.
  CHECK(Ask(*f.engine, {.collection = "new", .question = "???"}).status.ok());
  REQUIRE_STATUS(
      Ask(*f.engine, {.collection = "new", .question = "???", .retrieval = Retrieval::kText})
          .status,
      absl::StatusCode::kInvalidArgument, "has no word");
}

}  // namespace
}  // namespace baton
