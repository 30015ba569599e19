#pragma once

#include <memory>
#include <string>

#include "baton/v1/vector.grpc.pb.h"
#include "config/config.h"
#include "grpcpp/grpcpp.h"
#include "server/app.h"
#include "tests/bench/bench_tools.h"
#include "tests/support/shared_data.h"
#include "tests/support/temp_dir.h"

namespace baton {

// OrDie for a call.
inline void RpcOrDie(const grpc::Status& status) {
  if (!status.ok()) OrDie(absl::UnknownError(status.error_message()));
}

// A daemon in this process, without a model, on loopback ports of its own.
class BenchDaemon {
 public:
  explicit BenchDaemon(const VectorOptions& vector) {
    Config config;
    config.server.grpc_address = "127.0.0.1:0";
    config.server.http_address = "127.0.0.1:0";
    config.vector = vector;
    app_ = OrDie(App::Start(config));
    OrDie(app_->WritePortFile(dir_.File("ports")));
    const std::string ports = ReadWholeFile(dir_.File("ports"));
    const size_t at = ports.find("grpc=") + 5;
    channel_ = grpc::CreateChannel(ports.substr(at, ports.find('\n', at) - at),
                                   grpc::InsecureChannelCredentials());
    stub_ = v1::VectorService::NewStub(channel_);
  }

  v1::VectorService::Stub& stub() { return *stub_; }

  // Of collection "c".
  v1::CollectionInfo Describe() {
    grpc::ClientContext context;
    v1::DescribeCollectionRequest request;
    request.set_collection("c");
    v1::DescribeCollectionResponse response;
    RpcOrDie(stub_->DescribeCollection(&context, request, &response));
    return response.collection();
  }

 private:
  const TempDir dir_;
  std::unique_ptr<App> app_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<v1::VectorService::Stub> stub_;
};

}  // namespace baton
