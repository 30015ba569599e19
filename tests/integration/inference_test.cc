// Language models over the wire: tokens, deadlines, cancellation, hints.
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <future>
#include <iostream>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "tests/integration/client.h"
#include "tests/support/encoder_file.h"
#include "tests/support/eventually.h"
#include "tests/support/gguf_writer.h"
#include "tests/support/shared_data.h"

namespace baton {
namespace {

using std::chrono::milliseconds;

// With the GPU switched off, a request that asks for one meets the same on every machine.
std::vector<std::string> FlagsOf(const TempFile& model) {
  return {"--model=tiny=" + model.path(), "--executors.gpu.enabled=off",
          "--executors.fpga.enabled=off"};
}

v1::GenerateRequest Sampled(uint64_t seed) {
  v1::GenerateRequest request = GenerateOf("the cat sat on", 40);
  request.mutable_sampling()->set_temperature(1.2f);
  request.mutable_sampling()->set_top_k(60);
  request.mutable_sampling()->set_top_p(0.95f);
  request.mutable_sampling()->set_seed(seed);
  return request;
}

bool AllBlocksAreFree(const Daemon& daemon) {
  return Eventually([&daemon] {
    return daemon.Metric(R"(baton_kv_blocks{model="tiny",space="host",state="used"})") == 0 &&
           daemon.Metric(R"(baton_kv_blocks{model="tiny",space="host",state="reserved"})") == 0;
  });
}

TEST_CASE("tokens stream, and their last message accounts for them") {
  const TempFile model(RandomModelBytes(
      {.context_tokens = 256, .chat_template = "{{ bos_token }}{{ messages[0].content }}"}));
  Daemon daemon(FlagsOf(model));
  const Client client(daemon);
  const Generated generated = Generate(client, GenerateOf("hello there", 60));
  REQUIRE_RPC_OK(generated.status);
  CHECK(generated.ids.size() == 60);
  REQUIRE(generated.is_finished);
  const v1::GenerateFinished& finished = generated.finished;
  CHECK(finished.reason() == v1::FINISH_REASON_LENGTH);
  CHECK(finished.generated_tokens() == 60);
  CHECK(finished.prompt_tokens() > 1);
  CHECK(finished.model() == "tiny");
  CHECK(CheckedStages(finished.timings()) ==
        std::vector<std::string>{"prefill", "handoff", "decode"});
  CHECK(daemon.Metric("baton_time_to_first_token_seconds_count") == 1);
  CHECK(daemon.Metric("baton_inter_token_seconds_count") == 59);
  CHECK(AllBlocksAreFree(daemon));

  // The same text, as the model's chat template writes it.
  v1::GenerateRequest chat = GenerateOf("", 60);
  v1::ChatMessage& message = *chat.mutable_messages()->add_messages();
  message.set_role("user");
  message.set_content("hello there");
  CHECK(Generate(client, chat).ids == generated.ids);

  // A stream that nobody gets to writing before the text has ended is one message.
  int messages = generated.token_messages;
  for (int i = 0; i < 100 && messages == 1; ++i) messages = Generate(client, chat).token_messages;
  CHECK(messages >= 2);
}

TEST_CASE("greedy and seeded sampling repeat, alone and in company") {
  const TempFile model(RandomModelBytes({.context_tokens = 256}));
  Daemon daemon(FlagsOf(model));
  const Client client(daemon);
  const Generated greedy = Generate(client, GenerateOf("the cat sat on", 40));
  const Generated sampled = Generate(client, Sampled(7));
  REQUIRE_RPC_OK(greedy.status);
  REQUIRE_RPC_OK(sampled.status);
  CHECK(sampled.finished.seed() == 7);
  CHECK(sampled.ids != greedy.ids);
  CHECK(Generate(client, Sampled(8)).ids != sampled.ids);

  std::vector<std::future<Generated>> streams;
  for (int i = 0; i < 8; ++i) {
    streams.push_back(std::async(std::launch::async, [&client, i] {
      return Generate(client, i % 2 == 0 ? GenerateOf("the cat sat on", 40) : Sampled(7));
    }));
  }
  for (int i = 0; i < 8; ++i) {
    const Generated again = streams[static_cast<size_t>(i)].get();
    REQUIRE_RPC_OK(again.status);
    CHECK(again.ids == (i % 2 == 0 ? greedy.ids : sampled.ids));
  }

  // Without a seed one is drawn and reported, and gives the same again.
  v1::GenerateRequest unseeded = Sampled(0);
  unseeded.mutable_sampling()->clear_seed();
  const Generated drawn = Generate(client, unseeded);
  REQUIRE_RPC_OK(drawn.status);
  CHECK(Generate(client, Sampled(drawn.finished.seed())).ids == drawn.ids);
}

TEST_CASE("models are listed; texts become tokens and vectors, and tokens texts") {
  const TempFile model(RandomModelBytes({.context_tokens = 256}));
  std::vector<std::string> flags = FlagsOf(model);
  flags.push_back("--embedder.dimension=256");
  Daemon daemon(flags);
  const Client client(daemon);
  const v1::ListModelsResponse models =
      Must(client.inference, &v1::InferenceService::Stub::ListModels, {});
  REQUIRE(models.models_size() == 2);
  CHECK(models.models(0).name() == "tiny");
  CHECK(models.models(0).kind() == v1::Model::KIND_LANGUAGE);
  CHECK(models.models(0).architecture() == "llama");
  CHECK(models.models(0).context_tokens() == 256);
  CHECK(models.models(0).vocabulary() == 320);
  CHECK(models.models(0).parameters() > 10'000);
  CHECK(models.models(0).weight_bytes() > 10'000);
  CHECK(models.models(0).path() == model.path());
  CHECK(models.models(0).kv_type() == "f16");
  CHECK(models.models(0).kv_token_bytes() == 256);  // 2 layers, k and v, 2 heads of 16, 2 bytes
  const v1::Model& embedder = models.models(1);
  CHECK(embedder.kind() == v1::Model::KIND_LEXICAL_EMBEDDING);
  CHECK(embedder.architecture() == "lexical");
  CHECK(embedder.embedding_dimension() == 256);

  v1::EmbedRequest embed;
  embed.set_model(embedder.name());
  for (const char* text : {"a lighthouse", "Rüben und 東京", "a lighthouse"}) embed.add_texts(text);
  const v1::EmbedResponse embedded =
      Must(client.inference, &v1::InferenceService::Stub::Embed, embed);
  REQUIRE(embedded.embeddings_size() == 3);
  for (const v1::Vector& vector : embedded.embeddings()) {
    CHECK(vector.values_size() == 256);
    double square_sum = 0;
    for (const float value : vector.values()) square_sum += double{value} * value;
    CHECK(square_sum == Approx(1).epsilon(1e-4));
  }
  CHECK(embedded.embeddings(0).SerializeAsString() == embedded.embeddings(2).SerializeAsString());
  CHECK(embedded.embeddings(0).SerializeAsString() != embedded.embeddings(1).SerializeAsString());
  CHECK(embedded.model() == embedder.name());
  CHECK(CheckedStages(embedded.timings()) == std::vector<std::string>{"embed"});

  for (const char* text : {"hello there", "naïve 東京 🚢", "two  spaces\nand a line", ""}) {
    CAPTURE(text);
    v1::TokenizeRequest tokenize;
    tokenize.set_text(text);
    tokenize.set_add_bos(false);
    const auto tokens = Must(client.inference, &v1::InferenceService::Stub::Tokenize, tokenize);
    v1::DetokenizeRequest detokenize;
    *detokenize.mutable_ids() = tokens.ids();
    CHECK(Must(client.inference, &v1::InferenceService::Stub::Detokenize, detokenize).text() ==
          text);
    tokenize.set_add_bos(true);
    const auto with_bos = Must(client.inference, &v1::InferenceService::Stub::Tokenize, tokenize);
    REQUIRE(with_bos.ids_size() == tokens.ids_size() + 1);
    CHECK(with_bos.ids(0) == 1);
  }
}

// A context that takes tens of seconds to fill.
constexpr RandomModelOptions kEndless = {.context_tokens = 32'768};
constexpr int32_t kEndlessTokens = 30'000;

TEST_CASE("a deadline ends a generation and frees its cache") {
  const TempFile model(RandomModelBytes(kEndless));
  Daemon daemon(FlagsOf(model));
  const Client client(daemon);
  const Generated late =
      Generate(client, GenerateOf("hello", kEndlessTokens), {}, milliseconds(400));
  CHECK(late.status.error_code() == grpc::StatusCode::DEADLINE_EXCEEDED);
  CHECK_FALSE(late.is_finished);
  CHECK_FALSE(late.ids.empty());
  CHECK(AllBlocksAreFree(daemon));
  CHECK(Eventually([&] { return daemon.Metric("baton_requests_in_flight") == 0; }));
  CHECK(daemon.Metric(R"(baton_sequences_running{model="tiny"})") == 0);
}

TEST_CASE("a client that goes away frees what its request held, and others go on") {
  const TempFile model(RandomModelBytes(kEndless));
  Daemon daemon(FlagsOf(model));
  const Client client(daemon);
  auto other = std::async(std::launch::async,
                          [&client] { return Generate(client, GenerateOf("the bell", 1500)); });
  double used_blocks = 0;
  const Generated cancelled = Generate(
      client, GenerateOf("hello", kEndlessTokens), {}, std::chrono::seconds(60),
      [&](grpc::ClientContext& context) {
        constexpr auto kUsed = R"(baton_kv_blocks{model="tiny",space="host",state="used"})";
        used_blocks = std::max(used_blocks, daemon.Metric(kUsed).value_or(0));
        context.TryCancel();
      });
  CHECK(cancelled.status.error_code() == grpc::StatusCode::CANCELLED);
  CHECK(used_blocks > 0);
  const Generated whole = other.get();
  REQUIRE_RPC_OK(whole.status);
  CHECK(whole.ids.size() == 1500);
  CHECK(AllBlocksAreFree(daemon));

  // A client that dies without a word: its connection is gone, so is its request.
  {
    const Client doomed(ConnectTo(daemon.grpc_address()));
    CallContext context;
    const auto reader = doomed.inference->Generate(&context, GenerateOf("hello", kEndlessTokens));
    v1::GenerateResponse event;
    REQUIRE(reader->Read(&event));
  }
  CHECK(AllBlocksAreFree(daemon));
}

TEST_CASE("full queues refuse work and say when to come again") {
  const TempFile model(RandomModelBytes(kEndless));
  std::vector<std::string> flags = FlagsOf(model);
  flags.push_back("--schedule.sequences_running_max=1");
  flags.push_back("--schedule.sequences_waiting_max=1");
  Daemon daemon(flags);
  const Client client(daemon);
  CallContext running_context;
  CallContext waiting_context;
  const auto running =
      client.inference->Generate(&running_context, GenerateOf("hello", kEndlessTokens));
  v1::GenerateResponse event;
  REQUIRE(running->Read(&event));
  const auto waiting =
      client.inference->Generate(&waiting_context, GenerateOf("hello", kEndlessTokens));
  REQUIRE(
      Eventually([&] { return daemon.Metric(R"(baton_sequences_waiting{model="tiny"})") == 1; }));

  CallContext refused_context;
  const auto refused = client.inference->Generate(&refused_context, GenerateOf("hello", 4));
  CHECK_FALSE(refused->Read(&event));
  CHECK_RPC_ERROR(refused->Finish(), grpc::StatusCode::RESOURCE_EXHAUSTED, "retry in");
  const auto& trailers = refused_context.GetServerTrailingMetadata();
  const auto retry = trailers.find("baton-retry-after-ms");
  REQUIRE(retry != trailers.end());
  CHECK(std::stoi(std::string(retry->second.data(), retry->second.size())) > 0);

  running_context.TryCancel();
  waiting_context.TryCancel();
  CHECK(AllBlocksAreFree(daemon));
  CHECK(Eventually([&] { return Generate(client, GenerateOf("hello", 4)).status.ok(); }));
}

TEST_CASE("a client that does not read is cut off and holds up nobody") {
  const TempFile model(RandomModelBytes(kEndless));
  std::vector<std::string> flags = FlagsOf(model);
  flags.push_back("--server.stream_pending_bytes_max=4096");
  Daemon daemon(flags);
  // Else the transport reads megabytes ahead of its reader.
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_HTTP2_BDP_PROBE, 0);
  arguments.SetInt(GRPC_ARG_HTTP2_STREAM_LOOKAHEAD_BYTES, 4096);
  const Client client(ConnectTo(daemon.grpc_address(), arguments));
  CallContext context;
  const auto unread = client.inference->Generate(&context, GenerateOf("hello", kEndlessTokens));
  REQUIRE(
      Eventually([&] { return daemon.Metric("baton_time_to_first_token_seconds_count") == 1; }));
  const Generated other = Generate(Client(ConnectTo(daemon.grpc_address())), GenerateOf("a", 200));
  CHECK(other.status.ok());
  CHECK(other.ids.size() == 200);
  REQUIRE(Eventually([&] { return daemon.Metric("baton_requests_in_flight") == 0; }));
  CHECK(AllBlocksAreFree(daemon));
  v1::GenerateResponse event;
  while (unread->Read(&event)) CHECK(event.has_tokens());
  CHECK_RPC_ERROR(unread->Finish(), grpc::StatusCode::RESOURCE_EXHAUSTED,
                  "server.stream_pending_bytes_max");
}

struct GoldenIds {
  std::vector<int32_t> prompt;
  std::vector<int32_t> generated;
};
GoldenIds ReadGolden(const std::filesystem::path& path) {
  GoldenIds golden;
  std::istringstream words(ReadWholeFile(path));
  bool is_after_bar = false;
  for (std::string word; words >> word;) {
    if (word == "|") {
      is_after_bar = true;
    } else {
      (is_after_bar ? golden.generated : golden.prompt).push_back(std::stoi(word));
    }
  }
  CAPTURE(path);
  REQUIRE_FALSE(golden.prompt.empty());
  REQUIRE_FALSE(golden.generated.empty());
  return golden;
}

TEST_CASE("greedy output of trained models equals the golden token ids") {
  const auto folder = SharedData("models");
  if (!folder.has_value()) return;
  std::vector<std::string> flags;
  for (const auto& entry : std::filesystem::directory_iterator(*folder)) {
    const std::string name = entry.path().filename().string();
    if (name.ends_with("-f32.gguf") || name.ends_with("-f16.gguf")) {
      flags.push_back("--model=" + entry.path().string());
    }
  }
  REQUIRE_FALSE(flags.empty());
  Daemon daemon(flags);
  const Client client(daemon);
  int compared = 0;
  for (const auto& entry : std::filesystem::directory_iterator(*folder / "golden")) {
    if (entry.path().extension() != ".ids") continue;
    const std::string model = entry.path().stem().stem().string();  // NAME.p0.ids
    if (!model.ends_with("-f32") && !model.ends_with("-f16")) continue;
    CAPTURE(entry.path());
    const GoldenIds golden = ReadGolden(entry.path());
    v1::GenerateRequest request;
    request.set_model(model);
    request.mutable_tokens()->mutable_ids()->Add(golden.prompt.begin(), golden.prompt.end());
    request.set_max_tokens(static_cast<int32_t>(golden.generated.size()));
    request.set_ignore_eos(true);
    const Generated generated = Generate(client, request);
    REQUIRE_RPC_OK(generated.status);
    CHECK(generated.ids == golden.generated);
    ++compared;
  }
  CHECK(compared == static_cast<int>(flags.size()) * 5);
}

TEST_CASE("hints in message and metadata must not contradict each other") {
  const TempFile model(RandomModelBytes({.context_tokens = 256}));
  Daemon daemon(FlagsOf(model));
  const Client client(daemon);
  constexpr auto kInvalid = grpc::StatusCode::INVALID_ARGUMENT;
  v1::GenerateRequest request = GenerateOf("hello", 4);
  v1::RequestOptions& options = *request.mutable_options();
  options.mutable_hints()->set_platform(v1::PLATFORM_CPU);
  options.mutable_hints()->set_batch_size(4);
  options.mutable_hints()->set_latency_sla_us(5000);
  options.mutable_hints()->set_power_budget_w(50);
  options.mutable_hints()->set_deterministic(true);
  options.mutable_hints()->set_fallback(v1::FALLBACK_CPU);
  options.set_priority(3);
  options.set_tenant("acme");

  const Metadata agreeing = {{"baton-platform", "cpu"},      {"baton-batch-size", "4"},
                             {"baton-fallback", "cpu"},      {"baton-latency-sla-us", "5000"},
                             {"baton-power-budget-w", "50"}, {"baton-deterministic", "true"},
                             {"baton-priority", "3"},        {"baton-tenant", "acme"}};
  CHECK(Generate(client, request, agreeing).status.ok());

  const std::vector<std::array<std::string, 3>> contradictions = {
      {"baton-platform", "gpu", "hints.platform"},
      {"baton-batch-size", "5", "hints.batch_size"},
      {"baton-latency-sla-us", "5001", "hints.latency_sla_us"},
      {"baton-power-budget-w", "51", "hints.power_budget_w"},
      {"baton-deterministic", "false", "hints.deterministic"},
      {"baton-fallback", "none", "hints.fallback"},
      {"baton-priority", "4", "options.priority"},
      {"baton-tenant", "other", "options.tenant"}};
  for (const auto& [key, value, field] : contradictions) {
    CAPTURE(key);
    CHECK_RPC_ERROR(Generate(client, request, {{key, value}}).status, kInvalid, field);
  }
  // Whatever the request: here one that is answered by other code.
  v1::EmbedRequest embed;
  embed.add_texts("hello");
  embed.mutable_options()->mutable_hints()->set_batch_size(4);
  CHECK_RPC_ERROR(
      Try(client.inference, &v1::InferenceService::Stub::Embed, embed, {{"baton-batch-size", "5"}})
          .status,
      kInvalid, "hints.batch_size");

  request.clear_options();
  CHECK_RPC_ERROR(Generate(client, request, {{"baton-platform", "tpu"}}).status, kInvalid,
                  "baton-platform");
  CHECK_RPC_ERROR(Generate(client, request, {{"baton-batch-size", "0"}}).status, kInvalid,
                  "hints.batch_size must be 1 to 1000000");
  CHECK_RPC_ERROR(Generate(client, request, {{"baton-platfrom", "cpu"}}).status, kInvalid,
                  "baton-platfrom");
}

TEST_CASE("a pinned platform that is absent fails with the reason, or falls back when told to") {
  const TempFile model(RandomModelBytes({.context_tokens = 256}));
  Daemon daemon(FlagsOf(model));
  const Client client(daemon);
  v1::GenerateRequest request = GenerateOf("hello", 4);
  request.mutable_options()->mutable_hints()->set_platform(v1::PLATFORM_GPU);
  const v1::DevicesResponse devices = Must(client.admin, &v1::AdminService::Stub::Devices, {});
  std::string reason;
  for (const v1::Device& device : devices.devices()) {
    if (device.platform() == v1::PLATFORM_GPU) reason = device.reason();
  }
  REQUIRE_FALSE(reason.empty());
  CHECK_RPC_ERROR(Generate(client, request).status, grpc::StatusCode::UNAVAILABLE, reason);
  CHECK_RPC_ERROR(Generate(client, GenerateOf("hello", 4), {{"baton-platform", "gpu"}}).status,
                  grpc::StatusCode::UNAVAILABLE, reason);

  request.mutable_options()->mutable_hints()->set_fallback(v1::FALLBACK_CPU);
  const Generated generated = Generate(client, request);
  REQUIRE_RPC_OK(generated.status);
  for (const v1::Stage& stage : generated.finished.timings().stages()) {
    CAPTURE(stage.ShortDebugString());
    CHECK(stage.route().rule() == "pin");
    CHECK(stage.route().preferred() == v1::PLATFORM_GPU);
    CHECK(stage.route().platform() == v1::PLATFORM_CPU);
    CHECK(stage.route().fallback());
    bool is_gpu_passed_over = false;
    for (const v1::PassedOver& other : stage.route().passed_over()) {
      is_gpu_passed_over |= other.platform() == v1::PLATFORM_GPU && other.reason() == reason;
    }
    CHECK(is_gpu_passed_over);
    if (stage.name() == "handoff") continue;  // its reason is the path it took
    CHECK_THAT(stage.route().reason(), Catch::Contains("fallback cpu"));
  }
  CHECK(daemon.Metric(R"(baton_fallbacks_total{from="gpu",to="cpu",work_class="prefill"})") == 1);
}

TEST_CASE("an embedding model embeds, and its collections are searched and asked") {
  const TempFile model(RandomEncoderBytes({.context_tokens = 32, .type = TensorType::kQ8_0}));
  Daemon daemon({"--embedder.path=" + model.path(), "--embedder.name=mini",
                 "--embedder.question_prefix=query: ", "--embedder.passage_prefix=passage: ",
                 "--embedder.dimension=256"});
  const Client client(daemon);
  const v1::ListModelsResponse models =
      Must(client.inference, &v1::InferenceService::Stub::ListModels, {});
  REQUIRE(models.models_size() == 2);
  CHECK(models.models(0).name() == "mini");
  CHECK(models.models(0).kind() == v1::Model::KIND_EMBEDDING);
  CHECK(models.models(0).architecture() == "bert");
  CHECK(models.models(0).embedding_dimension() == 64);
  CHECK(models.models(0).context_tokens() == 32);
  CHECK(models.models(0).vocabulary() == 160);
  CHECK(models.models(0).parameters() > 10'000);
  CHECK(models.models(0).weight_bytes() > 10'000);
  CHECK(models.models(0).path() == model.path());
  CHECK(models.models(1).kind() == v1::Model::KIND_LEXICAL_EMBEDDING);

  const std::vector<std::string> texts = {"the tower is 12", "Die Fähre!", std::string(5000, 'a'),
                                          "the ferry of the number"};
  const auto embed = [&](const std::string& name, const std::vector<std::string>& which) {
    v1::EmbedRequest request;
    request.set_model(name);
    for (const std::string& text : which) request.add_texts(text);
    return Must(client.inference, &v1::InferenceService::Stub::Embed, request);
  };
  const v1::EmbedResponse all = embed("", texts);
  CHECK(all.model() == "mini");
  REQUIRE(all.embeddings_size() == 4);
  for (int i = 0; i < 4; ++i) {
    CHECK(all.embeddings(i).values_size() == 64);
    double square_sum = 0;
    for (const float value : all.embeddings(i).values()) square_sum += double{value} * value;
    CHECK(square_sum == Approx(1).epsilon(1e-4));
    const v1::EmbedResponse alone = embed("mini", {texts[static_cast<size_t>(i)]});
    CHECK(alone.embeddings(0).SerializeAsString() == all.embeddings(i).SerializeAsString());
  }
  CHECK(embed("lexical-256", {"a"}).embeddings(0).values_size() == 256);
  v1::EmbedRequest unknown;
  unknown.set_model("bge");
  unknown.add_texts("a");
  CHECK_RPC_ERROR(Try(client.inference, &v1::InferenceService::Stub::Embed, unknown).status,
                  grpc::StatusCode::NOT_FOUND, "loaded: mini, lexical-256");

  // A collection of its dimension finds each text by its own embedding.
  CreateCollection(client, "pts", 64);
  v1::UpsertRequest upsert;
  upsert.set_collection("pts");
  for (int i = 0; i < 4; ++i) {
    const auto& values = all.embeddings(i).values();
    AddPoint(upsert, static_cast<uint64_t>(i), {values.begin(), values.end()}, "");
  }
  Must(client.vectors, &v1::VectorService::Stub::Upsert, upsert);
  for (int i = 0; i < 4; ++i) {
    v1::SearchRequest search;
    search.set_collection("pts");
    *search.mutable_vector() = all.embeddings(i).values();
    search.mutable_params()->set_k(1);
    const auto found = Must(client.vectors, &v1::VectorService::Stub::Search, search);
    REQUIRE(found.points_size() == 1);
    CHECK(found.points(0).id() == static_cast<uint64_t>(i));
  }

  // Ingest and Ask, by configuration alone.
  Must(client.rag, &v1::RagService::Stub::Ingest,
       IngestOf("docs", {{"a", "The tower of Bodega is 71 metres tall."},
                         {"b", "The ferry leaves at noon."}}));
  const Asked asked = Ask(client, AskOf("docs", "How tall is the tower of Bodega?"));
  REQUIRE_RPC_OK(asked.status);
  REQUIRE(asked.finished.citations_size() > 0);
  CHECK(asked.finished.citations(0).document_id() == "a");
}

}  // namespace
}  // namespace baton
