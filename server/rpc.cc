#include "server/rpc.h"

#include <iterator>
#include <string>
#include <string_view>

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

namespace {

// The header of that name; two of them are as good as a wrong one.
std::string_view AuthorizationOf(const grpc::CallbackServerContext& context) {
  const auto [begin, end] = context.client_metadata().equal_range("authorization");
  if (begin == end) return "";
  if (std::next(begin) != end) return "several";
  return {begin->second.data(), begin->second.size()};
}

}  // namespace

RpcCall::RpcCall(const RpcParts& parts, Rpc rpc, grpc::CallbackServerContext* context)
    : parts_(parts),
      scope_(parts.metrics, rpc),
      context_(*context),
      cancel_(parts.engine),
      grant_(parts.access.CheckRpc(AuthorizationOf(*context), Name(rpc))) {}

absl::StatusOr<Envelope> RpcCall::ReadEnvelope(const v1::RequestOptions& options) const {
  return ToEnvelope(options, context_.client_metadata(), DeadlineUs());
}

grpc::Status RpcCall::Conclude(const absl::Status& status) {
  scope_.set_code(status.code());
  // Its answer is on its way: who waits for that may send the next request.
  if (grant_.ok()) *grant_ = Access::Grant();
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
