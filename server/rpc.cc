#include "server/rpc.h"

#include <string>

#include "engine/base/log.h"
#include "engine/base/strings.h"

namespace baton {

void CancelHandle::SetId(RequestId id) {
  bool cancelled;
  {
    const std::lock_guard lock(mutex_);
    id_ = id;
    cancelled = cancelled_;
  }
  if (cancelled) engine_.Cancel(id);
}

void CancelHandle::Cancel() {
  std::optional<RequestId> id;
  {
    const std::lock_guard lock(mutex_);
    if (std::exchange(cancelled_, true)) return;
    id = id_;
  }
  if (id.has_value()) engine_.Cancel(*id);
}

absl::StatusOr<Envelope> RpcCall::ReadEnvelope(const v1::RequestOptions& options) const {
  return ToEnvelope(options, context_.client_metadata(), DeadlineUs());
}

grpc::Status RpcCall::Conclude(const absl::Status& status) {
  scope_.set_code(status.code());
  switch (status.code()) {
    case absl::StatusCode::kResourceExhausted: {
      const int64_t retry_ms = RetryAfterMs(status);
      if (retry_ms >= 0) context_.AddTrailingMetadata("baton-retry-after-ms", StrCat(retry_ms));
      break;
    }
    case absl::StatusCode::kInternal:
    case absl::StatusCode::kUnknown:
    case absl::StatusCode::kDataLoss:
      Log().error("{}: {}", Name(scope_.rpc()), status.ToString());
      break;
    default:
      break;
  }
  return ToGrpc(status);
}

}  // namespace baton
