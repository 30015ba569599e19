#include "server/openai_service.h"

#include <charconv>
#include <chrono>
#include <random>
#include <utility>

#include "engine/base/status_macros.h"
#include "engine/base/strings.h"
#include "server/openai_errors.h"
#include "server/openai_generation.h"
#include "server/openai_replies.h"
#include "server/openai_requests.h"

namespace baton {
namespace {

constexpr std::string_view kJson = "application/json";
constexpr std::string_view kModels = "/v1/models";

int64_t NowS() {
  return std::chrono::duration_cast<std::chrono::seconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

uint64_t DrawSalt() {
  std::random_device device;
  return uint64_t{device()} << 32 | device();
}

absl::StatusOr<Envelope> EnvelopeOf(const HttpRequest& request) {
  GrpcMetadata metadata;
  for (const auto& [name, value] : request.headers) {
    if (!name.starts_with("baton-")) continue;
    metadata.emplace(grpc::string_ref(name.data(), name.size()),
                     grpc::string_ref(value.data(), value.size()));
  }
  return ToEnvelope(v1::RequestOptions(), metadata, kNoDeadline);
}

// A body is JSON by its type: what a web page may send unasked is not.
bool IsJson(std::string_view type) { return type.substr(0, type.find(';')) == kJson; }

std::vector<ModelReport> ReadyModels(OpenAiContext& context) {
  std::vector<ModelReport> models = context.door.ListModels();
  std::erase_if(models, [](const ModelReport& m) { return m.state != ModelState::kReady; });
  return models;
}

// An embeddings call while it runs. On the connection's strand but for what the engine calls.
class Embedding : public std::enable_shared_from_this<Embedding> {
 public:
  Embedding(std::shared_ptr<OpenAiContext> context, std::shared_ptr<HttpExchange> exchange,
            Access::Grant grant)
      : context_(std::move(context)),
        exchange_(std::move(exchange)),
        grant_(std::move(grant)),
        scope_(context_->metrics, Rpc::kOpenAiEmbeddings) {}

  void Start(EmbeddingsRequest wanted) {
    base64_ = wanted.base64;
    dimensions_ = wanted.dimensions;
    const absl::StatusOr<RequestId> id = context_->door.Submit(
        std::move(wanted.request), [self = shared_from_this()](absl::StatusOr<EmbedResult> result) {
          self->exchange_->Post([self, result = std::move(result)] { self->Finish(result); });
        });
    if (!id.ok()) return Finish(id.status());
    exchange_->SetWatch({.closed = [self = shared_from_this(), id = *id] {
      self->scope_.set_code(absl::StatusCode::kCancelled);
      self->context_->door.Cancel(id);
    }});
  }

 private:
  void Finish(const absl::StatusOr<EmbedResult>& result) {
    absl::Status status = result.status();
    if (status.ok()) status = CheckDimensions(*result);
    scope_.set_code(status.code());
    exchange_->Reply(status.ok()
                         ? HttpReply{.type = kJson, .body = EmbeddingsJson(*result, base64_)}
                         : OpenAiError(status));
  }
  absl::Status CheckDimensions(const EmbedResult& result) const {
    if (!dimensions_.has_value() || result.embeddings.empty()) return absl::OkStatus();
    const auto has = static_cast<int64_t>(result.embeddings[0].size());
    if (*dimensions_ == has) return absl::OkStatus();
    return FieldError("dimensions", StrCat("must be ", has, ", since model \"", result.model,
                                           "\" has no others, but is ", *dimensions_));
  }

  const std::shared_ptr<OpenAiContext> context_;
  const std::shared_ptr<HttpExchange> exchange_;
  const Access::Grant grant_;
  RpcScope scope_;
  bool base64_ = false;
  std::optional<int32_t> dimensions_;
};

// Without the %XX of a path.
std::string Decoded(std::string_view path) {
  std::string decoded;
  for (size_t i = 0; i < path.size(); ++i) {
    unsigned char byte = 0;
    if (path[i] == '%' && i + 2 < path.size() &&
        std::from_chars(&path[i + 1], &path[i + 1] + 2, byte, 16).ptr == &path[i + 1] + 2) {
      decoded += static_cast<char>(byte);
      i += 2;
    } else {
      decoded += path[i];
    }
  }
  return decoded;
}

HttpReply AnswerModels(OpenAiContext& context, std::string_view path) {
  RpcScope scope(context.metrics, Rpc::kOpenAiModels);
  const std::vector<ModelReport> models = ReadyModels(context);
  if (path == kModels) {
    scope.set_code(absl::StatusCode::kOk);
    return {.type = kJson, .body = ModelsJson(models, context.started_s)};
  }
  const std::string name = Decoded(path.substr(kModels.size() + 1));
  for (const ModelReport& model : models) {
    if (model.name != name) continue;
    scope.set_code(absl::StatusCode::kOk);
    return {.type = kJson, .body = ModelJson(model, context.started_s)};
  }
  scope.set_code(absl::StatusCode::kNotFound);
  return OpenAiError(absl::NotFoundError(StrCat("model \"", Escaped(name), "\" does not exist")));
}

struct Endpoint {
  std::string_view path;
  Rpc rpc;
};
constexpr Endpoint kEndpoints[] = {{"/v1/chat/completions", Rpc::kOpenAiChatCompletions},
                                   {"/v1/completions", Rpc::kOpenAiCompletions},
                                   {"/v1/embeddings", Rpc::kOpenAiEmbeddings}};

}  // namespace

OpenAiService::OpenAiService(const RpcParts& parts)
    : context_(new OpenAiContext{.door = EngineDoor(parts.engine),
                                 .metrics = parts.metrics,
                                 .clock = parts.clock,
                                 .stream_pending_bytes_max = parts.options.stream_pending_bytes_max,
                                 .access = parts.access,
                                 .started_s = NowS(),
                                 .id_salt = DrawSalt()}) {}

void OpenAiService::Serve(HttpRequest request, std::shared_ptr<HttpExchange> exchange) {
  const auto refuse = [&](Rpc rpc, const absl::Status& status) {
    RpcScope(context_->metrics, rpc).set_code(status.code());
    exchange->Reply(OpenAiError(status));
  };
  const bool models = request.path == kModels || request.path.starts_with(StrCat(kModels, "/"));
  const Endpoint* endpoint = nullptr;
  for (const Endpoint& candidate : kEndpoints) {
    if (candidate.path == request.path) endpoint = &candidate;
  }
  if (!models && endpoint == nullptr) {
    return exchange->Reply(OpenAiRefusal(
        404, StrCat("unknown path ", Escaped(request.path),
                    "; there are /v1/models, /v1/chat/completions, /v1/completions and "
                    "/v1/embeddings")));
  }
  const Rpc rpc = models ? Rpc::kOpenAiModels : endpoint->rpc;
  absl::StatusOr<Access::Grant> grant =
      context_->access.CheckRpc(request.Header("authorization"), Name(rpc));
  if (!grant.ok()) return refuse(rpc, grant.status());
  const std::string_view method = models ? "GET" : "POST";
  if (request.method != method) {
    HttpReply reply = OpenAiRefusal(
        405, StrCat(request.path, " takes ", method, ", not ", Escaped(request.method)));
    reply.headers.emplace_back("Allow", method);
    return exchange->Reply(std::move(reply));
  }
  if (models) return exchange->Reply(AnswerModels(*context_, request.path));
  if (!IsJson(request.Header("content-type"))) {
    return exchange->Reply(OpenAiRefusal(415, "Content-Type must be application/json"));
  }
  absl::StatusOr<Envelope> envelope = EnvelopeOf(request);
  if (!envelope.ok()) return refuse(rpc, envelope.status());
  if (rpc == Rpc::kOpenAiEmbeddings) {
    absl::StatusOr<EmbeddingsRequest> wanted = ParseEmbeddings(request.body, *std::move(envelope));
    if (!wanted.ok()) return refuse(rpc, wanted.status());
    std::make_shared<Embedding>(context_, std::move(exchange), *std::move(grant))
        ->Start(*std::move(wanted));
    return;
  }
  absl::StatusOr<GenerationRequest> wanted =
      rpc == Rpc::kOpenAiChatCompletions ? ParseChatCompletion(request.body, *std::move(envelope))
                                         : ParseCompletion(request.body, *std::move(envelope));
  if (!wanted.ok()) return refuse(rpc, wanted.status());
  StartGeneration({context_, rpc, std::move(exchange), *std::move(grant)}, *std::move(wanted));
}

}  // namespace baton
