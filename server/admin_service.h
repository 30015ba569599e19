#pragma once

#include "baton/v1/admin.grpc.pb.h"
#include "server/rpc.h"

namespace baton {

// baton.v1.AdminService. Thread safe; no method blocks.
class AdminService final : public v1::AdminService::CallbackService {
 public:
  explicit AdminService(const RpcParts& parts) : parts_(parts) {}

  grpc::ServerUnaryReactor* Devices(grpc::CallbackServerContext* context,
                                    const v1::DevicesRequest* request,
                                    v1::DevicesResponse* response) override;
  grpc::ServerUnaryReactor* Explain(grpc::CallbackServerContext* context,
                                    const v1::ExplainRequest* request,
                                    v1::ExplainResponse* response) override;

  grpc::ServerUnaryReactor* LoadModel(grpc::CallbackServerContext* context,
                                      const v1::LoadModelRequest* request,
                                      v1::LoadModelResponse* response) override;
  grpc::ServerUnaryReactor* UnloadModel(grpc::CallbackServerContext* context,
                                        const v1::UnloadModelRequest* request,
                                        v1::UnloadModelResponse* response) override;

 private:
  const RpcParts parts_;
};

}  // namespace baton
