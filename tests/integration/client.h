#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "baton/v1/admin.grpc.pb.h"
#include "baton/v1/inference.grpc.pb.h"
#include "baton/v1/rag.grpc.pb.h"
#include "baton/v1/vector.grpc.pb.h"
#include "catch2/catch.hpp"
#include "grpcpp/client_context.h"
#include "tests/support/daemon.h"

namespace baton {

// The stubs of every service, over one daemon's channel. Make a new one after Daemon::Start().
struct Client {
  explicit Client(const Daemon& daemon) : Client(daemon.channel()) {}
  explicit Client(const std::shared_ptr<grpc::Channel>& channel)
      : inference(v1::InferenceService::NewStub(channel)),
        vectors(v1::VectorService::NewStub(channel)),
        rag(v1::RagService::NewStub(channel)),
        admin(v1::AdminService::NewStub(channel)) {}

  std::unique_ptr<v1::InferenceService::Stub> inference;
  std::unique_ptr<v1::VectorService::Stub> vectors;
  std::unique_ptr<v1::RagService::Stub> rag;
  std::unique_ptr<v1::AdminService::Stub> admin;
};

using Metadata = std::map<std::string, std::string>;

// A context with a deadline, so that no test waits for ever.
class CallContext : public grpc::ClientContext {
 public:
  explicit CallContext(const Metadata& metadata = {},
                       std::chrono::milliseconds limit = std::chrono::seconds(60)) {
    set_deadline(std::chrono::system_clock::now() + limit);
    for (const auto& [key, value] : metadata) AddMetadata(key, value);
  }
};

inline std::string Shown(const grpc::Status& status) {
  return status.ok() ? "OK" : std::to_string(status.error_code()) + " " + status.error_message();
}

// REQUIRE_RPC_OK(status): fails with the status in the message.
#define REQUIRE_RPC_OK(expr)                   \
  do {                                         \
    const grpc::Status baton_status_ = (expr); \
    INFO(baton::Shown(baton_status_));         \
    REQUIRE(baton_status_.ok());               \
  } while (false)

// CHECK_RPC_ERROR(status, grpc::StatusCode::X, "part of the message")
#define CHECK_RPC_ERROR(expr, code, part)                                       \
  do {                                                                          \
    const grpc::Status baton_status_ = (expr);                                  \
    INFO(baton::Shown(baton_status_));                                          \
    CHECK(baton_status_.error_code() == (code));                                \
    CHECK_THAT(baton_status_.error_message(), Catch::Matchers::Contains(part)); \
  } while (false)

// Try(client.vectors, &v1::VectorService::Stub::Search, request): the status and the response.
template <class Response>
struct Reply {
  grpc::Status status;
  Response response;
};
template <class Stub, class Request, class Response>
Reply<Response> Try(const std::unique_ptr<Stub>& stub,
                    grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&, Response*),
                    const std::type_identity_t<Request>& request, const Metadata& metadata = {}) {
  CallContext context(metadata);
  Reply<Response> reply;
  reply.status = ((*stub).*method)(&context, request, &reply.response);
  return reply;
}

// The same where it must succeed.
template <class Stub, class Request, class Response>
Response Must(const std::unique_ptr<Stub>& stub,
              grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&, Response*),
              const std::type_identity_t<Request>& request, const Metadata& metadata = {}) {
  Reply<Response> reply = Try(stub, method, request, metadata);
  REQUIRE_RPC_OK(reply.status);
  return std::move(reply.response);
}

// ---- generating
// ----------------------------------------------------------------------------------

inline v1::GenerateRequest GenerateOf(const std::string& prompt, int32_t max_tokens) {
  v1::GenerateRequest request;
  request.set_text(prompt);
  request.set_max_tokens(max_tokens);
  request.set_ignore_eos(true);
  return request;
}

// A whole stream. The order of its events is checked while it is read.
struct Generated {
  grpc::Status status;
  std::vector<int32_t> ids;
  std::string text;
  int token_messages = 0;
  bool is_finished = false;
  v1::GenerateFinished finished;
};
// `on_tokens` is called with the context after each message of tokens.
inline Generated Generate(const Client& client, const v1::GenerateRequest& request,
                          const Metadata& metadata = {},
                          std::chrono::milliseconds limit = std::chrono::seconds(60),
                          const std::function<void(grpc::ClientContext&)>& on_tokens = nullptr) {
  CallContext context(metadata, limit);
  const auto reader = client.inference->Generate(&context, request);
  Generated generated;
  v1::GenerateResponse event;
  while (reader->Read(&event)) {
    REQUIRE_FALSE(generated.is_finished);
    if (event.has_tokens()) {
      generated.ids.insert(generated.ids.end(), event.tokens().ids().begin(),
                           event.tokens().ids().end());
      generated.text += event.tokens().text();
      ++generated.token_messages;
      if (on_tokens != nullptr) on_tokens(context);
    } else {
      REQUIRE(event.has_finished());
      generated.finished = event.finished();
      generated.is_finished = true;
    }
  }
  generated.status = reader->Finish();
  return generated;
}

// ---- asking
// --------------------------------------------------------------------------------------

struct Asked {
  grpc::Status status;
  int retrieved_messages = 0;
  std::vector<v1::Passage> passages;
  std::vector<int32_t> ids;
  std::vector<v1::TokenLogprobs> logprobs;
  std::string text;
  bool is_finished = false;
  v1::AskFinished finished;
};
inline Asked Ask(const Client& client, const v1::AskRequest& request) {
  CallContext context;
  const auto reader = client.rag->Ask(&context, request);
  Asked asked;
  v1::AskResponse event;
  while (reader->Read(&event)) {
    REQUIRE_FALSE(asked.is_finished);
    switch (event.event_case()) {
      case v1::AskResponse::kRetrieved:
        REQUIRE(asked.ids.empty());
        ++asked.retrieved_messages;
        asked.passages = {event.retrieved().passages().begin(), event.retrieved().passages().end()};
        break;
      case v1::AskResponse::kTokens:
        REQUIRE(asked.retrieved_messages == 1);
        asked.ids.insert(asked.ids.end(), event.tokens().ids().begin(), event.tokens().ids().end());
        for (const auto& of_token : event.tokens().logprobs()) asked.logprobs.push_back(of_token);
        asked.text += event.tokens().text();
        break;
      default:
        REQUIRE(event.has_finished());
        asked.finished = event.finished();
        asked.is_finished = true;
    }
  }
  asked.status = reader->Finish();
  return asked;
}

inline v1::AskRequest AskOf(const std::string& collection, const std::string& question) {
  v1::AskRequest request;
  request.set_collection(collection);
  request.set_question(question);
  return request;
}

inline v1::IngestRequest IngestOf(const std::string& collection,
                                  const std::map<std::string, std::string>& text_by_id) {
  v1::IngestRequest request;
  request.set_collection(collection);
  for (const auto& [id, text] : text_by_id) {
    v1::Document& document = *request.add_documents();
    document.set_id(id);
    document.set_title("About " + id);
    document.set_text(text);
  }
  return request;
}

// ---- points
// --------------------------------------------------------------------------------------

inline void CreateCollection(const Client& client, const std::string& name, int32_t dimension,
                             v1::Metric metric = v1::METRIC_COSINE) {
  v1::CreateCollectionRequest request;
  request.mutable_spec()->set_name(name);
  request.mutable_spec()->set_dimension(dimension);
  request.mutable_spec()->set_metric(metric);
  const auto created =
      Must(client.vectors, &v1::VectorService::Stub::CreateCollection, request).collection();
  REQUIRE(created.spec().name() == name);
  REQUIRE(created.spec().dimension() == dimension);
}

inline void AddPoint(v1::UpsertRequest& request, uint64_t id, const std::vector<float>& vector,
                     const std::string& note = "") {
  v1::Point& point = *request.add_points();
  point.set_id(id);
  point.mutable_vector()->Add(vector.begin(), vector.end());
  if (!note.empty()) (*point.mutable_payload())["note"].set_text(note);
}

inline v1::SearchRequest SearchOf(const std::string& collection, const std::vector<float>& vector,
                                  int32_t k, bool exact = false) {
  v1::SearchRequest request;
  request.set_collection(collection);
  request.mutable_vector()->Add(vector.begin(), vector.end());
  request.mutable_params()->set_k(k);
  request.mutable_params()->set_exact(exact);
  return request;
}

using Ids = std::vector<uint64_t>;

// Of points whose ids are numbers.
template <class Points>
Ids IdsOf(const Points& points) {
  Ids ids;
  for (const auto& point : points) ids.push_back(point.id());
  return ids;
}

inline int64_t CountOf(const Client& client, const std::string& collection) {
  v1::CountRequest request;
  request.set_collection(collection);
  return Must(client.vectors, &v1::VectorService::Stub::Count, request).points();
}

// ---- timings
// -------------------------------------------------------------------------------------

// That a stage says everything: its work class, platform, device, rule, reason and time.
inline void CheckStage(const v1::Stage& stage) {
  CAPTURE(stage.ShortDebugString());
  CHECK(stage.route().work_class() != v1::WORK_CLASS_UNSPECIFIED);
  CHECK(stage.route().preferred() != v1::PLATFORM_UNSPECIFIED);
  CHECK(stage.route().platform() != v1::PLATFORM_UNSPECIFIED);
  CHECK_FALSE(stage.route().device().empty());
  CHECK_FALSE(stage.route().rule().empty());
  CHECK_FALSE(stage.route().reason().empty());
  CHECK(stage.start_us() >= 0);
  CHECK(stage.queue_us() >= 0);
  CHECK(stage.run_us() >= 0);
}

// The stages' names in their order, each checked.
inline std::vector<std::string> CheckedStages(const v1::Timings& timings) {
  std::vector<std::string> names;
  for (const v1::Stage& stage : timings.stages()) {
    CheckStage(stage);
    CHECK(stage.start_us() <= timings.total_us());
    names.push_back(stage.name());
  }
  CHECK(timings.total_us() > 0);
  return names;
}

}  // namespace baton
