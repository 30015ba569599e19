#include "server/rag_service.h"

#include <utility>
#include <vector>

#include "engine/base/status_macros.h"
#include "server/translate_inference.h"
#include "server/translate_rag.h"

namespace baton {
namespace {

using AskWriter = StreamWriter<v1::AskResponse>;

bool Coalesce(v1::AskResponse& last, const v1::AskResponse& next) {
  if (!last.has_tokens() || !next.has_tokens()) return false;
  return Append(next.tokens(), *last.mutable_tokens());
}

class AskStreamSink final : public AskSink {
 public:
  explicit AskStreamSink(std::shared_ptr<AskWriter> writer) : writer_(std::move(writer)) {}

  void OnRetrieved(std::vector<Passage> passages) override {
    v1::AskResponse message;
    ToProto(std::move(passages), *message.mutable_retrieved());
    writer_->Push(std::move(message));
  }

  void OnTokens(TokenChunk chunk) override {
    v1::AskResponse message;
    ToProto(std::move(chunk), *message.mutable_tokens());
    writer_->PushTokens(std::move(message));
  }

  void OnAnswer(AskResult result) override {
    v1::AskResponse message;
    ToProto(std::move(result), *message.mutable_finished());
    writer_->Push(std::move(message));
  }

  void OnFinished(absl::Status status) override { writer_->End(std::move(status)); }

 private:
  const std::shared_ptr<AskWriter> writer_;
};

}  // namespace

grpc::ServerUnaryReactor* RagService::Ingest(grpc::CallbackServerContext* context,
                                             const v1::IngestRequest* request,
                                             v1::IngestResponse* response) {
  auto* call = new UnaryCall(parts_, Rpc::kIngest, context);
  if (call->Refused()) return call;
  return call->Submitted([&]() -> absl::StatusOr<RequestId> {
    ASSIGN_OR_RETURN(Envelope envelope, call->ReadEnvelope(request->options()));
    ASSIGN_OR_RETURN(IngestRequest ingest, ToIngest(*request, std::move(envelope)));
    return parts_.engine.Submit(std::move(ingest),
                                call->Then<IngestResult>([response](const IngestResult& result) {
                                  ToProto(result, *response);
                                }));
  }());
}

grpc::ServerWriteReactor<v1::AskResponse>* RagService::Ask(grpc::CallbackServerContext* context,
                                                           const v1::AskRequest* request) {
  auto* call = new StreamCall<v1::AskResponse>(parts_, Rpc::kAsk, context, Coalesce);
  if (call->Refused()) return call;
  return call->Submitted([&]() -> absl::StatusOr<RequestId> {
    ASSIGN_OR_RETURN(Envelope envelope, call->ReadEnvelope(request->options()));
    ASSIGN_OR_RETURN(AskRequest ask, ToAsk(*request, std::move(envelope)));
    return parts_.engine.Submit(std::move(ask), std::make_shared<AskStreamSink>(call->writer()));
  }());
}

}  // namespace baton
