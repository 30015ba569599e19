#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "engine/model_report.h"
#include "inference/kserve_v2.grpc.pb.h"
#include "server/rpc.h"
#include "server/translate_kserve.h"

namespace baton {

// A model that is ready, by its name; NOT_FOUND: there is none. Only what generates or embeds.
absl::StatusOr<ModelReport> FindKserveModel(const Engine& engine, const std::string& name);

// The methods whose messages gRPC decodes; ModelStreamInfer decodes its own.
using KserveGrpc = inference::GRPCInferenceService;
using KserveUnaryCallbacks = KserveGrpc::WithCallbackMethod_ServerLive<
    KserveGrpc::WithCallbackMethod_ServerReady<KserveGrpc::WithCallbackMethod_ModelReady<
        KserveGrpc::WithCallbackMethod_ServerMetadata<KserveGrpc::WithCallbackMethod_ModelMetadata<
            KserveGrpc::WithCallbackMethod_ModelInfer<KserveGrpc::Service>>>>>>;

// inference.GRPCInferenceService, the Open Inference Protocol. Thread safe; no method blocks.
class KserveService final
    : public KserveGrpc::WithRawCallbackMethod_ModelStreamInfer<KserveUnaryCallbacks> {
 public:
  explicit KserveService(const RpcParts& parts) : parts_(parts) {}

  grpc::ServerUnaryReactor* ServerLive(grpc::CallbackServerContext* context,
                                       const inference::ServerLiveRequest* request,
                                       inference::ServerLiveResponse* response) override;
  grpc::ServerUnaryReactor* ServerReady(grpc::CallbackServerContext* context,
                                        const inference::ServerReadyRequest* request,
                                        inference::ServerReadyResponse* response) override;
  grpc::ServerUnaryReactor* ModelReady(grpc::CallbackServerContext* context,
                                       const inference::ModelReadyRequest* request,
                                       inference::ModelReadyResponse* response) override;
  grpc::ServerUnaryReactor* ServerMetadata(grpc::CallbackServerContext* context,
                                           const inference::ServerMetadataRequest* request,
                                           inference::ServerMetadataResponse* response) override;
  grpc::ServerUnaryReactor* ModelMetadata(grpc::CallbackServerContext* context,
                                          const inference::ModelMetadataRequest* request,
                                          inference::ModelMetadataResponse* response) override;
  grpc::ServerUnaryReactor* ModelInfer(grpc::CallbackServerContext* context,
                                       const inference::ModelInferRequest* request,
                                       inference::ModelInferResponse* response) override;
  grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* ModelStreamInfer(
      grpc::CallbackServerContext* context) override;

 private:
  const RpcParts parts_;
};

}  // namespace baton
