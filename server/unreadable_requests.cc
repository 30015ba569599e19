#include "server/unreadable_requests.h"

#include <algorithm>
#include <string>

#include "engine/base/strings.h"
#include "google/protobuf/descriptor.h"
#include "server/translate.h"

namespace baton {
namespace {

using grpc::experimental::InterceptionHookPoints;
using grpc::experimental::Interceptor;
using grpc::experimental::InterceptorBatchMethods;
using grpc::experimental::ServerRpcInfo;

// "/package.Service/Method" as the descriptors name it; gRPC's own answer to a method that does not
// exist looks the same, and is right.
bool IsKnown(std::string method) {
  std::replace(method.begin(), method.end(), '/', '.');
  return google::protobuf::DescriptorPool::generated_pool()->FindMethodByName(method) != nullptr;
}

class Explainer final : public Interceptor {
 public:
  // `method`: "/package.Service/Method".
  explicit Explainer(const char* method) : method_(method) {}

  void Intercept(InterceptorBatchMethods* methods) override {
    if (methods->QueryInterceptionHookPoint(InterceptionHookPoints::PRE_SEND_STATUS)) {
      const grpc::Status status = methods->GetSendStatus();
      // Baton's own statuses have a message.
      if (status.error_code() == grpc::StatusCode::UNIMPLEMENTED &&
          status.error_message().empty()) {
        const std::string_view name = method_.substr(1);
        if (IsKnown(std::string(name))) {
          methods->ModifySendStatus(ToGrpc(UnreadableRequest(name)));
        }
      }
    }
    methods->Proceed();
  }

 private:
  const std::string_view method_;  // the call's
};

class Factory final : public grpc::experimental::ServerInterceptorFactoryInterface {
 public:
  Interceptor* CreateServerInterceptor(ServerRpcInfo* info) override {
    return new Explainer(info->method());
  }
};

}  // namespace

std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface> ExplainUnreadableRequests() {
  return std::make_unique<Factory>();
}

absl::Status UnreadableRequest(std::string_view method) {
  return absl::InvalidArgumentError(
      StrCat("the request of ", method,
             " cannot be decoded: broken bytes, or a string that is not UTF-8"));
}

}  // namespace baton
