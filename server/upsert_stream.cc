#include "server/upsert_stream.h"

#include <utility>

#include "baton/v1/vector.pb.h"
#include "engine/base/status_macros.h"
#include "grpcpp/impl/codegen/proto_utils.h"
#include "server/translate_vector.h"
#include "server/unreadable_requests.h"

namespace baton {

UpsertStreamCall::UpsertStreamCall(const RpcParts& parts, grpc::CallbackServerContext* context)
    : RpcCall(parts, Rpc::kUpsertStream, context) {
  if (admission().ok()) {
    StartRead(&request_);
  } else {
    ended_ = true;
    Finish(Conclude(admission()));
  }
}

void UpsertStreamCall::OnReadDone(bool ok) {
  if (ok) next_ = Decode();
  {
    const std::lock_guard lock(mutex_);
    (ok ? request_ready_ : reads_over_) = true;
  }
  Advance();
}

void UpsertStreamCall::OnWriteDone(bool ok) {
  {
    const std::lock_guard lock(mutex_);
    batch_ = nullptr;
    if (!ok) cancelled_ = true;  // nobody is there to be told of further batches
  }
  Advance();
}

void UpsertStreamCall::OnCancel() {
  std::shared_ptr<CancelHandle> batch;
  {
    const std::lock_guard lock(mutex_);
    cancelled_ = true;
    batch = batch_;
  }
  if (batch != nullptr) batch->Cancel();
}

void UpsertStreamCall::Advance() {
  std::shared_ptr<CancelHandle> batch;
  bool cancelled = false;
  {
    const std::lock_guard lock(mutex_);
    if (ended_ || batch_ != nullptr) return;
    cancelled = cancelled_;
    if (request_ready_ && !cancelled) {
      request_ready_ = false;
      batch = batch_ = std::make_shared<CancelHandle>(parts().engine);
    } else if (!reads_over_ && !cancelled) {
      return;
    }
  }
  if (batch == nullptr) {
    End(cancelled || context().IsCancelled() ? absl::CancelledError("the client went away")
                                             : absl::OkStatus());
  } else if (const absl::Status begun = BeginBatch(batch); !begun.ok()) {
    End(begun);
  }
}

absl::StatusOr<UpsertRequest> UpsertStreamCall::Decode() {
  v1::UpsertRequest request;
  if (!grpc::SerializationTraits<v1::UpsertRequest>::Deserialize(&request_, &request).ok()) {
    return UnreadableRequest("baton.v1.VectorService/UpsertStream");
  }
  next_options_.Swap(request.mutable_options());
  return ToUpsert(request, Envelope());
}

absl::Status UpsertStreamCall::BeginBatch(const std::shared_ptr<CancelHandle>& cancel) {
  ASSIGN_OR_RETURN(UpsertRequest upsert, std::move(next_));
  ASSIGN_OR_RETURN(upsert.envelope, ReadEnvelope(next_options_));
  // Before Submit: after it the batch may fail and end the stream at any time.
  StartRead(&request_);
  ASSIGN_OR_RETURN(
      const RequestId id,
      parts().engine.Submit(std::move(upsert), [this](const absl::StatusOr<UpsertResult>& result) {
        EndBatch(result);
      }));
  cancel->SetId(id);
  return absl::OkStatus();
}

void UpsertStreamCall::EndBatch(const absl::StatusOr<UpsertResult>& result) {
  if (!result.ok()) {
    End(result.status());
    return;
  }
  v1::UpsertResponse response;
  ToProto(*result, response);
  bool owned = false;
  response_.Clear();  // gRPC writes into empty buffers only
  grpc::SerializationTraits<v1::UpsertResponse>::Serialize(response, &response_, &owned);
  StartWrite(&response_);
}

void UpsertStreamCall::End(const absl::Status& status) {
  {
    const std::lock_guard lock(mutex_);
    if (ended_) return;
    ended_ = true;
  }
  Finish(Conclude(status));
}

}  // namespace baton
