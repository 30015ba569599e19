#include <catch2/catch.hpp>
#include <cmath>
#include <numeric>

#include "engine/engine.h"
#include "tests/engine/engine/engine_fixture.h"

namespace baton {
namespace {

using Code = absl::StatusCode;

absl::StatusOr<RerankResult> Rerank(Engine& engine, RerankRequest request) {
  return Call<RerankResult>(
      [&](Done<RerankResult> done) { return engine.Submit(request, std::move(done)); });
}

absl::StatusOr<EmbedResult> Embed(Engine& engine, const std::string& model,
                                  std::vector<std::string> texts) {
  EmbedRequest request;
  request.model = model;
  request.texts = std::move(texts);
  return Call<EmbedResult>(
      [&](Done<EmbedResult> done) { return engine.Submit(request, std::move(done)); });
}

const std::vector<std::string> kDocuments = {"the ferry", "the tower is 12", "number of the tower",
                                             "the ferry", "a b c d e f g h i j k l m n o p q r s"};

TEST_CASE("a cross-encoder scores pairs, alone as in company, and the best come first") {
  EngineFixture f;
  f.AddRandomEncoder("mini");
  f.AddRandomReranker("rank", {.context_tokens = 24, .seed = 5});
  Engine& engine = f.Start();
  const auto all = Rerank(engine, {.query = "is the tower", .documents = kDocuments});
  REQUIRE_OK(all);
  CHECK(all->method == RerankMethod::kCrossEncoder);
  CHECK(all->model == "rank");
  CHECK_FALSE(all->query_truncated);
  REQUIRE(all->documents.size() == 5);
  REQUIRE(all->timings.stages.size() == 1);
  CHECK(all->timings.stages[0].name == "rerank");
  CHECK(all->timings.stages[0].route.work_class == WorkClass::kRerank);
  CHECK(all->timings.stages[0].items == 5);
  std::vector<int32_t> places(5);
  for (size_t i = 0; i < 5; ++i) {
    const RankedDocument& ranked = all->documents[i];
    places[static_cast<size_t>(ranked.index)] = static_cast<int32_t>(i);
    CHECK(ranked.score == Approx(1 / (1 + std::exp(-ranked.raw_score))));
    CHECK(ranked.truncated == (ranked.index == 4));
    CHECK(ranked.document.empty());
    if (i > 0) CHECK(all->documents[i - 1].raw_score >= ranked.raw_score);
    const auto alone = Rerank(engine, {.model = "rank",
                                       .query = "is the tower",
                                       .documents = {kDocuments[static_cast<size_t>(ranked.index)]},
                                       .return_documents = true});
    REQUIRE_OK(alone);
    CHECK(alone->documents[0].raw_score == ranked.raw_score);
    CHECK(alone->documents[0].document == kDocuments[static_cast<size_t>(ranked.index)]);
  }
  CHECK(places[3] == places[0] + 1);  // the same text: by index

  const auto best = Rerank(
      engine,
      {.query = "is the tower", .documents = kDocuments, .top_n = 2, .return_documents = true});
  REQUIRE_OK(best);
  REQUIRE(best->documents.size() == 2);
  for (size_t i = 0; i < 2; ++i) {
    CHECK(best->documents[i].index == all->documents[i].index);
    CHECK(best->documents[i].document == kDocuments[static_cast<size_t>(best->documents[i].index)]);
  }
  CHECK(Rerank(engine, {.query = "q", .documents = {"a"}, .top_n = 9})->documents.size() == 1);
  const auto cut = Rerank(engine, {.query = std::string(500, '.'), .documents = {"the ferry"}});
  REQUIRE_OK(cut);
  CHECK(cut->query_truncated);
  CHECK_FALSE(cut->documents[0].truncated);

  // It embeds nothing, and takes none of an embedder's places.
  REQUIRE_STATUS(Embed(engine, "rank", {"a"}), Code::kNotFound, "loaded: mini, lexical-512");
  CHECK(Embed(engine, "", {"a"})->model == "mini");
}

TEST_CASE("without a cross-encoder documents are ranked by the similarity of embeddings") {
  EngineFixture f;
  f.AddRandomEncoder("mini", {.context_tokens = 16});
  f.embedders[0].question_prefix = "is ";
  f.embedders[0].passage_prefix = "the ";
  Engine& engine = f.Start();
  const auto ranked =
      Rerank(engine, {.query = "tower", .documents = kDocuments, .return_documents = true});
  REQUIRE_OK(ranked);
  CHECK(ranked->method == RerankMethod::kEmbedding);
  CHECK(ranked->model == "mini");
  std::vector<std::string> texts = {"is tower"};
  for (const std::string& document : kDocuments) texts.push_back("the " + document);
  const auto embedded = Embed(engine, "mini", texts);
  REQUIRE_OK(embedded);
  const auto& query = embedded->embeddings[0];
  REQUIRE(ranked->documents.size() == 5);
  for (const RankedDocument& document : ranked->documents) {
    const auto& embedding = embedded->embeddings[static_cast<size_t>(document.index) + 1];
    CHECK(document.score ==
          Approx(std::inner_product(query.begin(), query.end(), embedding.begin(), 0.0f)));
    CHECK(document.raw_score == document.score);
    CHECK(document.document == kDocuments[static_cast<size_t>(document.index)]);
    CHECK(document.truncated == (document.index == 4));
  }
  const auto lexical =
      Rerank(engine, {.model = "lexical-512", .query = "the tower is 12", .documents = kDocuments});
  REQUIRE_OK(lexical);
  CHECK(lexical->method == RerankMethod::kEmbedding);
  CHECK(lexical->documents[0].index == 1);
}

TEST_CASE("requests to rank that make no sense are refused") {
  EngineFixture f;
  f.AddRandomModel();
  Engine& engine = f.Start();
  REQUIRE_STATUS(Rerank(engine, {.query = "", .documents = {"a"}}), Code::kInvalidArgument,
                 "query");
  REQUIRE_STATUS(Rerank(engine, {.query = "q"}), Code::kInvalidArgument, "documents");
  REQUIRE_STATUS(Rerank(engine, {.query = "q", .documents = {"a", ""}}), Code::kInvalidArgument,
                 "documents[1]");
  REQUIRE_STATUS(Rerank(engine, {.query = "q", .documents = {"a"}, .top_n = 0}),
                 Code::kInvalidArgument, "top_n must be at least 1, but is 0");
  REQUIRE_STATUS(Rerank(engine, {.model = "random", .query = "q", .documents = {"a"}}),
                 Code::kNotFound, "reranking model \"random\" is not loaded; loaded: lexical-512");
}

TEST_CASE("what was read of each text is said") {
  EngineFixture f;
  f.AddRandomEncoder("mini", {.context_tokens = 8});
  Engine& engine = f.Start();
  const auto embedded = Embed(engine, "", {"the tower", "a b c d e f", "a b c d e f g", "the"});
  REQUIRE_OK(embedded);
  REQUIRE(embedded->inputs.size() == 4);
  const int32_t tokens[] = {4, 8, 8, 3};
  for (size_t i = 0; i < 4; ++i) {
    CHECK(embedded->inputs[i].tokens == tokens[i]);
    CHECK(embedded->inputs[i].truncated == (i == 2));
  }
  CHECK(embedded->embeddings[1] == embedded->embeddings[2]);
  const auto lexical = Embed(engine, "lexical-512", {std::string(100'000, 'a'), "b"});
  REQUIRE_OK(lexical);
  REQUIRE(lexical->inputs.size() == 2);
  CHECK_FALSE(lexical->inputs[0].truncated);
}

TEST_CASE("an Ask's passages are ordered by rag.rerank_model") {
  EngineFixture f;
  f.AddRandomEncoder("mini");
  f.AddRandomReranker("rank", {.seed = 5});
  f.options.rag.rerank_model = "rank";
  f.options.repository.directory = "/";
  Engine& engine = f.Start();
  IngestRequest ingest{.collection = "docs"};
  for (int i = 0; i < 6; ++i) {
    ingest.documents.push_back({.id = "d" + std::to_string(i),
                                .title = "The tower",
                                .text = "The ferry of number " + std::to_string(i) + " is the " +
                                        std::string(1, static_cast<char>('a' + i)) + "."});
  }
  REQUIRE_OK(Call<IngestResult>(
      [&](Done<IngestResult> done) { return engine.Submit(ingest, std::move(done)); }));
  const std::string question = "which is the ferry?";
  auto sink = std::make_shared<AskRecorder>();
  REQUIRE_OK(engine.Submit(AskRequest{.collection = "docs", .question = question, .k = 4}, sink));
  const auto asked = sink->Wait();
  REQUIRE_OK(asked.status);
  std::vector<std::string> stages;
  for (const Stage& stage : asked.result.timings.stages) stages.push_back(stage.name);
  CHECK(stages == std::vector<std::string>{"embed", "search", "rerank"});
  RerankRequest request{.query = question, .documents = {}, .top_n = 4};
  for (const Document& document : ingest.documents) {
    request.documents.push_back(document.title + "\n" + document.text);
  }
  const auto ranked = Rerank(engine, request);
  REQUIRE_OK(ranked);
  REQUIRE(sink->passages.size() == 4);
  for (size_t i = 0; i < 4; ++i) {
    CHECK(sink->passages[i].document_id ==
          ingest.documents[static_cast<size_t>(ranked->documents[i].index)].id);
    CHECK(sink->passages[i].score == ranked->documents[i].score);
  }

  // Without it an Ask says what is missing.
  f.embedders.clear();
  UnloadModelRequest unload;
  unload.name = "rank";
  REQUIRE_OK(Call<ModelReport>(
      [&](Done<ModelReport> done) { return engine.Submit(unload, std::move(done)); }));
  sink = std::make_shared<AskRecorder>();
  REQUIRE_OK(engine.Submit(AskRequest{.collection = "docs", .question = question}, sink));
  REQUIRE_STATUS(sink->Wait().status, Code::kFailedPrecondition, "rag.rerank_model: ");
}

TEST_CASE("an engine whose rag.rerank_model is not there does not start") {
  EngineFixture f;
  f.options.rag.rerank_model = "none";
  const TempDir dir;
  auto store = VectorStore::Open(VectorOptions{.data_dir = dir.File("data")}, f.metrics);
  REQUIRE_OK(store);
  EngineParts parts{.clock = &SystemClock(), .metrics = &f.metrics, .store = store->get()};
  parts.embedders.push_back({.embedder = MakeLexicalEmbedder(512)});
  REQUIRE_STATUS(Engine::Create(f.options, std::move(parts)), Code::kFailedPrecondition,
                 "rag.rerank_model: reranking model \"none\" is not loaded; loaded: lexical-512");
}

}  // namespace
}  // namespace baton
