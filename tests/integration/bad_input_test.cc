// What clients, files and machines get wrong: each a precise error, after which the daemon lives
// and what it stored is there.
#include <arpa/inet.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <functional>
#include <future>
#include <iostream>
#include <limits>
#include <string>
#include <vector>

#include "google/protobuf/wrappers.pb.h"
#include "grpcpp/generic/generic_stub.h"
#include "tests/integration/client.h"
#include "tests/support/eventually.h"
#include "tests/support/gguf_writer.h"
#include "tests/support/shared_data.h"

namespace baton {
namespace {

constexpr auto kInvalid = grpc::StatusCode::INVALID_ARGUMENT;
constexpr auto kNotFound = grpc::StatusCode::NOT_FOUND;
constexpr auto kExhausted = grpc::StatusCode::RESOURCE_EXHAUSTED;

// Three points and a document that must outlive whatever a test does.
void Store(const Client& client) {
  CreateCollection(client, "pts", 2);
  v1::UpsertRequest upsert;
  upsert.set_collection("pts");
  for (uint64_t id = 1; id <= 3; ++id) AddPoint(upsert, id, {1, static_cast<float>(id)}, "kept");
  Must(client.vectors, &v1::VectorService::Stub::Upsert, upsert);
  Must(client.rag, &v1::RagService::Stub::Ingest,
       IngestOf("docs", {{"ferry", "The ferry leaves at noon."}}));
}

void CheckStillServes(const Daemon& daemon) {
  const Client client(daemon);
  CHECK(daemon.Health("baton.v1.VectorService") == "SERVING");
  CHECK(CountOf(client, "pts") == 3);
  const auto found =
      Must(client.vectors, &v1::VectorService::Stub::Search, SearchOf("pts", {1, 2}, 1));
  REQUIRE(found.points_size() == 1);
  CHECK(found.points(0).id() == 2);
  CHECK(found.points(0).payload().at("note").text() == "kept");
  v1::AskRequest ask = AskOf("docs", "When does the ferry leave?");
  ask.set_retrieval_only(true);
  const Asked asked = Ask(client, ask);
  REQUIRE_RPC_OK(asked.status);
  REQUIRE(asked.finished.citations_size() == 1);
  CHECK(asked.finished.citations(0).quote() == "The ferry leaves at noon.");
}

TEST_CASE("requests that are wrong are refused with field, limit and value") {
  const TempFile model(RandomModelBytes({.context_tokens = 64}));
  Daemon daemon({"--model=tiny=" + model.path()});
  const Client client(daemon);
  Store(client);
  using Vectors = v1::VectorService::Stub;
  const auto search = [&](const v1::SearchRequest& request) {
    return Try(client.vectors, &Vectors::Search, request).status;
  };
  const auto upsert = [&](const std::string& collection, const std::vector<float>& vector) {
    v1::UpsertRequest request;
    request.set_collection(collection);
    AddPoint(request, 99, vector);
    return Try(client.vectors, &Vectors::Upsert, request).status;
  };
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float infinity = std::numeric_limits<float>::infinity();

  SECTION("vectors") {
    CHECK_RPC_ERROR(search(SearchOf("pts", {1, 2, 3}, 1)), kInvalid,
                    "has 3 values, but collection \"pts\" has dimension 2");
    CHECK_RPC_ERROR(upsert("pts", {1}), kInvalid,
                    "points[0].vector has 1 value, but collection \"pts\" has dimension 2");
    CHECK_RPC_ERROR(upsert("pts", {}), kInvalid, "points[0].vector has 0 values");
    CHECK_RPC_ERROR(search(SearchOf("pts", {1, nan}, 1)), kInvalid, "[1] is nan");
    CHECK_RPC_ERROR(upsert("pts", {nan, 1}), kInvalid, "points[0].vector[0] is nan");
    CHECK_RPC_ERROR(upsert("pts", {1, -infinity}), kInvalid, "points[0].vector[1] is -inf");
    CHECK_RPC_ERROR(upsert("pts", {0, 0}), kInvalid, "all zero");
    CHECK_RPC_ERROR(upsert("nowhere", {1, 2}), kNotFound, "\"nowhere\"");
    CHECK_RPC_ERROR(search(SearchOf("nowhere", {1, 2}, 1)), kNotFound, "\"nowhere\"");
    CHECK_RPC_ERROR(search(SearchOf("", {1, 2}, 1)), kInvalid, "collection");
  }
  SECTION("messages") {
    v1::GenerateRequest request;
    v1::ChatMessages& chat = *request.mutable_messages();
    v1::ChatMessage& message = *chat.add_messages();
    message.set_role("user");
    message.set_content("hello");
    CHECK_RPC_ERROR(Generate(client, request).status, kInvalid,
                    "the model has no chat template: give messages.template");
    chat.set_template_("{{ messages[0].nothing.more }}");
    CHECK_RPC_ERROR(Generate(client, request).status, kInvalid,
                    "template line 1, column 23: 'dict object' has no attribute 'nothing'");
    chat.set_template_("a\n{% if %}");
    CHECK_RPC_ERROR(Generate(client, request).status, kInvalid,
                    "messages.template: template line 2, column 7: a value is expected");
    chat.set_template_(
        "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}");
    CHECK_RPC_ERROR(Generate(client, request).status, kInvalid, "more than 8388608 steps");
    chat.set_template_(std::string((256 << 10) + 1, 't'));
    CHECK_RPC_ERROR(Generate(client, request).status, kInvalid, "but is 262145");
    chat.set_template_("{{ messages[0].content }}");
    chat.set_tools("{");
    CHECK_RPC_ERROR(Generate(client, request).status, kInvalid, "messages.tools: JSON, byte 1");
  }
  SECTION("numbers") {
    CHECK_RPC_ERROR(search(SearchOf("pts", {1, 2}, 0)), kInvalid,
                    "params.k must be 1 to 10000, but is 0");
    CHECK_RPC_ERROR(search(SearchOf("pts", {1, 2}, 1'000'000)), kInvalid,
                    "params.k must be 1 to 10000, but is 1000000");
    CHECK_RPC_ERROR(search(SearchOf("pts", {1, 2}, -1)), kInvalid, "but is -1");
    v1::SearchRequest ef = SearchOf("pts", {1, 2}, 1);
    ef.mutable_params()->set_ef(100'001);
    CHECK_RPC_ERROR(search(ef), kInvalid, "params.ef must be 1 to 100000, but is 100001");
    v1::SearchBatchRequest batch;
    batch.set_collection("pts");
    batch.mutable_params()->set_k(10'000);
    CHECK_RPC_ERROR(Try(client.vectors, &Vectors::SearchBatch, batch).status, kInvalid,
                    "queries must be 1 to 10000, but are 0");
    for (int i = 0; i < 10'000; ++i) batch.add_queries()->add_vector(1);
    CHECK_RPC_ERROR(Try(client.vectors, &Vectors::SearchBatch, batch).status, kInvalid,
                    "but is 100000000");
    v1::AskRequest ask = AskOf("docs", "ferry?");
    ask.set_k(101);
    CHECK_RPC_ERROR(Ask(client, ask).status, kInvalid, "k must be 1 to 100, but is 101");
    v1::CreateCollectionRequest create;
    create.mutable_spec()->set_name("../escape");
    create.mutable_spec()->set_dimension(4);
    CHECK_RPC_ERROR(Try(client.vectors, &Vectors::CreateCollection, create).status, kInvalid,
                    "name");
    create.mutable_spec()->set_name("wide");
    create.mutable_spec()->set_dimension(65'537);
    CHECK_RPC_ERROR(Try(client.vectors, &Vectors::CreateCollection, create).status, kInvalid,
                    "65537");
  }
  SECTION("texts") {
    v1::EmbedRequest embed;
    CHECK_RPC_ERROR(Try(client.inference, &v1::InferenceService::Stub::Embed, embed).status,
                    kInvalid, "texts must be 1 to 1024, but are 0");
    embed.add_texts("fine");
    embed.add_texts("");
    CHECK_RPC_ERROR(Try(client.inference, &v1::InferenceService::Stub::Embed, embed).status,
                    kInvalid, "texts[1] must not be empty");
    CHECK_RPC_ERROR(Generate(client, GenerateOf("", 4)).status, kInvalid, "text must not be empty");
    CHECK_RPC_ERROR(Generate(client, {}).status, kInvalid, "prompt must be given");
    CHECK_RPC_ERROR(Ask(client, AskOf("docs", "")).status, kInvalid, "question");
    CHECK_RPC_ERROR(Ask(client, AskOf("docs", " \n")).status, kInvalid, "question is blank");
    CHECK_RPC_ERROR(Ask(client, AskOf("nowhere", "ferry?")).status, kNotFound, "\"nowhere\"");
    CHECK_RPC_ERROR(Try(client.rag, &v1::RagService::Stub::Ingest,
                        IngestOf("docs", {{"a", "fine"}, {"b", " \n\t"}}))
                        .status,
                    kInvalid, "documents[1].text is blank");
  }
  SECTION("models and prompts") {
    v1::GenerateRequest request = GenerateOf("hello", 4);
    request.set_model("gpt-9");
    CHECK_RPC_ERROR(Generate(client, request).status, kNotFound,
                    "model \"gpt-9\" is not loaded; loaded: tiny");
    v1::AskRequest ask = AskOf("docs", "ferry?");
    ask.set_model("gpt-9");
    CHECK_RPC_ERROR(Ask(client, ask).status, kNotFound, "gpt-9");
    v1::TokenizeRequest tokenize;
    tokenize.set_model("gpt-9");
    CHECK_RPC_ERROR(Try(client.inference, &v1::InferenceService::Stub::Tokenize, tokenize).status,
                    kNotFound, "gpt-9");
    v1::EmbedRequest embed;
    embed.set_model("gpt-9");
    embed.add_texts("a");
    CHECK_RPC_ERROR(Try(client.inference, &v1::InferenceService::Stub::Embed, embed).status,
                    kNotFound, "gpt-9");

    CHECK_RPC_ERROR(Generate(client, GenerateOf(std::string(100'000, 'x'), 4)).status, kInvalid,
                    "but the context of model \"tiny\" is 64");
    request = GenerateOf("hello", 4);
    request.mutable_tokens()->add_ids(320);
    CHECK_RPC_ERROR(Generate(client, request).status, kInvalid, "must be 0 to 319, but is 320");
    CHECK_RPC_ERROR(Generate(client, GenerateOf("hello", 0)).status, kInvalid, "max_tokens");
    request = GenerateOf("hello", 4);
    request.mutable_sampling()->set_temperature(-1);
    CHECK_RPC_ERROR(Generate(client, request).status, kInvalid, "temperature");
    request.mutable_sampling()->set_temperature(nan);
    CHECK_RPC_ERROR(Generate(client, request).status, kInvalid, "temperature");
  }
  SECTION("settings of a generation") {
    struct Wrong {
      std::function<void(v1::GenerateRequest&)> set;
      std::string message;
    };
    const auto bias = [](v1::GenerateRequest& request, int32_t token, float value) {
      (*request.mutable_sampling()->mutable_logit_bias())[token] = value;
    };
    const std::vector<Wrong> table = {
        {[&](auto& r) { bias(r, 5, 101); },
         "sampling.logit_bias[5] must be -100 to 100, but is 101"},
        {[&](auto& r) { bias(r, 5, nan); }, "logit_bias[5] must be -100 to 100, but is nan"},
        {[&](auto& r) { bias(r, 320, 1); },
         "sampling.logit_bias: token ids must be 0 to 319, but one is 320"},
        {[&](auto& r) { bias(r, -7, 1); }, "but one is -7"},
        {[&](auto& r) {
           for (int32_t token = 0; token < 1025; ++token) bias(r, token, 1);
         },
         "sampling.logit_bias must be at most 1024, but are 1025"},
        {[](auto& r) { r.mutable_sampling()->set_repetition_penalty(0); },
         "sampling.repetition_penalty must be 0.01 to 100, but is 0"},
        {[&](auto& r) { r.mutable_sampling()->set_repetition_penalty(infinity); },
         "sampling.repetition_penalty must be 0.01 to 100, but is inf"},
        {[](auto& r) { r.mutable_sampling()->set_penalty_last_n(-2); },
         "sampling.penalty_last_n must be -1 to 1048576, but is -2"},
        {[&](auto& r) { r.mutable_sampling()->set_presence_penalty(nan); },
         "sampling.presence_penalty must be -2 to 2, but is nan"},
        {[](auto& r) { r.mutable_sampling()->set_frequency_penalty(-2.5f); },
         "sampling.frequency_penalty must be -2 to 2, but is -2.5"},
        {[](auto& r) { r.add_stop(""); }, "stop[0] must be 1 to 256 bytes long, but is 0"},
        {[](auto& r) { r.add_stop(std::string(257, 'x')); },
         "stop[0] must be 1 to 256 bytes long, but is 257"},
        {[](auto& r) {
           for (int i = 0; i < 17; ++i) r.add_stop("x");
         },
         "stop must be at most 16, but are 17"},
        {[](auto& r) { r.add_stop_token_ids(320); },
         "stop_token_ids[0] must be 0 to 319, but is 320"},
        {[](auto& r) {
           for (int i = 0; i < 1025; ++i) r.add_stop_token_ids(1);
         },
         "stop_token_ids must be at most 1024, but are 1025"},
        {[](auto& r) { r.set_min_tokens(-1); }, "min_tokens must be at least 0, but is -1"},
        {[](auto& r) { r.set_min_tokens(5); },
         "min_tokens must be 0 to max_tokens, which is 4, but is 5"},
        {[](auto& r) { r.set_logprobs(21); }, "logprobs must be 0 to 20, but is 21"},
        {[](auto& r) { r.set_logprobs(-1); }, "logprobs must be 0 to 20, but is -1"},
        {[](auto& r) { r.set_grammar(""); }, "grammar must not be empty"},
        {[](auto& r) { r.set_grammar(std::string(600'000, 'x')); },
         "grammar must be 1 to 524288 bytes long, but is 600000"},
        {[](auto& r) { r.set_grammar("root ::= \"a\" | b\n"); },
         "grammar line 1, column 16: the rule b is not defined"},
        {[](auto& r) { r.set_grammar("root ::= root \"a\" | \"a\""); },
         "grammar: left recursion, root -> root"},
        {[](auto& r) { r.set_grammar("root ::= [] "); }, "grammar: root cannot match any text"},
        {[](auto& r) { r.set_grammar("root ::= \"\""); },
         "grammar: it matches no text but the empty one"},
        {[](auto& r) { r.set_json_schema("{\"type\": "); },
         "json_schema: the text is not JSON, see byte"},
        {[](auto& r) { r.set_json_schema(R"({"items": {"minimun": 3}})"); },
         "json_schema at #/items: the keyword minimun is not supported"},
        {[](auto& r) { r.set_json_schema(R"({"items": {"$ref": "#"}, "minItems": 1})"); },
         "json_schema: as a grammar: root cannot match any text"},
        {[](auto& r) { r.set_n(0); }, "n must be 1 to 16, but is 0"},
        {[](auto& r) { r.set_n(17); }, "n must be 1 to 16, but is 17"},
    };
    for (const Wrong& wrong : table) {
      v1::GenerateRequest request = GenerateOf("hello", 4);
      wrong.set(request);
      CHECK_RPC_ERROR(Generate(client, request).status, kInvalid, wrong.message);
    }
    v1::AskRequest ask = AskOf("docs", "ferry?");
    ask.mutable_sampling()->set_presence_penalty(3);
    CHECK_RPC_ERROR(Ask(client, ask).status, kInvalid, "sampling.presence_penalty");
    ask = AskOf("docs", "ferry?");
    ask.set_grammar("root :: = \"a\"");
    CHECK_RPC_ERROR(Ask(client, ask).status, kInvalid,
                    "grammar line 1, column 6: expected ::= behind the rule name root");
    ask = AskOf("docs", "ferry?");
    ask.add_stop("");
    CHECK_RPC_ERROR(Ask(client, ask).status, kInvalid, "stop[0] must be 1 to 256 bytes long");
    ask = AskOf("docs", "ferry?");
    ask.set_logprobs(21);
    CHECK_RPC_ERROR(Ask(client, ask).status, kInvalid, "logprobs must be 0 to 20, but is 21");
    ask = AskOf("docs", "ferry?");
    ask.set_min_tokens(-1);
    CHECK_RPC_ERROR(Ask(client, ask).status, kInvalid, "min_tokens must be at least 0");
  }
  SECTION("messages that are too long, or none at all") {
    CHECK_RPC_ERROR(Try(client.rag, &v1::RagService::Stub::Ingest,
                        IngestOf("docs", {{"a", std::string(64 << 20, 'x')}}))
                        .status,
                    kExhausted, std::to_string(48 << 20));
    CHECK_RPC_ERROR(Try(client.rag, &v1::RagService::Stub::Ingest,
                        IngestOf("docs", {{"a", std::string(20 << 20, 'x')}}))
                        .status,
                    kInvalid, "documents[0].text must be at most 16777216 bytes");
    const auto send = [&](const std::string& method, const std::string& bytes) {
      grpc::GenericStub stub(daemon.channel());
      grpc::Slice slice(bytes);
      const grpc::ByteBuffer request(&slice, 1);
      grpc::ByteBuffer response;
      CallContext context;
      std::promise<grpc::Status> done;
      stub.UnaryCall(&context, method, grpc::StubOptions(), &request, &response,
                     [&done](grpc::Status status) { done.set_value(std::move(status)); });
      return done.get_future().get();
    };
    CHECK_RPC_ERROR(send("/baton.v1.VectorService/Search", "\xff\xff\xff not a message"), kInvalid,
                    "VectorService/Search cannot be decoded");
    CHECK_RPC_ERROR(send("/baton.v1.VectorService/NoSuchMethod", ""),
                    grpc::StatusCode::UNIMPLEMENTED, "");
    // A string field that is no UTF-8: collection is field 1.
    CHECK_RPC_ERROR(send("/baton.v1.VectorService/Count", "\x0a\x02\xc3\x28"), kInvalid,
                    "VectorService/Count cannot be decoded");
  }
  SECTION("filters nested 10,000 deep") {
    // From the inside: a filter is field 12 of a condition, which is field 1 (must) of a filter.
    const auto field = [](char tag, const std::string& bytes) {
      std::string message(1, tag);
      for (size_t size = bytes.size(); true; size >>= 7) {
        message += static_cast<char>((size & 127) | (size > 127 ? 128 : 0));
        if (size <= 127) break;
      }
      return message + bytes;
    };
    for (const int depth : {60, 10'000}) {
      std::string filter;
      for (int i = 0; i < depth; ++i) filter = field('\x0a', field('\x62', filter));
      grpc::GenericStub stub(daemon.channel());
      grpc::Slice slice(field('\x0a', "pts") + field('\x12', filter));
      const grpc::ByteBuffer request(&slice, 1);
      grpc::ByteBuffer response;
      CallContext context;
      std::promise<grpc::Status> done;
      stub.UnaryCall(&context, "/baton.v1.VectorService/Count", grpc::StubOptions(), &request,
                     &response,
                     [&done](grpc::Status status) { done.set_value(std::move(status)); });
      CHECK_RPC_ERROR(done.get_future().get(), kInvalid, "VectorService/Count cannot be decoded");
    }
  }
  SECTION("connections that speak something else") {
    for (const std::string& address : {daemon.grpc_address(), daemon.http_address()}) {
      const size_t colon = address.rfind(':');
      sockaddr_in to = {};
      to.sin_family = AF_INET;
      to.sin_port = htons(static_cast<uint16_t>(std::stoi(address.substr(colon + 1))));
      inet_pton(AF_INET, address.substr(0, colon).c_str(), &to.sin_addr);
      const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
      REQUIRE(connect(fd, reinterpret_cast<const sockaddr*>(&to), sizeof(to)) == 0);
      const std::string noise(100'000, '\x01');
      send(fd, noise.data(), noise.size(), MSG_NOSIGNAL);
      close(fd);
    }
  }
  CheckStillServes(daemon);
}

// ---- a daemon that must not start
// ----------------------------------------------------------------

// Exit code 1, and one line of batond's own that says all of `parts`.
void CheckRefused(const std::vector<std::string>& flags, const std::vector<std::string>& parts) {
  const TempDir dir;
  std::vector<std::string> all = {"--grpc-address=127.0.0.1:0", "--http-address=127.0.0.1:0",
                                  "--data-dir=" + dir.File("data")};
  all.insert(all.end(), flags.begin(), flags.end());
  const ProgramResult result = RunDaemonToItsEnd(all);
  CAPTURE(flags, result.out, result.err);
  CHECK(result.exit_code == 1);
  const std::string last = TailOf(result.err, 1);
  CHECK_THAT(last, Catch::StartsWith("batond: "));
  CHECK(std::count(last.begin(), last.end(), '\n') == 1);
  for (const std::string& part : parts) CHECK_THAT(last, Catch::Contains(part));
}

TEST_CASE("a configuration that is wrong is refused, naming file, line, key and bound") {
  const TempDir dir;
  const auto refused = [&dir](const std::string& yaml, const std::vector<std::string>& parts) {
    const std::string path = dir.Write("batond.yaml", yaml);
    std::vector<std::string> all = parts;
    all.push_back(path + ":");
    CheckRefused({"--config=" + path}, all);
  };
  refused("log:\n  level: info\nschedule:\n  sequences_runing_max: 4\n",
          {":4:", "unknown key \"schedule.sequences_runing_max\"", "sequences_running_max"});
  refused("schedule:\n  sequences_running_max: many\n",
          {":2:", "schedule.sequences_running_max", "an integer, 1 to 4096", "\"many\""});
  refused("\n\nserver:\n  drain_seconds_max: 3601\n",
          {":4:", "server.drain_seconds_max", "0 to 3600", "3601"});
  refused("vector:\n  graph_files: maybe\n", {":2:", "vector.graph_files", "true or false"});
  refused("rag:\n  passage_chars_max: 100\n  passage_overlap_chars: 60\n",
          {":3:", "rag.passage_overlap_chars", "less than half", "100"});
  refused("vector: {seal_points: 64\n", {"not valid YAML"});
  refused("pantry:\n  shelves: 3\n", {":1:", "unknown key \"pantry\""});
  CheckRefused({"--config=" + dir.File("absent.yaml")}, {dir.File("absent.yaml"), "No such file"});
  CheckRefused({"--vector.seal_points=-3"}, {"--vector.seal_points", "0 to 1048576", "-3"});
  CheckRefused({"--no-such-flag=1"}, {"unknown flag --no-such-flag"});
  CheckRefused({"--http-address=[::1]"}, {"server.http_address must be IP:PORT", "\"[::1]\""});
  CheckRefused({"--grpc-address=nowhere"}, {"server.grpc_address must be IP:PORT", "\"nowhere\""});
}

TEST_CASE("model files that are broken or hostile are refused, naming the file") {
  const TempDir dir;
  const std::string good = RandomModelBytes({});
  const auto refused = [&dir](const std::string& name, const std::string& bytes) {
    CAPTURE(name);
    const std::string path = dir.Write(name + ".gguf", bytes);
    CheckRefused({"--model=" + path}, {path});
  };
  // Overwrites a little-endian number of the header: magic, version, tensor count, key count.
  const auto patched = [&good](size_t at, auto value) {
    std::string bytes = good;
    bytes.replace(at, sizeof(value), reinterpret_cast<const char*>(&value), sizeof(value));
    return bytes;
  };
  refused("empty", "");
  refused("text", "This is not a model.\n");
  for (const size_t bytes : {size_t{3}, size_t{16}, size_t{40}, good.size() / 3, good.size() - 1}) {
    refused("cut-" + std::to_string(bytes), good.substr(0, bytes));
  }
  refused("version-99", patched(4, uint32_t{99}));
  refused("big-endian", patched(4, uint32_t{0x03000000}));
  refused("tensors-2e63", patched(8, uint64_t{1} << 63));
  refused("tensors-more", patched(8, uint64_t{1000}));
  refused("keys-2e63", patched(16, uint64_t{1} << 63));
  refused("key-name-2e62", patched(24, uint64_t{1} << 62));

  const auto with_tensor = [](auto add) {
    GgufWriter writer;
    AddRandomModelKeys({}, writer);
    add(writer);
    return writer.Bytes();
  };
  refused("no-tensors", with_tensor([](GgufWriter&) {}));
  refused("dimension-overflow", with_tensor([](GgufWriter& writer) {
            writer.AddRawTensor("token_embd.weight", {int64_t{1} << 40, int64_t{1} << 40}, 0, "");
          }));
  refused("dimension-negative", with_tensor([](GgufWriter& writer) {
            writer.AddRawTensor("token_embd.weight", {-64, 320}, 0, "");
          }));
  refused("type-unknown", with_tensor([](GgufWriter& writer) {
            writer.AddRawTensor("token_embd.weight", {64, 320}, 250, std::string(4096, 'x'));
          }));
  refused("tensor-twice", with_tensor([](GgufWriter& writer) {
            const std::vector<float> weights(64 * 320, 0.5f);
            writer.AddTensor("token_embd.weight", {64, 320}, TensorType::kF32, weights);
            writer.AddTensor("token_embd.weight", {64, 320}, TensorType::kF32, weights);
          }));
  const auto with_key = [](auto add) {
    GgufWriter writer;
    add(writer);
    AddRandomModelKeys({}, writer);
    AddRandomModelTensors({}, writer);
    return writer.Bytes();
  };
  refused("alignment-0",
          with_key([](GgufWriter& writer) { writer.AddUint32("general.alignment", 0); }));
  refused("alignment-odd",
          with_key([](GgufWriter& writer) { writer.AddUint32("general.alignment", 33); }));
  refused("key-twice",
          with_key([](GgufWriter& writer) { writer.AddUint32("llama.context_length", 64); }));
  refused("not-a-llama",
          with_key([](GgufWriter& writer) { writer.AddString("general.architecture", "mamba"); }));

  CheckRefused({"--model=" + dir.File("absent.gguf")}, {dir.File("absent.gguf")});
  CheckRefused({"--model=" + dir.path()}, {dir.path()});
  CheckRefused({"--model=/dev/null"}, {"/dev/null"});
}

TEST_CASE("a data directory that cannot be written is refused, naming it") {
  const TempDir dir;
  const std::string file = dir.Write("file", "not a directory");
  CheckRefused({"--data-dir=" + file}, {file});
  CheckRefused({"--data-dir=" + file + "/data"}, {file + "/data"});
  CheckRefused({"--data-dir=/proc/baton-data"}, {"/proc/baton-data"});
  CHECK(ReadWholeFile(file) == "not a directory");
}

// ---- a machine that is unusual
// -------------------------------------------------------------------

// Mounts of this thread and its children are its own from now on; false, and loudly, where this may
// not be done.
bool MayMount() {
  static const bool may = [] {
    if (unshare(CLONE_NEWNS) == 0 &&
        mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0) {
      return true;
    }
    std::cout << "SKIPPED: mounting needs root: " << std::strerror(errno) << "\n";
    return false;
  }();
  return may;
}

// A file system of `megabytes` in memory, for as long as this object lives.
class SmallDisk {
 public:
  SmallDisk(std::string path, int megabytes) : path_(std::move(path)) {
    std::filesystem::create_directories(path_);
    const std::string size = "size=" + std::to_string(megabytes) + "m";
    REQUIRE(mount("tmpfs", path_.c_str(), "tmpfs", 0, size.c_str()) == 0);
  }
  ~SmallDisk() { umount2(path_.c_str(), MNT_DETACH); }

  // Leaves room for less than one write.
  void Fill() const {
    std::ofstream out(path_ + "/filler", std::ios::binary);
    const std::string block(1 << 16, 'x');
    while (out.write(block.data(), static_cast<std::streamsize>(block.size())) && out.flush()) {
    }
  }
  void Free() const { std::filesystem::remove(path_ + "/filler"); }
  void MakeReadOnly() const {
    REQUIRE(mount("none", path_.c_str(), nullptr, MS_REMOUNT | MS_RDONLY, nullptr) == 0);
  }

 private:
  std::string path_;
};

TEST_CASE("a full disk refuses writes and loses nothing; with room again they go on") {
  if (!MayMount()) return;
  const TempDir dir;
  const SmallDisk disk(dir.File("disk"), 64);
  const int reserve_mb = GENERATE(0, 1);
  CAPTURE(reserve_mb);
  Daemon daemon({.flags = {"--vector.disk_reserve_mb=" + std::to_string(reserve_mb)},
                 .environment = {},
                 .data_dir = dir.File("disk/data")});
  const auto upsert = [](const Client& client, uint64_t id) {
    v1::UpsertRequest request;
    request.set_collection("pts");
    AddPoint(request, id, {1, 0}, std::string(100'000, 'n'));
    return Try(client.vectors, &v1::VectorService::Stub::Upsert, request).status;
  };
  {
    const Client client(daemon);
    Store(client);
    disk.Fill();
    grpc::Status refused;
    for (uint64_t id = 100; id < 140 && refused.ok(); ++id) refused = upsert(client, id);
    CHECK_RPC_ERROR(refused, kExhausted, "disk full");
    const auto ingested = Try(client.rag, &v1::RagService::Stub::Ingest,
                              IngestOf("docs", {{"late", std::string(300'000, 'a')}}));
    CHECK_RPC_ERROR(ingested.status, kExhausted, "disk full");
    const int64_t stored = CountOf(client, "pts");
    CHECK(CountOf(client, "docs") == 1);
    CHECK(daemon.Health("baton.v1.VectorService") == "SERVING");
    disk.Free();
    CHECK(Eventually([&] { return upsert(client, 200).ok(); }));
    CHECK(CountOf(client, "pts") == stored + 1);
    v1::DeleteRequest clean;
    clean.set_collection("pts");
    for (uint64_t id = 100; id <= 200; ++id) clean.add_ids(id);
    Must(client.vectors, &v1::VectorService::Stub::Delete, clean);
  }
  CheckStillServes(daemon);
  daemon.Kill9();
  daemon.Start();
  CheckStillServes(daemon);
}

TEST_CASE("a read-only disk is refused, naming the directory") {
  if (!MayMount()) return;
  const TempDir dir;
  const SmallDisk disk(dir.File("disk"), 4);
  disk.MakeReadOnly();
  CheckRefused({"--data-dir=" + dir.File("disk/data")}, {dir.File("disk/data"), "ead-only"});
}

TEST_CASE("a machine whose hosts file names nobody: 127.0.0.1 is all that is needed") {
  if (!MayMount()) return;
  const TempDir dir;
  const std::string empty = dir.Write("hosts", "");
  REQUIRE(mount(empty.c_str(), "/etc/hosts", nullptr, MS_BIND, nullptr) == 0);
  {
    Daemon daemon;
    Store(Client(daemon));
    CheckStillServes(daemon);
    CHECK(daemon.Get("/readyz").status == 200);
    CHECK(daemon.Terminate() == 0);
  }
  CHECK(umount2("/etc/hosts", MNT_DETACH) == 0);
}

TEST_CASE("proxies and locales in the environment change nothing") {
  // Nobody listens on port 9: whoever went through the proxy would fail.
  const Environment environment = GENERATE(
      Environment{"http_proxy=http://127.0.0.1:9", "https_proxy=http://127.0.0.1:9",
                  "grpc_proxy=http://127.0.0.1:9", "HTTP_PROXY=http://127.0.0.1:9", "no_proxy"},
      Environment{"LC_ALL=C"}, Environment{"LC_ALL", "LANG=xx_YY.nonsense"},
      Environment{"LC_ALL=POSIX", "HOME", "TMPDIR", "USER"});
  CAPTURE(environment);
  Daemon daemon(
      {.flags = {"--embedder.dimension=256"}, .environment = environment, .data_dir = {}});
  const Client client(daemon);
  Store(client);
  CheckStillServes(daemon);
  Must(client.rag, &v1::RagService::Stub::Ingest,
       IngestOf("docs", {{"größe", "Die Fähre „Möwe“ fährt um zwölf Uhr nach Ærø."}}));
  const Asked asked = Ask(client, AskOf("docs", "Wann fährt die Möwe nach Ærø?"));
  REQUIRE_RPC_OK(asked.status);
  REQUIRE(asked.finished.citations_size() > 0);
  CHECK(asked.finished.citations(0).document_id() == "größe");
  CHECK(asked.finished.citations(0).quote() == "Die Fähre „Möwe“ fährt um zwölf Uhr nach Ærø.");
  CHECK(daemon.Terminate() == 0);
}

}  // namespace
}  // namespace baton
