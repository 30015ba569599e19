#include "server/batonctl/run.h"  // header under test

#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <chrono>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <sstream>
#include <thread>

#include "tests/server/batonctl/temporary_folder.h"

namespace baton::ctl {
namespace {

// A proxy that is not there: whoever uses it does not arrive. Before gRPC reads the environment.
const bool kProxySet = [] {
  for (const char* name : {"grpc_proxy", "https_proxy", "http_proxy"}) {
    setenv(name, "http://127.0.0.1:1", 1);
  }
  unsetenv("no_proxy");
  unsetenv("no_grpc_proxy");
  return true;
}();

void FillStage(v1::Stage* stage) {
  stage->set_name("decode");
  stage->set_queue_us(120);
  stage->set_run_us(45'600);
  stage->set_items(9);
  v1::Route* route = stage->mutable_route();
  route->set_work_class(v1::WORK_CLASS_DECODE);
  route->set_preferred(v1::PLATFORM_FPGA);
  route->set_platform(v1::PLATFORM_CPU);
  route->set_device("cpu0");
  route->set_rule("llm-decode");
  route->set_reason("the only one present");
  route->set_fallback(true);
  v1::PassedOver* other = route->add_passed_over();
  other->set_platform(v1::PLATFORM_FPGA);
  other->set_device("fpga0");
  other->set_reason("no card");
}

// A daemon with one collection, "notes", and scripted answers. It keeps what it was sent.
class FakeDaemon final : public v1::InferenceService::Service,
                         public v1::RagService::Service,
                         public v1::VectorService::Service {
 public:
  FakeDaemon() {
    grpc::ServerBuilder builder;
    int port = 0;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
    builder.RegisterService(static_cast<v1::InferenceService::Service*>(this));
    builder.RegisterService(static_cast<v1::RagService::Service*>(this));
    builder.RegisterService(static_cast<v1::VectorService::Service*>(this));
    server_ = builder.BuildAndStart();
    REQUIRE(server_ != nullptr);
    address = "127.0.0.1:" + std::to_string(port);
  }
  ~FakeDaemon() override {
    server_->Shutdown(std::chrono::system_clock::now() + std::chrono::milliseconds(50));
  }

  grpc::Status Ask(grpc::ServerContext*, const v1::AskRequest* request,
                   grpc::ServerWriter<v1::AskResponse>* writer) override {
    ask = *request;
    if (request->collection() != "notes") {
      return {grpc::StatusCode::NOT_FOUND, "no collection " + request->collection()};
    }
    if (request->question() == "hang") {
      std::this_thread::sleep_for(std::chrono::milliseconds(400));
    }
    v1::AskResponse retrieved;
    v1::Passage* passage = retrieved.mutable_retrieved()->add_passages();
    passage->set_document_id("light.md");
    passage->set_title("The light");
    passage->set_text("There are 187 steps. Mind\x1b[31m them.");
    writer->Write(retrieved);
    if (request->question() == "break off") {
      return grpc::Status::OK;
    }
    v1::AskResponse tokens;
    tokens.mutable_tokens()->set_text("187 steps [1].");
    if (request->has_logprobs()) {
      v1::TokenLogprob* token = tokens.mutable_tokens()->add_logprobs()->mutable_token();
      token->set_text("187 steps");
      token->set_id(9);
      token->set_logprob(-0.5F);
    }
    v1::AskResponse finished;
    v1::AskFinished* end = finished.mutable_finished();
    if (request->retrieval_only()) {
      end->set_mode(v1::AskFinished::RETRIEVAL_ONLY);
      end->set_mode_reason("the request asked for it");
    } else {
      end->set_mode(v1::AskFinished::GENERATED);
      for (int32_t i = 1; i < request->n(); ++i) {
        v1::AskResponse other = tokens;
        other.mutable_tokens()->set_index(i);
        other.mutable_tokens()->set_text("answer " + std::to_string(i));
        writer->Write(other);
        v1::AskResponse ended;
        ended.mutable_finished()->set_mode(v1::AskFinished::GENERATED);
        ended.mutable_finished()->set_index(i);
        writer->Write(ended);
      }
      if (request->question() == "break off late") {
        return grpc::Status::OK;
      }
      writer->Write(tokens);
      if (request->stop_size() > 0) {
        end->set_finish_reason(v1::FINISH_REASON_STOP_STRING);
        end->set_stop_string(request->stop(0));
      }
    }
    v1::Citation* citation = end->add_citations();
    citation->set_number(1);
    citation->set_document_id("light.md");
    citation->set_title("The light");
    citation->set_quote("There are 187 steps.");
    citation->set_end(20);
    FillStage(end->mutable_timings()->add_stages());
    writer->Write(finished);
    return grpc::Status::OK;
  }

  grpc::Status Generate(grpc::ServerContext*, const v1::GenerateRequest* request,
                        grpc::ServerWriter<v1::GenerateResponse>* writer) override {
    generate = *request;
    if (request->echo()) {
      v1::GenerateResponse echo;
      echo.mutable_prompt()->set_text(request->text());
      writer->Write(echo);
    }
    for (int32_t i = 0; i < std::max(1, request->n()); ++i) {
      v1::GenerateResponse tokens;
      tokens.mutable_tokens()->set_index(i);
      tokens.mutable_tokens()->set_text("text " + std::to_string(i));
      if (request->has_logprobs()) {
        v1::TokenLogprobs& logprobs = *tokens.mutable_tokens()->add_logprobs();
        logprobs.mutable_token()->set_id(7);
        logprobs.mutable_token()->set_logprob(-0.5F);
        logprobs.mutable_token()->set_text("te\nxt");
        logprobs.add_top()->set_logprob(-0.25F);
      }
      writer->Write(tokens);
    }
    for (int32_t i = std::max(1, request->n()); i-- > 0;) {
      v1::GenerateResponse finished;
      finished.mutable_finished()->set_index(i);
      finished.mutable_finished()->set_model("tiny");
      finished.mutable_finished()->set_reason(v1::FINISH_REASON_STOP_STRING);
      finished.mutable_finished()->set_stop_string("END");
      if (request->text() == "break off" && i == 0) break;
      writer->Write(finished);
    }
    return grpc::Status::OK;
  }

  grpc::Status Ingest(grpc::ServerContext*, const v1::IngestRequest* request,
                      v1::IngestResponse* response) override {
    ++ingest_calls;
    if (ingest_calls > ingest_calls_max) {
      return {grpc::StatusCode::RESOURCE_EXHAUSTED, "queue is full"};
    }
    for (const v1::Document& document : request->documents()) {
      ingested.push_back(document);
    }
    response->set_documents(request->documents_size());
    response->set_passages(2 * request->documents_size());
    return grpc::Status::OK;
  }

  grpc::Status Embed(grpc::ServerContext*, const v1::EmbedRequest* request,
                     v1::EmbedResponse* response) override {
    embed = *request;
    response->add_embeddings()->add_values(0.5F);
    return grpc::Status::OK;
  }

  grpc::Status Search(grpc::ServerContext*, const v1::SearchRequest* request,
                      v1::SearchResponse* response) override {
    search = *request;
    v1::ScoredPoint* point = response->add_points();
    point->set_id(18'446'744'073'709'551'615U);
    point->set_score(0.25F);
    (*point->mutable_payload())["b"].set_integer(7);
    (*point->mutable_payload())["a"].set_text("x");
    return grpc::Status::OK;
  }

  // The documents in reverse order.
  grpc::Status Rerank(grpc::ServerContext*, const v1::RerankRequest* request,
                      v1::RerankResponse* response) override {
    rerank = *request;
    for (int32_t i = request->documents_size(); i-- > 0;) {
      v1::RerankResult* result = response->add_results();
      result->set_index(i);
      result->set_score(0.125F);
      result->set_truncated(i == 0);
      result->set_document(request->documents(i));
    }
    response->set_method(v1::RerankResponse::METHOD_EMBEDDING);
    response->set_model("lexical-7");
    return grpc::Status::OK;
  }

  grpc::Status Cluster(grpc::ServerContext*, const v1::ClusterRequest* request,
                       v1::ClusterResponse* response) override {
    cluster = *request;
    for (int64_t points : {3, 5}) {
      v1::Cluster* added = response->add_clusters();
      added->set_points(points);
      for (int j = 0; j < 7; ++j) added->add_centroid(0.5F);
    }
    response->set_points(8);
    response->set_mean_score(0.25);
    response->add_ids(42);
    response->add_cluster_of(1);
    return grpc::Status::OK;
  }

  grpc::Status ListCollections(grpc::ServerContext*, const v1::ListCollectionsRequest*,
                               v1::ListCollectionsResponse* response) override {
    response->add_collections()->mutable_spec()->set_name("notes");
    return grpc::Status::OK;
  }

  grpc::Status DescribeCollection(grpc::ServerContext*,
                                  const v1::DescribeCollectionRequest* request,
                                  v1::DescribeCollectionResponse* response) override {
    if (request->collection() != "notes") {
      return {grpc::StatusCode::NOT_FOUND, "no collection " + request->collection()};
    }
    response->mutable_collection()->set_embedder("lexical-7");
    return grpc::Status::OK;
  }

  grpc::Status CreateCollection(grpc::ServerContext*, const v1::CreateCollectionRequest* request,
                                v1::CreateCollectionResponse* response) override {
    *response->mutable_collection()->mutable_spec() = request->spec();
    return grpc::Status::OK;
  }

  std::string address;
  v1::AskRequest ask;
  v1::GenerateRequest generate;
  v1::EmbedRequest embed;
  v1::SearchRequest search;
  v1::RerankRequest rerank;
  v1::ClusterRequest cluster;
  std::vector<v1::Document> ingested;
  int ingest_calls = 0;
  int ingest_calls_max = 1000;

 private:
  std::unique_ptr<grpc::Server> server_;
};

struct Outcome {
  int exit_code;
  std::string out;
  std::string err;
};

Outcome Call(const std::string& address, std::vector<std::string> arguments) {
  std::vector<const char*> argv = {"batonctl", "--server", address.c_str()};
  for (const std::string& argument : arguments) {
    argv.push_back(argument.c_str());
  }
  std::ostringstream out;
  std::ostringstream err;
  const int exit_code =
      Run(static_cast<int>(argv.size()), argv.data(), Terminal{.out = out, .err = err});
  return {exit_code, out.str(), err.str()};
}

TEST_CASE("Ask prints the answer, its citations and its stages, past a bogus proxy") {
  FakeDaemon daemon;
  const Outcome outcome =
      Call(daemon.address, {"ask", "How many?", "-c", "notes", "--passages", "-k", "3", "--sla-us",
                            "900", "--platform", "fpga", "--tenant", "t", "--temperature", "0.5"});
  INFO(outcome.err);
  CHECK(outcome.exit_code == 0);
  CHECK_THAT(outcome.out, Catch::Contains("passage 1") && Catch::Contains("Mind?[31m them.") &&
                              Catch::Contains("187 steps [1].\n"));
  CHECK_THAT(outcome.out, Catch::Contains("[1] The light (light.md), bytes 0 to 20") &&
                              Catch::Contains("\"There are 187 steps.\""));
  CHECK_THAT(outcome.out, Catch::Contains("cpu (fallback from fpga)") &&
                              Catch::Contains("llm-decode") && Catch::Contains("45.6 ms") &&
                              Catch::Contains("the only one present") &&
                              Catch::Contains("passed over fpga fpga0: no card"));
  CHECK(daemon.ask.k() == 3);
  CHECK(daemon.ask.options().hints().latency_sla_us() == 900);
  CHECK(daemon.ask.options().hints().platform() == v1::PLATFORM_FPGA);
  CHECK_FALSE(daemon.ask.options().hints().has_batch_size());
  CHECK(daemon.ask.options().tenant() == "t");
  CHECK(daemon.ask.sampling().temperature() == 0.5F);
  CHECK_FALSE(daemon.ask.sampling().has_top_k());
}

TEST_CASE("Ask takes what ends the answer and what is told of its tokens") {
  FakeDaemon daemon;
  const Outcome outcome =
      Call(daemon.address, {"ask", "How many?", "-c", "notes", "--stop", "END", "--stop-token", "7",
                            "--include-stop", "--min-tokens", "2", "--logprobs", "1"});
  INFO(outcome.err);
  CHECK(outcome.exit_code == 0);
  REQUIRE(daemon.ask.stop_size() == 1);
  CHECK(daemon.ask.stop(0) == "END");
  REQUIRE(daemon.ask.stop_token_ids_size() == 1);
  CHECK(daemon.ask.stop_token_ids(0) == 7);
  CHECK(daemon.ask.include_stop());
  CHECK(daemon.ask.min_tokens() == 2);
  CHECK(daemon.ask.logprobs() == 1);
  CHECK_THAT(outcome.out, Catch::Contains("\"187 steps\" (9) -0.5000"));
  CHECK_THAT(outcome.out, Catch::Contains("ended by stop_string \"END\""));
}

TEST_CASE("an answer in the passages' own words, or freely, where the flags say") {
  FakeDaemon daemon;
  const std::vector<std::string> ask = {"ask", "How many?", "-c", "notes"};
  const auto with = [&](std::vector<std::string> flags) {
    flags.insert(flags.begin(), ask.begin(), ask.end());
    return Call(daemon.address, flags).exit_code;
  };
  CHECK(with({}) == 0);
  CHECK_FALSE(daemon.ask.has_verbatim());
  CHECK(with({"--verbatim", "true"}) == 0);
  CHECK(daemon.ask.verbatim());
  CHECK(with({"--verbatim", "false"}) == 0);
  CHECK(daemon.ask.has_verbatim());
  CHECK_FALSE(daemon.ask.verbatim());
  CHECK(with({"--verbatim", "true", "--json-object"}) == 2);  // one form of the answer
}

TEST_CASE("Retrieval alone shows the passages as the answer and says why") {
  FakeDaemon daemon;
  const Outcome outcome =
      Call(daemon.address, {"ask", "How many?", "-c", "notes", "--retrieval-only"});
  CHECK(outcome.exit_code == 0);
  CHECK_THAT(outcome.out, Catch::Contains("passage 1") &&
                              Catch::Contains("No text was generated: the request asked for it"));
}

TEST_CASE("Rerank takes a document from each line and names lines in its answer") {
  FakeDaemon daemon;
  const TemporaryFolder folder;
  const std::string lines = folder.Write("lines.txt", "the first\nthe second\n");
  const Outcome outcome =
      Call(daemon.address, {"rerank", "which?", lines, "--top", "5", "--model", "m"});
  INFO(outcome.err);
  CHECK(outcome.exit_code == 0);
  CHECK(daemon.rerank.query() == "which?");
  CHECK(daemon.rerank.model() == "m");
  CHECK(daemon.rerank.top_n() == 5);
  REQUIRE(daemon.rerank.documents_size() == 2);
  CHECK(daemon.rerank.documents(1) == "the second");
  CHECK_THAT(outcome.out, Catch::Contains("   1     2  0.1250  the second\n") &&
                              Catch::Contains("   2     1  0.1250  the first [cut]\n") &&
                              Catch::Contains("scored by lexical-7, by the similarity"));
  CHECK(Call(daemon.address, {"rerank", "-", "-"}).exit_code == kExitUsage);
  const Outcome missing = Call(daemon.address, {"rerank", "which?", folder.path() + "/none"});
  CHECK(missing.exit_code == kExitUsage);
  CHECK_THAT(missing.err, Catch::Contains("cannot read the documents"));
}

TEST_CASE("cluster prints the largest first, and points where asked") {
  FakeDaemon daemon;
  const Outcome outcome =
      Call(daemon.address, {"cluster", "-c", "notes", "-k", "2", "--iterations", "3", "--seed", "4",
                            "--metric", "l2", "--assignment"});
  INFO(outcome.err);
  CHECK(outcome.exit_code == 0);
  CHECK(daemon.cluster.collection() == "notes");
  CHECK(daemon.cluster.k() == 2);
  CHECK(daemon.cluster.iterations() == 3);
  CHECK(daemon.cluster.seed() == 4);
  CHECK(daemon.cluster.metric() == v1::METRIC_L2);
  CHECK(daemon.cluster.with_assignment());
  INFO(outcome.out);
  CHECK_THAT(outcome.out,
             Catch::Contains("42        1\n") && Catch::Contains("8 points, mean score 0.25"));
  CHECK(outcome.out.find("1       5  0.5 0.5 0.5 0.5 0.5 0.5 ...\n") <
        outcome.out.find("0       3  0.5"));
  CHECK(Call(daemon.address, {"cluster", "-c", "notes"}).exit_code == kExitUsage);
  CHECK(Call(daemon.address, {"cluster", "-c", "notes", "-k", "0"}).exit_code == kExitUsage);
}

TEST_CASE("Ask with --json prints one document a line, with the fields' own names") {
  FakeDaemon daemon;
  const Outcome outcome = Call(daemon.address, {"ask", "How many?", "-c", "notes", "--json"});
  std::istringstream lines(outcome.out);
  std::vector<nlohmann::json> documents;
  for (std::string line; std::getline(lines, line);) {
    documents.push_back(nlohmann::json::parse(line));
  }
  REQUIRE(documents.size() == 3);
  CHECK(documents[0]["retrieved"]["passages"][0]["document_id"] == "light.md");
  CHECK(documents[1]["tokens"]["text"] == "187 steps [1].");
  CHECK(documents[2]["finished"]["mode"] == "GENERATED");
}

TEST_CASE("Failures say what to do") {
  FakeDaemon daemon;
  const Outcome unknown = Call(daemon.address, {"ask", "x", "-c", "nots"});
  CHECK(unknown.exit_code == 1);
  CHECK(unknown.out.empty());
  CHECK_THAT(unknown.err, Catch::Contains("NOT_FOUND: no collection nots") &&
                              Catch::Contains("Collections there are: notes"));

  const Outcome absent = Call("127.0.0.1:1", {"devices"});
  CHECK(absent.exit_code == 1);
  CHECK_THAT(absent.err, Catch::Contains("no daemon answers at 127.0.0.1:1: start it with "
                                         "batond --config FILE, or name another with --server"));

  const Outcome other = Call(daemon.address, {"devices"});
  CHECK(other.exit_code == 1);
  CHECK_THAT(other.err, Catch::Contains("does not know this request"));

  const Outcome broken = Call(daemon.address, {"ask", "break off", "-c", "notes"});
  CHECK(broken.exit_code == 1);
  CHECK_THAT(broken.err, Catch::Contains("broke off"));

  const Outcome slow = Call(daemon.address, {"ask", "hang", "-c", "notes", "--timeout", "0.05"});
  CHECK(slow.exit_code == 1);
  CHECK_THAT(slow.err, Catch::Contains("no answer within 0.05 s"));
}

TEST_CASE("Usage errors exit with 2") {
  FakeDaemon daemon;
  for (const std::vector<std::string>& arguments : std::vector<std::vector<std::string>>{
           {},
           {"frobnicate"},
           {"ask", "x"},
           {"ask", "x", "-c", "notes", "--platform", "tpu"},
           {"ask", "x", "-c", "notes", "-k", "0"},
           {"ask", "\xff", "-c", "notes"},
           {"search", "-c", "notes"},
           {"search", "-c", "notes", "--text", "a", "--vector", "1"},
           {"search", "-c", "notes", "--vector", "1,x"},
           {"collections", "create", "n"},
           {"models", "--priority", "101"}}) {
    CAPTURE(arguments);
    const Outcome outcome = Call(daemon.address, arguments);
    CHECK(outcome.exit_code == 2);
    CHECK_FALSE(outcome.err.empty());
  }
  CHECK(Call(daemon.address, {"--help"}).exit_code == 0);
  CHECK(Call(daemon.address, {"ask", "--help"}).exit_code == 0);
}

TEST_CASE("Generate sends what its flags say and shows one completion or several") {
  FakeDaemon daemon;
  const Outcome one = Call(daemon.address, {"generate",
                                            "once",
                                            "--stop",
                                            "END",
                                            "--stop",
                                            "a, b",
                                            "--stop-token",
                                            "5",
                                            "--include-stop",
                                            "--min-tokens",
                                            "3",
                                            "--logprobs",
                                            "1",
                                            "--echo",
                                            "--logit-bias",
                                            "7=-1.5",
                                            "--logit-bias",
                                            "8=2",
                                            "--repetition-penalty",
                                            "1.25",
                                            "--penalty-last-n",
                                            "-1",
                                            "--presence-penalty",
                                            "0.5",
                                            "--frequency-penalty",
                                            "-0.5"});
  INFO(one.err);
  CHECK(one.exit_code == 0);
  CHECK_THAT(one.out, Catch::Contains("oncetext 0") &&
                          Catch::Contains(R"("te\nxt" (7) -0.5000; likely: "" (0) -0.2500)") &&
                          Catch::Contains("ended by stop_string \"END\""));
  const v1::GenerateRequest& sent = daemon.generate;
  REQUIRE(sent.stop_size() == 2);
  CHECK(sent.stop(1) == "a, b");
  REQUIRE(sent.stop_token_ids_size() == 1);
  CHECK(sent.stop_token_ids(0) == 5);
  CHECK(sent.include_stop());
  CHECK(sent.min_tokens() == 3);
  CHECK(sent.logprobs() == 1);
  CHECK(sent.sampling().logit_bias().at(7) == -1.5F);
  CHECK(sent.sampling().logit_bias().at(8) == 2);
  CHECK(sent.sampling().repetition_penalty() == 1.25F);
  CHECK(sent.sampling().penalty_last_n() == -1);
  CHECK(sent.sampling().presence_penalty() == 0.5F);
  CHECK(sent.sampling().frequency_penalty() == -0.5F);

  const Outcome three = Call(daemon.address, {"generate", "once", "-n", "3"});
  CHECK(three.exit_code == 0);
  CHECK(daemon.generate.n() == 3);
  CHECK_FALSE(daemon.generate.has_logprobs());
  for (const char* part : {"[0] text 0", "[1] text 1", "[2] text 2"}) {
    CHECK_THAT(three.out, Catch::Contains(part));
  }
  CHECK_THAT(Call(daemon.address, {"generate", "break off", "-n", "3"}).err,
             Catch::Contains("broke off"));

  const Outcome answers = Call(daemon.address, {"ask", "how many?", "-c", "notes", "-n", "2"});
  CHECK(answers.exit_code == 0);
  CHECK_THAT(answers.out, Catch::Contains("(1) answer 1") && Catch::Contains("(0) 187 steps [1]."));
  CHECK_THAT(Call(daemon.address, {"ask", "break off late", "-c", "notes", "-n", "2"}).err,
             Catch::Contains("broke off"));
  for (const char* wrong : {"7", "x=1", "7=x", "=1", "7="}) {
    CAPTURE(wrong);
    CHECK(Call(daemon.address, {"generate", "once", "--logit-bias", wrong}).exit_code == 2);
  }
}

TEST_CASE("Generate and Ask send what the text must look like") {
  FakeDaemon daemon;
  const TemporaryFolder folder;
  const std::string grammar = folder.Write("yes.gbnf", "root ::= \"yes\"\n");
  const std::string schema = folder.Write("any.json", "{\"type\": \"object\"}");
  CHECK(Call(daemon.address, {"generate", "once", "--grammar", grammar}).exit_code == 0);
  CHECK(daemon.generate.grammar() == "root ::= \"yes\"\n");
  CHECK(Call(daemon.address, {"generate", "once", "--json-schema", schema}).exit_code == 0);
  CHECK(daemon.generate.json_schema() == "{\"type\": \"object\"}");
  CHECK(Call(daemon.address, {"generate", "once", "--json-object"}).exit_code == 0);
  CHECK(daemon.generate.json_object());
  CHECK(Call(daemon.address, {"generate", "once"}).exit_code == 0);
  CHECK(daemon.generate.constraint_case() == v1::GenerateRequest::CONSTRAINT_NOT_SET);
  const Outcome missing = Call(daemon.address, {"generate", "once", "--grammar", "/no/such.gbnf"});
  CHECK(missing.exit_code == 2);
  CHECK_THAT(missing.err, Catch::Contains("cannot read the grammar /no/such.gbnf: No such file"));
  const std::string latin = folder.Write("latin.gbnf", "root ::= \"\xE9\"");
  CHECK_THAT(Call(daemon.address, {"generate", "once", "--grammar", latin}).err,
             Catch::Contains("is not UTF-8 at byte 10"));
  CHECK(
      Call(daemon.address, {"generate", "once", "--json-object", "--grammar", grammar}).exit_code ==
      2);
}

TEST_CASE("Generate sends a conversation where asked to chat") {
  FakeDaemon daemon;
  const Outcome chat = Call(daemon.address, {"generate", "hi", "--chat", "--system", "Be brief.",
                                             "--template-arguments", "{\"a\": 1}"});
  INFO(chat.err);
  CHECK(chat.exit_code == 0);
  REQUIRE(daemon.generate.has_messages());
  const v1::ChatMessages& sent = daemon.generate.messages();
  REQUIRE(sent.messages_size() == 2);
  CHECK(sent.messages(0).role() == "system");
  CHECK(sent.messages(0).content() == "Be brief.");
  CHECK(sent.messages(1).role() == "user");
  CHECK(sent.messages(1).content() == "hi");
  CHECK(sent.template_arguments() == "{\"a\": 1}");
  CHECK(Call(daemon.address, {"generate", "hi", "--chat"}).exit_code == 0);
  CHECK(daemon.generate.messages().messages_size() == 1);
  CHECK(Call(daemon.address, {"generate", "hi", "--system", "x"}).exit_code == 2);
}

TEST_CASE("Search takes a vector, or a text that the collection's embedder embeds") {
  FakeDaemon daemon;
  const Outcome by_vector =
      Call(daemon.address, {"search", "-c", "notes", "--vector", "-1,2", "--exact", "-k", "4"});
  INFO(by_vector.err);
  CHECK(by_vector.exit_code == 0);
  CHECK(daemon.search.vector(0) == -1);
  CHECK(daemon.search.params().k() == 4);
  CHECK(daemon.search.params().exact());
  CHECK_THAT(by_vector.out, Catch::Contains("18446744073709551615  0.2500  a=x, b=7"));

  CHECK(Call(daemon.address, {"search", "-c", "notes", "--text", "light"}).exit_code == 0);
  CHECK(daemon.embed.model() == "lexical-7");
  CHECK(daemon.embed.texts(0) == "light");
  CHECK(daemon.search.vector(0) == 0.5F);

  const Outcome unknown = Call(daemon.address, {"search", "-c", "nots", "--text", "light"});
  CHECK(unknown.exit_code == 1);
  CHECK_THAT(unknown.err, Catch::Contains("Collections there are: notes"));
}

TEST_CASE("Collections are listed, described and created") {
  FakeDaemon daemon;
  CHECK_THAT(Call(daemon.address, {"collections"}).out, Catch::Contains("notes"));
  CHECK_THAT(Call(daemon.address, {"collections", "list", "--json"}).out,
             Catch::Contains("\"collections\""));
  CHECK(Call(daemon.address, {"collections", "describe", "nots"}).exit_code == 1);
  const Outcome created = Call(
      daemon.address, {"collections", "create", "new", "--dim", "3", "--metric", "l2", "--json"});
  const auto spec = nlohmann::json::parse(created.out)["collection"]["spec"];
  CHECK(spec["dimension"] == 3);
  CHECK(spec["metric"] == "METRIC_L2");
}

TEST_CASE("Ingest sends every good document, names the bad ones and exits with 1") {
  FakeDaemon daemon;
  const TemporaryFolder folder;
  folder.Write("a.md", "# A\ntext");
  folder.Write("b.txt", "\xff\xfe");
  folder.Write("c.jsonl", "{\"id\":\"a.md\",\"text\":\"taken\"}\n{\"id\":\"c\",\"text\":\"C\"}");
  const Outcome outcome = Call(daemon.address, {"ingest", folder.path(), "-c", "notes"});
  CHECK(outcome.exit_code == 1);
  REQUIRE(daemon.ingested.size() == 2);
  CHECK(daemon.ingested[0].id() == "a.md");
  CHECK(daemon.ingested[0].title() == "A");
  CHECK(daemon.ingested[1].id() == "c");
  CHECK_THAT(outcome.err, Catch::Contains("b.txt: not UTF-8 at byte 0") &&
                              Catch::Contains("document id \"a.md\" is taken"));
  CHECK_THAT(outcome.out,
             Catch::Contains("notes: 2 documents as 4 passages") && Catch::Contains("2 left out"));
}

TEST_CASE("An ingest that stops says where to go on, and goes on there") {
  FakeDaemon daemon;
  const TemporaryFolder folder;
  std::string lines;
  for (int i = 0; i < 250; ++i) {
    lines += "{\"id\":\"" + std::to_string(i) + "\",\"text\":\"t\"}\n";
  }
  folder.Write("d.jsonl", lines);
  daemon.ingest_calls_max = 1;
  const Outcome stopped = Call(daemon.address, {"ingest", folder.path(), "-c", "notes"});
  CHECK(stopped.exit_code == 1);
  CHECK_THAT(stopped.err,
             Catch::Contains("RESOURCE_EXHAUSTED: queue is full") && Catch::Contains("--skip 100"));
  daemon.ingest_calls_max = 1000;
  const Outcome resumed =
      Call(daemon.address, {"ingest", folder.path(), "-c", "notes", "--skip", "100", "--json"});
  CHECK(resumed.exit_code == 0);
  CHECK(nlohmann::json::parse(resumed.out)["documents"] == "150");
  REQUIRE(daemon.ingested.size() == 250);
  for (size_t i = 0; i < 250; ++i) {
    CHECK(daemon.ingested[i].id() == std::to_string(i));
  }
}

TEST_CASE("Nothing to ingest is a failure that says so") {
  FakeDaemon daemon;
  const TemporaryFolder folder;
  const Outcome outcome = Call(daemon.address, {"ingest", folder.path(), "-c", "notes"});
  CHECK(outcome.exit_code == 1);
  CHECK_THAT(outcome.err, Catch::Contains("no .md, .markdown, .txt or .jsonl file was found"));
  CHECK(daemon.ingest_calls == 0);
}

}  // namespace
}  // namespace baton::ctl
