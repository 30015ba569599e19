// Models that come and go, and rank, over gRPC.
#include <filesystem>
#include <fstream>
#include <future>

#include "tests/integration/client.h"
#include "tests/support/encoder_file.h"
#include "tests/support/eventually.h"
#include "tests/support/gguf_writer.h"

namespace baton {
namespace {

using grpc::StatusCode;
using Admin = v1::AdminService::Stub;
using Inference = v1::InferenceService::Stub;

std::string StateOf(const Client& client, const std::string& name) {
  const auto listed = Must(client.inference, &Inference::ListModels, {});
  for (const v1::Model& model : listed.models()) {
    if (model.name() == name) return v1::Model::State_Name(model.state());
  }
  return "absent";
}

v1::LoadModelRequest LoadOf(const std::string& name, const std::string& path) {
  v1::LoadModelRequest request;
  request.set_name(name);
  request.set_path(path);
  return request;
}

v1::UnloadModelRequest UnloadOf(const std::string& name) {
  v1::UnloadModelRequest request;
  request.set_name(name);
  return request;
}

TEST_CASE("models are loaded and unloaded over gRPC, within the repository and the budget") {
  const TempDir dir;
  dir.Write("small.gguf", RandomModelBytes({}));
  dir.Write("encoder.gguf", RandomEncoderBytes({}));
  dir.Write("rank.gguf", RandomEncoderBytes({.pooling = 4}));
  dir.Write("broken.gguf", "GGUF");
  std::filesystem::create_symlink("/etc/passwd", dir.File("link.gguf"));
  Daemon daemon({"--repository.directory=" + dir.path(), "--kv.memory_mb=4",
                 "--memory.models_bytes_max=60000000", "--executors.cpu.llm_threads=1",
                 "--executors.cpu.embed_threads=1"});
  const Client client(daemon);
  const auto loaded = Must(client.admin, &Admin::LoadModel, LoadOf("small", "small.gguf")).model();
  CHECK(loaded.name() == "small");
  CHECK(loaded.state() == v1::Model::STATE_READY);
  CHECK(loaded.kind() == v1::Model::KIND_LANGUAGE);
  CHECK(loaded.memory_bytes() > loaded.weight_bytes());
  REQUIRE_RPC_OK(Generate(client, GenerateOf("the cat", 8)).status);
  CHECK(daemon.Metric(R"(baton_model_info{kind="language",model="small"})") == 1);
  CHECK(daemon.Metric(R"(baton_model_bytes{model="small"})") ==
        static_cast<double>(loaded.memory_bytes()));
  CHECK(daemon.Metric("baton_models_bytes_max") == 60'000'000);

  const auto load = [&](const std::string& name, const std::string& path) {
    return Try(client.admin, &Admin::LoadModel, LoadOf(name, path)).status;
  };
  CHECK_RPC_ERROR(load("small", "small.gguf"), StatusCode::ALREADY_EXISTS, "small");
  CHECK_RPC_ERROR(load("b", "broken.gguf"), StatusCode::INVALID_ARGUMENT, "broken.gguf");
  CHECK(StateOf(client, "b") == "STATE_FAILED");
  CHECK_RPC_ERROR(load("c", "../x.gguf"), StatusCode::INVALID_ARGUMENT, "\"..\"");
  CHECK_RPC_ERROR(load("c", "/etc/passwd"), StatusCode::PERMISSION_DENIED, "repository.directory");
  CHECK_RPC_ERROR(load("c", "link.gguf"), StatusCode::PERMISSION_DENIED, "repository.directory");
  CHECK_RPC_ERROR(load("c", "none.gguf"), StatusCode::NOT_FOUND, "none.gguf");
  CHECK_RPC_ERROR(load("c d", "small.gguf"), StatusCode::INVALID_ARGUMENT, "name");
  {
    std::ofstream big(dir.File("big.gguf"));
    big.seekp(100'000'000);
    big.put('x');
  }
  CHECK_RPC_ERROR(load("big", "big.gguf"), StatusCode::RESOURCE_EXHAUSTED, "100000001 bytes");

  Must(client.admin, &Admin::LoadModel, LoadOf("mini", "encoder.gguf"));
  Must(client.admin, &Admin::LoadModel, LoadOf("rank", "rank.gguf"));
  v1::RerankRequest rerank;
  rerank.set_query("is the tower");
  for (const char* text : {"the ferry", "the tower is 12", "of the number"}) {
    rerank.add_documents(text);
  }
  rerank.set_top_n(2);
  rerank.set_return_documents(true);
  const auto ranked = Must(client.inference, &Inference::Rerank, rerank);
  CHECK(ranked.method() == v1::RerankResponse::METHOD_CROSS_ENCODER);
  CHECK(ranked.model() == "rank");
  REQUIRE(ranked.results_size() == 2);
  CHECK(ranked.results(0).raw_score() >= ranked.results(1).raw_score());
  CHECK(ranked.results(0).document() == rerank.documents(ranked.results(0).index()));
  CHECK(CheckedStages(ranked.timings()) == std::vector<std::string>{"rerank"});
  rerank.set_model("mini");
  CHECK(Must(client.inference, &Inference::Rerank, rerank).method() ==
        v1::RerankResponse::METHOD_EMBEDDING);
  rerank.clear_documents();
  CHECK_RPC_ERROR(Try(client.inference, &Inference::Rerank, rerank).status,
                  StatusCode::INVALID_ARGUMENT, "documents");

  v1::EmbedRequest embed;
  embed.set_model("mini");
  embed.add_texts("the tower");
  embed.add_texts(std::string(10'000, '.'));
  const auto embedded = Must(client.inference, &Inference::Embed, embed);
  REQUIRE(embedded.inputs_size() == 2);
  CHECK(embedded.inputs(0).tokens() == 4);
  CHECK_FALSE(embedded.inputs(0).truncated());
  CHECK(embedded.inputs(1).tokens() == 64);
  CHECK(embedded.inputs(1).truncated());

  for (const char* name : {"small", "mini", "rank", "b"}) {
    Must(client.admin, &Admin::UnloadModel, UnloadOf(name));
    CHECK(StateOf(client, name) == "absent");
  }
  CHECK(daemon.Metric("baton_models_bytes") == 0);
  CHECK_FALSE(daemon.Metric(R"(baton_model_bytes{model="small"})").has_value());
  CHECK_RPC_ERROR(Try(client.admin, &Admin::UnloadModel, UnloadOf("small")).status,
                  StatusCode::NOT_FOUND, "small");
  CHECK_RPC_ERROR(Generate(client, GenerateOf("the cat", 8)).status,
                  StatusCode::FAILED_PRECONDITION, "no language model");
  CHECK(daemon.Health("") == "SERVING");
}

TEST_CASE("a model goes while requests run, and the daemon ends while models come") {
  const TempDir dir;
  dir.Write("small.gguf", RandomModelBytes({.context_tokens = 4096}));
  Daemon daemon({"--repository.directory=" + dir.path()});
  const Client client(daemon);
  Must(client.admin, &Admin::LoadModel, LoadOf("small", "small.gguf"));
  std::promise<void> running;
  bool told = false;
  auto stream = std::async(std::launch::async, [&] {
    return Generate(client, GenerateOf("the cat", 4000), {}, std::chrono::seconds(60),
                    [&](grpc::ClientContext&) {
                      if (!std::exchange(told, true)) running.set_value();
                    });
  });
  running.get_future().wait();
  v1::UnloadModelRequest unload = UnloadOf("small");
  unload.set_drain_timeout_s(0.05);
  Must(client.admin, &Admin::UnloadModel, unload);
  const Generated cut = stream.get();
  if (!cut.status.ok()) CHECK_RPC_ERROR(cut.status, StatusCode::UNAVAILABLE, "drain timeout");
  CHECK(daemon.Metric("baton_models_bytes") == 0);

  auto loading = std::async(std::launch::async, [&] {
    return Try(client.admin, &Admin::LoadModel, LoadOf("small", "small.gguf")).status;
  });
  CHECK(daemon.Terminate() == 0);
  loading.get();
}

TEST_CASE("without repository.directory models stay as configured, of every kind") {
  const TempFile language(RandomModelBytes({}));
  const TempFile encoder(RandomEncoderBytes({}));
  const TempFile reranker(RandomEncoderBytes({.pooling = 4}));
  const TempDir dir;
  const std::string config =
      dir.Write("batond.yaml", "models:\n  - {name: lm, path: " + language.path() +
                                   "}\n  - {name: mini, path: " + encoder.path() +
                                   ", question_prefix: 'query: '}\n  - {name: rank, path: " +
                                   reranker.path() + "}\nrag:\n  rerank_model: rank\n");
  Daemon daemon({"--config=" + config});
  const Client client(daemon);
  const auto models = Must(client.inference, &Inference::ListModels, {});
  REQUIRE(models.models_size() == 4);
  CHECK(models.models(0).kind() == v1::Model::KIND_LANGUAGE);
  CHECK(models.models(1).kind() == v1::Model::KIND_EMBEDDING);
  CHECK(models.models(2).kind() == v1::Model::KIND_RERANKER);
  CHECK(models.models(3).kind() == v1::Model::KIND_LEXICAL_EMBEDDING);
  for (const v1::Model& model : models.models()) CHECK(model.state() == v1::Model::STATE_READY);
  CHECK_RPC_ERROR(Try(client.admin, &Admin::LoadModel, LoadOf("x", "x.gguf")).status,
                  StatusCode::FAILED_PRECONDITION, "repository.directory is not set");
  CHECK_RPC_ERROR(Try(client.admin, &Admin::UnloadModel, UnloadOf("lm")).status,
                  StatusCode::FAILED_PRECONDITION, "repository.directory is not set");
  Must(client.rag, &v1::RagService::Stub::Ingest,
       IngestOf("docs", {{"a", "The tower is red."}, {"b", "The ferry is blue."}}));
  const Asked asked = Ask(client, AskOf("docs", "What is red?"));
  REQUIRE_RPC_OK(asked.status);
  CHECK(CheckedStages(asked.finished.timings()).at(2) == "rerank");

  const ProgramResult refused =
      RunDaemonToItsEnd({"--rag.rerank_model=none", "--data-dir=" + dir.File("data")});
  CHECK(refused.exit_code != 0);
  CHECK_THAT(refused.err, Catch::Contains("rag.rerank_model"));
  const ProgramResult nowhere = RunDaemonToItsEnd(
      {"--repository.directory=" + dir.File("none"), "--data-dir=" + dir.File("data")});
  CHECK_THAT(nowhere.err, Catch::Contains("repository.directory"));
}

}  // namespace
}  // namespace baton
