#include "server/inference_service.h"

#include <utility>

#include "engine/base/status_macros.h"
#include "server/translate_inference.h"

namespace baton {
namespace {

using GenerateWriter = StreamWriter<v1::GenerateResponse>;

bool Coalesce(v1::GenerateResponse& last, const v1::GenerateResponse& next) {
  if (!last.has_tokens() || !next.has_tokens()) return false;
  return Append(next.tokens(), *last.mutable_tokens());
}

class GenerateSink final : public TokenSink {
 public:
  explicit GenerateSink(std::shared_ptr<GenerateWriter> writer) : writer_(std::move(writer)) {}

  void OnPrompt(PromptChunk chunk) override {
    v1::GenerateResponse message;
    ToProto(std::move(chunk), *message.mutable_prompt());
    writer_->PushTokens(std::move(message));
  }

  void OnTokens(TokenChunk chunk) override {
    v1::GenerateResponse message;
    ToProto(std::move(chunk), *message.mutable_tokens());
    writer_->PushTokens(std::move(message));
  }

  void OnCompletion(GenerateResult result) override {
    v1::GenerateResponse message;
    ToProto(result, *message.mutable_finished());
    writer_->Push(std::move(message));
  }

  void OnFinished(absl::Status status) override { writer_->End(std::move(status)); }

 private:
  const std::shared_ptr<GenerateWriter> writer_;
};

}  // namespace

grpc::ServerWriteReactor<v1::GenerateResponse>* InferenceService::Generate(
    grpc::CallbackServerContext* context, const v1::GenerateRequest* request) {
  auto* call = new StreamCall<v1::GenerateResponse>(parts_, Rpc::kGenerate, context, Coalesce);
  if (call->Refused()) return call;
  return call->Submitted([&]() -> absl::StatusOr<RequestId> {
    ASSIGN_OR_RETURN(Envelope envelope, call->ReadEnvelope(request->options()));
    ASSIGN_OR_RETURN(GenerateRequest generate, ToGenerate(*request, std::move(envelope)));
    return parts_.engine.Submit(std::move(generate),
                                std::make_shared<GenerateSink>(call->writer()));
  }());
}

grpc::ServerUnaryReactor* InferenceService::Embed(grpc::CallbackServerContext* context,
                                                  const v1::EmbedRequest* request,
                                                  v1::EmbedResponse* response) {
  auto* call = new UnaryCall(parts_, Rpc::kEmbed, context);
  if (call->Refused()) return call;
  return call->Submitted([&]() -> absl::StatusOr<RequestId> {
    ASSIGN_OR_RETURN(Envelope envelope, call->ReadEnvelope(request->options()));
    ASSIGN_OR_RETURN(EmbedRequest embed, ToEmbed(*request, std::move(envelope)));
    return parts_.engine.Submit(std::move(embed),
                                call->Then<EmbedResult>([response](const EmbedResult& result) {
                                  ToProto(result, *response);
                                }));
  }());
}

grpc::ServerUnaryReactor* InferenceService::Rerank(grpc::CallbackServerContext* context,
                                                   const v1::RerankRequest* request,
                                                   v1::RerankResponse* response) {
  auto* call = new UnaryCall(parts_, Rpc::kRerank, context);
  if (call->Refused()) return call;
  return call->Submitted([&]() -> absl::StatusOr<RequestId> {
    ASSIGN_OR_RETURN(Envelope envelope, call->ReadEnvelope(request->options()));
    ASSIGN_OR_RETURN(RerankRequest rerank, ToRerank(*request, std::move(envelope)));
    return parts_.engine.Submit(std::move(rerank),
                                call->Then<RerankResult>([response](RerankResult result) {
                                  ToProto(std::move(result), *response);
                                }));
  }());
}

grpc::ServerUnaryReactor* InferenceService::Tokenize(grpc::CallbackServerContext* context,
                                                     const v1::TokenizeRequest* request,
                                                     v1::TokenizeResponse* response) {
  auto* call = new UnaryCall(parts_, Rpc::kTokenize, context);
  if (call->Refused()) return call;
  return call->Submitted([&]() -> absl::StatusOr<RequestId> {
    RETURN_IF_ERROR(CheckTokenize(*request));
    std::optional<bool> add_bos;
    if (request->has_add_bos()) add_bos = request->add_bos();
    return parts_.engine.SubmitTokenize(
        request->model(), request->text(), add_bos,
        call->Then<std::vector<TokenId>>([response](const std::vector<TokenId>& ids) {
          response->mutable_ids()->Add(ids.begin(), ids.end());
        }));
  }());
}

grpc::ServerUnaryReactor* InferenceService::Detokenize(grpc::CallbackServerContext* context,
                                                       const v1::DetokenizeRequest* request,
                                                       v1::DetokenizeResponse* response) {
  auto* call = new UnaryCall(parts_, Rpc::kDetokenize, context);
  if (call->Refused()) return call;
  return call->Submitted([&]() -> absl::StatusOr<RequestId> {
    RETURN_IF_ERROR(CheckDetokenize(*request));
    return parts_.engine.SubmitDetokenize(request->model(),
                                          {request->ids().begin(), request->ids().end()},
                                          call->Then<std::string>([response](std::string text) {
                                            response->set_text(std::move(text));
                                          }));
  }());
}

grpc::ServerUnaryReactor* InferenceService::ListModels(grpc::CallbackServerContext* context,
                                                       const v1::ListModelsRequest*,
                                                       v1::ListModelsResponse* response) {
  auto* call = new UnaryCall(parts_, Rpc::kListModels, context);
  if (call->Refused()) return call;
  for (const ModelReport& report : parts_.engine.ListModels()) {
    ToProto(report, *response->add_models());
  }
  return call->Answered(absl::OkStatus());
}

}  // namespace baton
