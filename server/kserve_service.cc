#include "server/kserve_service.h"

#include <memory>
#include <utility>

#include "engine/base/status_macros.h"
#include "engine/base/strings.h"
#include "server/kserve_stream.h"
#include "server/kserve_text.h"
#include "server/version.h"

namespace baton {

absl::StatusOr<ModelReport> FindKserveModel(const Engine& engine, const std::string& name) {
  std::string ready;
  for (ModelReport& model : engine.ListModels()) {
    if (model.state != ModelState::kReady || model.kind == ModelKind::kReranker) continue;
    if (model.name == name) return std::move(model);
    ready += StrCat(ready.empty() ? "" : ", ", model.name);
  }
  return absl::NotFoundError(
      StrCat("model \"", Escaped(name), "\" is not loaded; loaded: ", ready));
}

grpc::ServerUnaryReactor* KserveService::ServerLive(grpc::CallbackServerContext* context,
                                                    const inference::ServerLiveRequest*,
                                                    inference::ServerLiveResponse* response) {
  auto* call = new UnaryCall(parts_, Rpc::kServerLive, context);
  if (call->Refused()) return call;
  response->set_live(true);
  return call->Answered(absl::OkStatus());
}

grpc::ServerUnaryReactor* KserveService::ServerReady(grpc::CallbackServerContext* context,
                                                     const inference::ServerReadyRequest*,
                                                     inference::ServerReadyResponse* response) {
  auto* call = new UnaryCall(parts_, Rpc::kServerReady, context);
  if (call->Refused()) return call;
  response->set_ready(parts_.engine.Progress().ok());
  return call->Answered(absl::OkStatus());
}

grpc::ServerUnaryReactor* KserveService::ModelReady(grpc::CallbackServerContext* context,
                                                    const inference::ModelReadyRequest* request,
                                                    inference::ModelReadyResponse* response) {
  auto* call = new UnaryCall(parts_, Rpc::kModelReady, context);
  if (call->Refused()) return call;
  response->set_ready(FindKserveModel(parts_.engine, request->name()).ok() &&
                      CheckKserveVersion(request->name(), request->version()).ok());
  return call->Answered(absl::OkStatus());
}

grpc::ServerUnaryReactor* KserveService::ServerMetadata(
    grpc::CallbackServerContext* context, const inference::ServerMetadataRequest*,
    inference::ServerMetadataResponse* response) {
  auto* call = new UnaryCall(parts_, Rpc::kServerMetadata, context);
  if (call->Refused()) return call;
  response->set_name("baton");
  response->set_version(kVersion);
  return call->Answered(absl::OkStatus());
}

grpc::ServerUnaryReactor* KserveService::ModelMetadata(
    grpc::CallbackServerContext* context, const inference::ModelMetadataRequest* request,
    inference::ModelMetadataResponse* response) {
  auto* call = new UnaryCall(parts_, Rpc::kModelMetadata, context);
  if (call->Refused()) return call;
  const auto status = [&]() -> absl::Status {
    ASSIGN_OR_RETURN(const ModelReport model, FindKserveModel(parts_.engine, request->name()));
    RETURN_IF_ERROR(CheckKserveVersion(request->name(), request->version()));
    ToProto(model, *response);
    return absl::OkStatus();
  }();
  return call->Answered(status);
}

grpc::ServerUnaryReactor* KserveService::ModelInfer(grpc::CallbackServerContext* context,
                                                    const inference::ModelInferRequest* request,
                                                    inference::ModelInferResponse* response) {
  auto* call = new UnaryCall(parts_, Rpc::kModelInfer, context);
  if (call->Refused()) return call;
  return call->Submitted([&]() -> absl::StatusOr<RequestId> {
    ASSIGN_OR_RETURN(Envelope envelope, call->ReadEnvelope(v1::RequestOptions()));
    ASSIGN_OR_RETURN(const ModelReport model,
                     FindKserveModel(parts_.engine, request->model_name()));
    ASSIGN_OR_RETURN(KserveRequest wanted, ToKserve(*request, model, std::move(envelope)));
    if (wanted.stream) {
      return absl::InvalidArgumentError("input \"stream\" must be false in ModelInfer");
    }
    if (auto* embed = std::get_if<EmbedRequest>(&wanted.request)) {
      return parts_.engine.Submit(
          std::move(*embed), call->Then<EmbedResult>([response, answer = std::move(wanted.answer)](
                                                         const EmbedResult& result) {
            ToProto(result, answer, *response);
          }));
    }
    auto& generate = std::get<GenerateRequest>(wanted.request);
    const int32_t completions = generate.completions;
    return parts_.engine.Submit(
        std::move(generate),
        std::static_pointer_cast<TokenSink>(std::make_shared<KserveTextSink>(
            completions, call->Then<KserveText>(
                             [response, answer = std::move(wanted.answer)](const KserveText& text) {
                               ToProto(text, answer, *response);
                             }))));
  }());
}

grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* KserveService::ModelStreamInfer(
    grpc::CallbackServerContext* context) {
  return new KserveStreamCall(parts_, context);
}

}  // namespace baton
