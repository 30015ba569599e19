#include "server/translate_admin.h"

#include <catch2/catch.hpp>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "server/translate_cluster.h"
#include "server/translate_inference.h"
#include "server/translate_rag.h"
#include "server/translate_vector.h"
#include "tests/support/status_matchers.h"

namespace baton {
namespace {

constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;

TEST_CASE("generate") {
  v1::GenerateRequest proto;
  REQUIRE_STATUS(ToGenerate(proto, {}), kInvalid, "prompt must be given");
  proto.set_text("");
  REQUIRE_STATUS(ToGenerate(proto, {}), kInvalid, "text must not be empty");
  proto.set_text(std::string((4 << 20) + 1, 'x'));
  REQUIRE_STATUS(ToGenerate(proto, {}), kInvalid, "text must be 1 to 4194304 bytes long, but is");
  proto.mutable_tokens();
  REQUIRE_STATUS(ToGenerate(proto, {}), kInvalid, "tokens.ids must be 1 to 1048576, but are 0");
  proto.mutable_tokens()->add_ids(7);
  proto.mutable_sampling()->set_top_p(1.5f);
  REQUIRE_STATUS(ToGenerate(proto, {}), kInvalid, "sampling.top_p");
  proto.mutable_sampling()->set_top_p(0.5f);
  proto.mutable_sampling()->set_temperature(0.7f);
  proto.mutable_sampling()->set_top_k(40);
  proto.mutable_sampling()->set_min_p(0.05f);
  proto.mutable_sampling()->set_seed(0);
  proto.set_max_tokens(9);
  proto.set_ignore_eos(true);
  proto.set_model("tiny");
  const auto request = ToGenerate(proto, {.priority = 3});
  REQUIRE_OK(request);
  CHECK(std::get<std::vector<TokenId>>(request->prompt) == std::vector<TokenId>{7});
  CHECK(request->sampling.temperature == 0.7f);
  CHECK(request->sampling.top_k == 40);
  CHECK(request->sampling.top_p == 0.5f);
  CHECK(request->sampling.min_p == 0.05f);
  CHECK(request->sampling.seed == uint64_t{0});
  CHECK(request->max_tokens == 9);
  CHECK(request->ignore_eos);
  CHECK(request->model == "tiny");
  CHECK(request->envelope.priority == 3);

  v1::GenerateRequest plain;
  plain.set_text("hi");
  const auto defaults = ToGenerate(plain, {});
  REQUIRE_OK(defaults);
  CHECK_FALSE(defaults->sampling.seed.has_value());
  CHECK_FALSE(defaults->max_tokens.has_value());
  CHECK(defaults->sampling.top_p == 1);

  CHECK(defaults->sampling.repetition_penalty == 1);
  CHECK(defaults->sampling.penalty_last_n == 64);
  CHECK(defaults->completions == 1);
  CHECK_FALSE(defaults->logprobs.has_value());
  CHECK_FALSE(defaults->echo);

  v1::GenerateRequest chat;
  chat.mutable_messages();
  REQUIRE_STATUS(ToGenerate(chat, {}), kInvalid, "messages.messages must be 1 to 4096, but are 0");
  v1::ChatMessage& message = *chat.mutable_messages()->add_messages();
  REQUIRE_STATUS(ToGenerate(chat, {}), kInvalid, "messages.messages[0].role must be 1 to 64 bytes");
  message.set_role("user");
  REQUIRE_STATUS(ToGenerate(chat, {}), kInvalid, "messages.messages[0].content must be given");
  message.set_content("hi");
  message.set_name("Ada");
  message.set_tool_calls("[]");
  message.set_tool_call_id("c1");
  message.set_reasoning_content("hm");
  chat.mutable_messages()->set_template_("t");
  chat.mutable_messages()->set_template_arguments("{}");
  chat.mutable_messages()->set_tools("[1]");
  const auto chatted = ToGenerate(chat, {});
  REQUIRE_OK(chatted);
  const auto& prompt = std::get<ChatPrompt>(chatted->prompt);
  REQUIRE(prompt.messages.size() == 1);
  CHECK(prompt.messages[0].role == "user");
  CHECK(prompt.messages[0].content == "hi");
  CHECK(prompt.messages[0].name == "Ada");
  CHECK(prompt.messages[0].tool_calls == "[]");
  CHECK(prompt.messages[0].tool_call_id == "c1");
  CHECK(prompt.messages[0].reasoning_content == "hm");
  CHECK(prompt.add_generation_prompt);
  CHECK(prompt.template_source == "t");
  CHECK(prompt.template_arguments == "{}");
  CHECK(prompt.tools == "[1]");
  chat.mutable_messages()->set_continue_final_message(true);
  const auto continued = ToGenerate(chat, {});
  REQUIRE_OK(continued);
  CHECK_FALSE(std::get<ChatPrompt>(continued->prompt).add_generation_prompt);
  chat.mutable_messages()->set_add_generation_prompt(true);
  REQUIRE_STATUS(ToGenerate(chat, {}), kInvalid, "must not both be true");
  chat.mutable_messages()->set_template_name("n");
  REQUIRE_STATUS(ToGenerate(chat, {}), kInvalid, "template_name must not both be given");

  v1::GenerateFinished finished;
  ToProto(GenerateResult{.reason = FinishReason::kLength,
                         .prompt_tokens = 1,
                         .cached_prompt_tokens = 7,
                         .generated_tokens = 2,
                         .decode_steps = 4,
                         .draft_tokens = 6,
                         .draft_tokens_accepted = 5,
                         .preemptions = 8,
                         .seed = 3,
                         .model = "tiny"},
          finished);
  CHECK(finished.reason() == v1::FINISH_REASON_LENGTH);
  CHECK(finished.prompt_tokens() == 1);
  CHECK(finished.cached_prompt_tokens() == 7);
  CHECK(finished.generated_tokens() == 2);
  CHECK(finished.decode_steps() == 4);
  CHECK(finished.draft_tokens() == 6);
  CHECK(finished.draft_tokens_accepted() == 5);
  CHECK(finished.preemptions() == 8);
  CHECK(finished.seed() == 3);
  CHECK(finished.model() == "tiny");
}

TEST_CASE("what a text must look like") {
  using Kind = TextConstraint::Kind;
  const auto check = [](auto proto, auto translate) {
    const auto kind_of = [&]() -> absl::StatusOr<TextConstraint> {
      const auto request = translate(proto, Envelope{});
      if (!request.ok()) return request.status();
      return request->constraint;
    };
    CHECK(kind_of()->kind == Kind::kNone);
    proto.set_grammar("");
    REQUIRE_STATUS(kind_of(), kInvalid, "grammar must not be empty");
    proto.set_grammar(std::string((512 << 10) + 1, 'x'));
    REQUIRE_STATUS(kind_of(), kInvalid, "grammar must be 1 to 524288 bytes long, but is");
    proto.set_grammar("root ::= \"a\"");
    CHECK(kind_of()->kind == Kind::kGrammar);
    CHECK(kind_of()->text == "root ::= \"a\"");
    proto.set_json_schema("");
    REQUIRE_STATUS(kind_of(), kInvalid, "json_schema must not be empty");
    proto.set_json_schema(std::string((256 << 10) + 1, 'x'));
    REQUIRE_STATUS(kind_of(), kInvalid, "json_schema must be 1 to 262144 bytes long, but is");
    proto.set_json_schema("{}");
    CHECK(kind_of()->kind == Kind::kJsonSchema);
    CHECK(kind_of()->text == "{}");
    proto.set_json_object(false);
    CHECK(kind_of()->kind == Kind::kNone);
    proto.set_json_object(true);
    CHECK(kind_of()->kind == Kind::kJsonObject);
  };
  v1::GenerateRequest generate;
  generate.set_text("hi");
  check(generate, ToGenerate);
  v1::AskRequest ask;
  ask.set_collection("docs");
  ask.set_question("why?");
  check(ask, ToAsk);
}

TEST_CASE("generate: biases, penalties, stops, log probabilities, completions") {
  v1::GenerateRequest proto;
  proto.set_text("hi");
  proto.set_n(0);
  REQUIRE_STATUS(ToGenerate(proto, {}), kInvalid, "n must be 1 to 16, but is 0");
  proto.set_n(3);
  proto.add_stop("a");
  proto.add_stop("");
  REQUIRE_STATUS(ToGenerate(proto, {}), kInvalid, "stop[1] must be 1 to 256 bytes");
  proto.set_stop(1, "b");
  proto.add_stop_token_ids(5);
  proto.set_include_stop(true);
  proto.set_min_tokens(2);
  proto.set_logprobs(0);
  proto.set_echo(true);
  v1::SamplingParams& sampling = *proto.mutable_sampling();
  (*sampling.mutable_logit_bias())[7] = -1.5f;
  sampling.set_repetition_penalty(1.1f);
  sampling.set_penalty_last_n(-1);
  sampling.set_presence_penalty(0.5f);
  sampling.set_frequency_penalty(-0.5f);
  const auto request = ToGenerate(proto, {});
  REQUIRE_OK(request);
  CHECK(request->completions == 3);
  CHECK(request->stop.strings == std::vector<std::string>{"a", "b"});
  CHECK(request->stop.tokens == std::vector<TokenId>{5});
  CHECK(request->stop.include);
  CHECK(request->stop.min_tokens == 2);
  CHECK(request->logprobs == 0);
  CHECK(request->echo);
  CHECK(request->sampling.logit_bias == std::map<TokenId, float>{{7, -1.5f}});
  CHECK(request->sampling.repetition_penalty == 1.1f);
  CHECK(request->sampling.penalty_last_n == -1);
  CHECK(request->sampling.presence_penalty == 0.5f);
  CHECK(request->sampling.frequency_penalty == -0.5f);

  v1::GenerateFinished finished;
  ToProto(GenerateResult{.reason = FinishReason::kStopString, .index = 2, .stop = "ab"}, finished);
  CHECK(finished.reason() == v1::FINISH_REASON_STOP_STRING);
  CHECK(finished.index() == 2);
  CHECK(finished.stop_string() == "ab");
  ToProto(GenerateResult{.reason = FinishReason::kStopToken, .stop = TokenId{9}}, finished);
  CHECK(finished.reason() == v1::FINISH_REASON_STOP_TOKEN);
  CHECK(finished.stop_token() == 9);

  const auto chunk = [](TokenId id, int32_t index) {
    v1::GeneratedTokens tokens;
    ToProto(TokenChunk{.ids = {id},
                       .text = "t",
                       .index = index,
                       .logprobs = {{.token = {.id = id, .logprob = -1, .text = "\xff"},
                                     .top = {{.id = 4, .logprob = -0.5f}}}}},
            tokens);
    return tokens;
  };
  v1::GeneratedTokens tokens = chunk(3, 1);
  CHECK(tokens.logprobs(0).token().text() == "\xff");
  CHECK(tokens.logprobs(0).top(0).id() == 4);
  CHECK_FALSE(Append(chunk(5, 0), tokens));
  CHECK(tokens.ids_size() == 1);
  CHECK(Append(chunk(5, 1), tokens));
  CHECK(tokens.text() == "tt");
  CHECK(tokens.ids(1) == 5);
  CHECK(tokens.logprobs(1).token().id() == 5);
}

TEST_CASE("embed and tokenize") {
  v1::EmbedRequest embed;
  REQUIRE_STATUS(ToEmbed(embed, {}), kInvalid, "texts must be 1 to 1024, but are 0");
  embed.add_texts("a");
  embed.add_texts("");
  REQUIRE_STATUS(ToEmbed(embed, {}), kInvalid, "texts[1] must not be empty");
  embed.set_texts(1, std::string((1 << 20) + 1, 'x'));
  REQUIRE_STATUS(ToEmbed(embed, {}), kInvalid, "texts[1] must be 1 to 1048576 bytes long");
  embed.set_texts(1, "b");
  REQUIRE(ToEmbed(embed, {})->texts == std::vector<std::string>{"a", "b"});
  for (int i = 2; i < 1025; ++i) embed.add_texts("c");
  REQUIRE_STATUS(ToEmbed(embed, {}), kInvalid, "texts must be 1 to 1024, but are 1025");

  v1::TokenizeRequest tokenize;
  REQUIRE_OK(CheckTokenize(tokenize));
  tokenize.set_text(std::string((4 << 20) + 1, 'x'));
  REQUIRE_STATUS(CheckTokenize(tokenize), kInvalid, "text");

  v1::EmbedResponse response;
  ToProto(EmbedResult{.embeddings = {{1, 2}, {3, 4}}, .model = "lexical"}, response);
  REQUIRE(response.embeddings_size() == 2);
  CHECK(response.embeddings(1).values(0) == 3);
  CHECK(response.model() == "lexical");
}

TEST_CASE("collections") {
  v1::CollectionSpec proto;
  proto.set_name("c");
  proto.set_dimension(3);
  const auto defaults = ToSpec(proto);
  REQUIRE_OK(defaults);
  CHECK(defaults->metric == Metric::kCosine);
  CHECK(defaults->hnsw_m == 16);
  CHECK(defaults->index == IndexKind::kHnsw);
  CHECK(defaults->hnsw_ef_construction == 200);
  proto.set_metric(v1::METRIC_L2);
  proto.set_index(v1::INDEX_KIND_IVF_PQ);
  proto.set_ivf_lists(7);
  proto.set_ivf_pq_bytes(9);
  REQUIRE(ToSpec(proto)->index == IndexKind::kIvfPq);
  CHECK(ToSpec(proto)->ivf_lists == 7);
  CHECK(ToSpec(proto)->ivf_pq_bytes == 9);
  CHECK(ToSpec(proto)->ivf_pq_bits == 4);
  proto.set_ivf_pq_bits(8);
  CHECK(ToSpec(proto)->ivf_pq_bits == 8);
  proto.set_index(static_cast<v1::IndexKind>(8));
  REQUIRE_STATUS(ToSpec(proto), kInvalid, "spec.index must be 1 to 3");
  proto.clear_index();
  proto.set_hnsw_m(0);  // present and wrong: the engine refuses it
  REQUIRE(ToSpec(proto)->metric == Metric::kL2);
  REQUIRE(ToSpec(proto)->hnsw_m == 0);
  proto.set_metric(static_cast<v1::Metric>(7));
  REQUIRE_STATUS(ToSpec(proto), kInvalid, "spec.metric must be 1 to 3");

  v1::CollectionInfo info;
  ToProto(CollectionInfo{.spec = {.name = "c", .dimension = 3, .metric = Metric::kDot},
                         .points = 5,
                         .points_unindexed = 2,
                         .segments = 1,
                         .embedder = "lexical"},
          info);
  CHECK(info.spec().metric() == v1::METRIC_DOT);
  CHECK(info.spec().hnsw_m() == 16);
  CHECK(info.points() == 5);
  CHECK(info.points_unindexed() == 2);
  CHECK(info.segments() == 1);
  CHECK(info.embedder() == "lexical");
}

TEST_CASE("points") {
  v1::UpsertRequest upsert;
  REQUIRE_STATUS(ToUpsert(upsert, {}), kInvalid, "collection must be named");
  upsert.set_collection("c");
  REQUIRE_STATUS(ToUpsert(upsert, {}), kInvalid, "points must be 1 to 10000, but are 0");
  v1::Point& point = *upsert.add_points();
  point.set_id(18446744073709551615u);
  point.add_vector(1.5f);
  (*point.mutable_payload())["k"].set_integer(4);
  const auto request = ToUpsert(upsert, {});
  REQUIRE_OK(request);
  CHECK(request->points[0].id == 18446744073709551615u);
  CHECK(request->points[0].vector == std::vector<float>{1.5f});
  CHECK(std::get<int64_t>(request->points[0].payload.at("k")) == 4);
  (*point.mutable_payload())["void"];
  REQUIRE_STATUS(ToUpsert(upsert, {}), kInvalid, "points[0].payload[\"void\"]");
  for (int i = 1; i < 10'001; ++i) upsert.add_points();
  REQUIRE_STATUS(ToUpsert(upsert, {}), kInvalid, "points must be 1 to 10000, but are 10001");

  v1::DeleteRequest deletion;
  deletion.set_collection("c");
  REQUIRE_STATUS(ToDelete(deletion, {}), kInvalid, "ids must be 1 to 10000, but are 0");
  deletion.add_ids(3);
  REQUIRE(ToDelete(deletion, {})->ids == std::vector<PointId>{3});

  v1::GetRequest get;
  get.set_collection("c");
  REQUIRE_STATUS(ToGet(get), kInvalid, "ids");
  get.add_ids(3);
  REQUIRE(ToGet(get)->with_payload);
  REQUIRE_FALSE(ToGet(get)->with_vectors);
  get.set_with_payload(false);
  get.set_with_vectors(true);
  REQUIRE_FALSE(ToGet(get)->with_payload);
  REQUIRE(ToGet(get)->with_vectors);

  v1::GetResponse response;
  std::vector<Point> points;
  points.push_back({.id = 3, .vector = {1, 2}, .payload = {{"k", true}}});
  ToProto(std::move(points), response);
  CHECK(response.points(0).id() == 3);
  CHECK(response.points(0).vector_size() == 2);
  CHECK(response.points(0).payload().at("k").boolean());
}

TEST_CASE("searches") {
  v1::SearchRequest proto;
  REQUIRE_STATUS(ToSearch(proto, {}), kInvalid, "collection");
  proto.set_collection("c");
  proto.add_vector(1);
  proto.mutable_params()->set_k(5);
  const auto defaults = ToSearch(proto, {});
  REQUIRE_OK(defaults);
  CHECK(defaults->queries == std::vector<std::vector<float>>{{1}});
  CHECK(defaults->params.k == 5);
  CHECK(defaults->params.ef == 64);
  CHECK(defaults->params.with_payload);
  CHECK_FALSE(defaults->params.with_vectors);
  CHECK_FALSE(defaults->params.exact);
  CHECK_FALSE(defaults->params.nprobe.has_value());
  proto.mutable_params()->set_nprobe(0);
  CHECK(ToSearch(proto, {})->params.nprobe == 0);
  proto.mutable_params()->set_ef(0);  // present and wrong: the engine refuses it
  REQUIRE(ToSearch(proto, {})->params.ef == 0);

  v1::SearchBatchRequest batch;
  batch.set_collection("c");
  REQUIRE_STATUS(ToSearch(batch, {}), kInvalid, "queries must be 1 to 10000, but are 0");
  batch.mutable_params()->set_k(1000);
  for (int i = 0; i < 1000; ++i) batch.add_queries()->add_vector(1);
  REQUIRE_OK(ToSearch(batch, {}));
  batch.add_queries();
  REQUIRE_STATUS(ToSearch(batch, {}), kInvalid,
                 "queries times params.k must be at most 1000000, but is 1001000");

  v1::SearchBatchResponse response;
  SearchResult result;
  result.results.resize(2);
  result.results[1].push_back({.id = 4, .score = 0.5f, .payload = {{"k", 1.5}}, .vector = {9}});
  ToProto(std::move(result), response);
  REQUIRE(response.results_size() == 2);
  CHECK(response.results(0).points_size() == 0);
  CHECK(response.results(1).points(0).id() == 4);
  CHECK(response.results(1).points(0).score() == 0.5f);
  CHECK(response.results(1).points(0).payload().at("k").number() == 1.5);
  CHECK(response.results(1).points(0).vector(0) == 9);
  v1::SearchResponse empty;
  ToProto(SearchResult(), empty);
  CHECK(empty.points_size() == 0);
}

TEST_CASE("clusters: defaults, what is given, and results") {
  v1::ClusterRequest proto;
  proto.set_collection("c");
  proto.set_k(3);
  const auto defaults = ToCluster(proto, {});
  REQUIRE_OK(defaults);
  CHECK(defaults->collection == "c");
  CHECK(defaults->params.k == 3);
  CHECK(defaults->params.iterations == 20);
  CHECK(defaults->params.seed == 1);
  CHECK_FALSE(defaults->params.metric.has_value());
  CHECK_FALSE(defaults->params.with_assignment);
  proto.clear_collection();
  proto.add_vectors()->add_values(2);
  proto.set_iterations(0);  // present and wrong: the engine refuses it
  proto.set_seed(9);
  proto.set_metric(v1::METRIC_DOT);
  proto.set_with_assignment(true);
  const auto given = ToCluster(proto, {});
  REQUIRE_OK(given);
  CHECK(given->vectors == std::vector<std::vector<float>>{{2}});
  CHECK(given->params.iterations == 0);
  CHECK(given->params.seed == 9);
  CHECK(given->params.metric == Metric::kDot);
  CHECK(given->params.with_assignment);
  proto.set_metric(static_cast<v1::Metric>(9));
  REQUIRE_STATUS(ToCluster(proto, {}), kInvalid, "metric must be 1 to 3 (cosine, dot, l2)");

  v1::ClusterResponse response;
  ToProto(ClusterResult{.clusters = {{.centroid = {1, 2}, .points = 7}},
                        .points = 7,
                        .mean_score = 0.5,
                        .ids = {40},
                        .cluster_of = {0}},
          response);
  CHECK(response.clusters(0).centroid(1) == 2);
  CHECK(response.clusters(0).points() == 7);
  CHECK(response.points() == 7);
  CHECK(response.mean_score() == 0.5);
  CHECK(response.ids(0) == 40);
  CHECK(response.cluster_of(0) == 0);
}

TEST_CASE("ingest and ask") {
  v1::IngestRequest ingest;
  REQUIRE_STATUS(ToIngest(ingest, {}), kInvalid, "collection");
  ingest.set_collection("c");
  v1::Document& document = *ingest.add_documents();
  document.set_id("d");
  document.set_title("t");
  document.set_text("text");
  (*document.mutable_metadata())["year"].set_integer(1911);
  ingest.set_passage_overlap_chars(0);
  const auto request = ToIngest(ingest, {});
  REQUIRE_OK(request);
  CHECK(request->documents[0].id == "d");
  CHECK(request->documents[0].title == "t");
  CHECK(request->documents[0].text == "text");
  CHECK(std::get<int64_t>(request->documents[0].metadata.at("year")) == 1911);
  CHECK_FALSE(request->passage_chars_max.has_value());
  CHECK(request->passage_overlap_chars == 0);

  v1::AskRequest ask;
  ask.set_collection("c");
  REQUIRE_STATUS(ToAsk(ask, {}), kInvalid, "question must not be empty");
  ask.set_question(std::string(16'385, 'x'));
  REQUIRE_STATUS(ToAsk(ask, {}), kInvalid, "question must be 1 to 16384 bytes long");
  ask.set_question("why?");
  REQUIRE(ToAsk(ask, {})->k == 5);
  ask.set_k(0);  // present and wrong: the engine refuses it
  REQUIRE(ToAsk(ask, {})->k == 0);
  CHECK(ToAsk(ask, {})->answers == 1);
  ask.set_n(3);
  CHECK(ToAsk(ask, {})->answers == 3);
  ask.mutable_sampling()->set_temperature(-1);
  REQUIRE_STATUS(ToAsk(ask, {}), kInvalid, "sampling.temperature");

  v1::AskFinished finished;
  ToProto(AskResult{.mode = AskMode::kRetrievalOnly,
                    .mode_reason = "no model",
                    .citations = {Citation{.number = 1,
                                           .passage_id = 2,
                                           .document_id = "d",
                                           .title = "t",
                                           .quote = "q",
                                           .begin = 3,
                                           .end = 4}}},
          finished);
  CHECK(finished.mode() == v1::AskFinished::RETRIEVAL_ONLY);
  CHECK(finished.mode_reason() == "no model");
  CHECK(finished.finish_reason() == v1::FINISH_REASON_UNSPECIFIED);
  REQUIRE(finished.citations_size() == 1);
  CHECK(finished.citations(0).quote() == "q");
  CHECK(finished.citations(0).end() == 4);
  v1::AskFinished generated;
  ToProto(AskResult{.mode = AskMode::kGenerated, .generated = {.model = "tiny"}}, generated);
  CHECK(generated.mode() == v1::AskFinished::GENERATED);
  CHECK(generated.finish_reason() == v1::FINISH_REASON_STOP);
  CHECK(generated.model() == "tiny");

  v1::Retrieved retrieved;
  ToProto(std::vector<Passage>{Passage{.id = 1, .document_id = "d", .text = "x", .score = 0.5f}},
          retrieved);
  CHECK(retrieved.passages(0).id() == 1);
  CHECK(retrieved.passages(0).text() == "x");
  CHECK(retrieved.passages(0).score() == 0.5f);
}

TEST_CASE("rerank: bounds, defaults and results") {
  v1::RerankRequest proto;
  REQUIRE_STATUS(ToRerank(proto, {}), kInvalid, "query");
  proto.set_query("which?");
  REQUIRE_STATUS(ToRerank(proto, {}), kInvalid, "documents");
  proto.add_documents("a");
  proto.add_documents("");
  REQUIRE_STATUS(ToRerank(proto, {}), kInvalid, "documents[1]");
  proto.set_documents(1, std::string((1 << 20) + 1, 'a'));
  REQUIRE_STATUS(ToRerank(proto, {}), kInvalid, "documents[1]");
  proto.set_documents(1, "b");
  const auto plain = ToRerank(proto, {});
  REQUIRE_OK(plain);
  CHECK(plain->documents == std::vector<std::string>{"a", "b"});
  CHECK_FALSE(plain->top_n.has_value());
  CHECK_FALSE(plain->return_documents);
  proto.set_top_n(1);
  proto.set_return_documents(true);
  proto.set_model("m");
  CHECK(ToRerank(proto, {})->top_n == 1);
  CHECK(ToRerank(proto, {})->return_documents);
  CHECK(ToRerank(proto, {})->model == "m");
  while (proto.documents_size() <= 1024) proto.add_documents("c");
  REQUIRE_STATUS(ToRerank(proto, {}), kInvalid, "documents");

  v1::RerankResponse response;
  ToProto(
      RerankResult{
          .method = RerankMethod::kEmbedding,
          .documents =
              {{.index = 1, .score = 0.5f, .raw_score = 0.25f, .truncated = true, .document = "b"}},
          .query_truncated = true,
          .model = "m"},
      response);
  CHECK(response.method() == v1::RerankResponse::METHOD_EMBEDDING);
  CHECK(response.model() == "m");
  CHECK(response.query_truncated());
  REQUIRE(response.results_size() == 1);
  CHECK(response.results(0).index() == 1);
  CHECK(response.results(0).score() == 0.5f);
  CHECK(response.results(0).raw_score() == 0.25f);
  CHECK(response.results(0).truncated());
  CHECK(response.results(0).document() == "b");
}

TEST_CASE("models that are to be loaded and unloaded") {
  v1::LoadModelRequest load;
  load.set_name("m");
  load.set_path("m.gguf");
  load.set_question_prefix("query: ");
  REQUIRE_OK(ToLoadModel(load));
  CHECK(ToLoadModel(load)->name == "m");
  CHECK(ToLoadModel(load)->path == "m.gguf");
  CHECK(ToLoadModel(load)->question_prefix == "query: ");
  load.set_passage_prefix(std::string(1025, 'p'));
  REQUIRE_STATUS(ToLoadModel(load), kInvalid, "passage_prefix");

  v1::UnloadModelRequest unload;
  unload.set_name("m");
  CHECK(ToUnloadModel(unload)->drain_us == 30'000'000);
  unload.set_drain_timeout_s(0);
  CHECK(ToUnloadModel(unload)->drain_us == 0);
  unload.set_drain_timeout_s(0.25);
  CHECK(ToUnloadModel(unload)->drain_us == 250'000);
  for (const double wrong : {-1.0, 3601.0, std::nan("")}) {
    unload.set_drain_timeout_s(wrong);
    REQUIRE_STATUS(ToUnloadModel(unload), kInvalid, "drain_timeout_s must be 0 to 3600");
  }

  v1::Model model;
  ToProto(ModelReport{.name = "m",
                      .path = "/m.gguf",
                      .state = ModelState::kFailed,
                      .detail = "why",
                      .memory_bytes = 7,
                      .kind = ModelKind::kReranker},
          model);
  CHECK(model.state() == v1::Model::STATE_FAILED);
  CHECK(model.kind() == v1::Model::KIND_RERANKER);
  CHECK(model.detail() == "why");
  CHECK(model.memory_bytes() == 7);
}

TEST_CASE("explain and devices") {
  v1::ExplainRequest proto;
  REQUIRE_STATUS(ToExplain(proto, {}), kInvalid, "kind must be 1 to 7");
  proto.set_kind(static_cast<v1::ExplainRequest::Kind>(8));
  REQUIRE_STATUS(ToExplain(proto, {}), kInvalid, "but is 8");
  proto.set_kind(v1::ExplainRequest::ASK);
  REQUIRE(ToExplain(proto, {})->kind == ExplainRequest::Kind::kAsk);
  REQUIRE(ToExplain(proto, {})->items == 1);

  DeviceReport report;
  report.info = {.platform = Platform::kGpu, .device = "gpu", .present = true, .detail = "driver"};
  report.sample = {.healthy = false, .queue_depth = 2};
  report.skills = {"llm"};
  v1::Device device;
  ToProto(report, device);
  CHECK_FALSE(device.available());
  CHECK(device.reason() == "the device is not healthy");
  CHECK(device.queue_depth() == 2);
  CHECK(device.skills(0) == "llm");
  report.info.present = false;
  report.info.reason = "no driver";
  v1::Device absent;
  ToProto(report, absent);
  CHECK_FALSE(absent.available());
  CHECK(absent.reason() == "no driver");

  v1::ExplainStage stage;
  ToProto(
      ExplainedStage{
          .name = "search",
          .candidates = {RouteCandidate{
              .platform = Platform::kCpu, .device = "cpu0", .eligible = true, .score = 0.75}}},
      stage);
  CHECK(stage.name() == "search");
  CHECK(stage.candidates(0).eligible());
  CHECK(stage.candidates(0).score() == 0.75);
}

}  // namespace
}  // namespace baton
