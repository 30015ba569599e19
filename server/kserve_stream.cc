#include "server/kserve_stream.h"

#include <utility>
#include <variant>

#include "engine/base/status_macros.h"
#include "grpcpp/impl/codegen/proto_utils.h"
#include "server/kserve_service.h"
#include "server/kserve_text.h"
#include "server/openai_replies.h"
#include "server/translate_kserve.h"
#include "server/unreadable_requests.h"

namespace baton {
namespace {

constexpr char kFinal[] = "triton_final_response";

void Serialize(const inference::ModelStreamInferResponse& response, grpc::ByteBuffer& bytes) {
  bool owned = false;
  bytes.Clear();  // gRPC writes into empty buffers only
  grpc::SerializationTraits<inference::ModelStreamInferResponse>::Serialize(response, &bytes,
                                                                            &owned);
}

void MarkFinal(inference::ModelStreamInferResponse& message) {
  (*message.mutable_infer_response()->mutable_parameters())[kFinal].set_bool_param(true);
}

}  // namespace

// A streamed generation: a message for what each step adds.
class KserveStreamCall::Sink final : public TokenSink {
 public:
  Sink(KserveStreamCall& call, KserveAnswer answer) : call_(call), answer_(std::move(answer)) {}

  void OnPrompt(PromptChunk) override {}  // is not asked for
  void OnTokens(TokenChunk chunk) override {
    if (chunk.text.empty()) return;
    Response message;
    ToProto(KserveText{.texts = {std::move(chunk.text)}}, answer_,
            *message.mutable_infer_response());
    call_.writer_->PushTokens(std::move(message));
  }
  void OnCompletion(GenerateResult result) override {
    Response message;
    ToProto(KserveText{.texts = {""},
                       .finish_reasons = {std::string(FinishReasonOf(result.reason))},
                       .prompt_tokens = result.prompt_tokens,
                       .completion_tokens = result.generated_tokens},
            answer_, *message.mutable_infer_response());
    MarkFinal(message);
    call_.writer_->PushTokens(std::move(message));
  }
  void OnFinished(absl::Status status) override { call_.EndRequest(answer_.id, status); }

 private:
  KserveStreamCall& call_;
  const KserveAnswer answer_;
};

KserveStreamCall::KserveStreamCall(const RpcParts& parts, grpc::CallbackServerContext* context)
    : RpcCall(parts, Rpc::kModelStreamInfer, context),
      writer_(std::make_shared<StreamWriter<Response>>(
          *this, parts.writers,
          StreamWriter<Response>::Options{
              .pending_bytes_max = parts.options.stream_pending_bytes_max,
              .coalesce = [](Response&, const Response&) { return false; },
              .give_up = [this] { GiveUp(); }})) {
  if (admission().ok()) {
    StartRead(&request_);
  } else {
    writer_->End(admission());
  }
}

void KserveStreamCall::OnReadDone(bool ok) {
  if (!ok) {
    const bool cancelled = context().IsCancelled();
    writer_->End(cancelled ? absl::CancelledError("the client went away") : absl::OkStatus());
    return;
  }
  std::shared_ptr<CancelHandle> current = std::make_shared<CancelHandle>(parts().engine);
  bool cancelled = false;
  {
    const std::lock_guard lock(mutex_);
    current_ = current;
    cancelled = cancelled_;
  }
  if (cancelled) current->Cancel();
  const absl::StatusOr<RequestId> id = Begin();
  if (id.ok()) {
    current->SetId(*id);
  } else {
    EndRequest("", id.status());
  }
}

absl::StatusOr<RequestId> KserveStreamCall::Begin() {
  inference::ModelInferRequest request;
  if (!grpc::SerializationTraits<inference::ModelInferRequest>::Deserialize(&request_, &request)
           .ok()) {
    return UnreadableRequest("inference.GRPCInferenceService/ModelStreamInfer");
  }
  ASSIGN_OR_RETURN(Envelope envelope, ReadEnvelope(v1::RequestOptions()));
  ASSIGN_OR_RETURN(const ModelReport model, FindKserveModel(parts().engine, request.model_name()));
  ASSIGN_OR_RETURN(KserveRequest wanted, ToKserve(request, model, std::move(envelope)));
  const auto whole = [this](KserveAnswer answer) {
    return [this, answer = std::move(answer)](const auto& result) {
      if (result.ok()) {
        Response message;
        ToProto(*result, answer, *message.mutable_infer_response());
        MarkFinal(message);
        writer_->PushTokens(std::move(message));
      }
      EndRequest(answer.id, result.status());
    };
  };
  if (auto* embed = std::get_if<EmbedRequest>(&wanted.request)) {
    return parts().engine.Submit(std::move(*embed),
                                 Done<EmbedResult>(whole(std::move(wanted.answer))));
  }
  auto& generate = std::get<GenerateRequest>(wanted.request);
  std::shared_ptr<TokenSink> sink;
  if (wanted.stream) {
    sink = std::make_shared<Sink>(*this, std::move(wanted.answer));
  } else {
    sink = std::make_shared<KserveTextSink>(generate.completions,
                                            Done<KserveText>(whole(std::move(wanted.answer))));
  }
  return parts().engine.Submit(std::move(generate), std::move(sink));
}

void KserveStreamCall::EndRequest(const std::string& id, const absl::Status& status) {
  bool over = false;
  {
    const std::lock_guard lock(mutex_);
    current_ = nullptr;
    over = gave_up_;
  }
  if (!status.ok() && !over) {
    Response message;
    message.set_error_message(std::string(status.message()));
    message.mutable_infer_response()->set_id(id);
    MarkFinal(message);
    writer_->PushTokens(std::move(message));
  }
  if (over) {
    writer_->End(absl::OkStatus());  // with why it gave up
    return;
  }
  // Not on the engine's loop.
  parts().writers.Post([this] { StartRead(&request_); });
}

void KserveStreamCall::OnCancel() {
  std::shared_ptr<CancelHandle> current;
  {
    const std::lock_guard lock(mutex_);
    cancelled_ = true;
    current = current_;
  }
  if (current != nullptr) current->Cancel();
}

void KserveStreamCall::GiveUp() {
  std::shared_ptr<CancelHandle> current;
  {
    const std::lock_guard lock(mutex_);
    gave_up_ = true;
    current = current_;
  }
  if (current != nullptr) current->Cancel();
}

void KserveStreamCall::Write(const Response& response) {
  Serialize(response, written_);
  StartWrite(&written_);
}

void KserveStreamCall::WriteLast(const Response& response) {
  Serialize(response, written_);
  StartWriteAndFinish(&written_, grpc::WriteOptions(), Conclude(absl::OkStatus()));
}

}  // namespace baton
