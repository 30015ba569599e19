#pragma once

#include <memory>
#include <string_view>

#include "absl/status/status.h"
#include "grpcpp/support/server_interceptor.h"

namespace baton {

// gRPC's callback API answers a request that it cannot decode, such as text that is not UTF-8, with
// an UNIMPLEMENTED that says nothing. This makes it an INVALID_ARGUMENT that names the method.
std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface> ExplainUnreadableRequests();

// The same for a stream that decodes its messages itself.
absl::Status UnreadableRequest(std::string_view method);

}  // namespace baton
