#pragma once

#include "baton/v1/admin.grpc.pb.h"
#include "engine/vector/vector_store.h"
#include "server/rpc.h"
#include "server/writer_pool.h"

namespace baton {

// baton.v1.AdminService. Thread safe; no method blocks.
class AdminService final : public v1::AdminService::CallbackService {
 public:
  // `store` outlives it.
  AdminService(const RpcParts& parts, VectorStore& store) : parts_(parts), store_(store) {}

  grpc::ServerUnaryReactor* Devices(grpc::CallbackServerContext* context,
                                    const v1::DevicesRequest* request,
                                    v1::DevicesResponse* response) override;
  grpc::ServerUnaryReactor* Explain(grpc::CallbackServerContext* context,
                                    const v1::ExplainRequest* request,
                                    v1::ExplainResponse* response) override;

  grpc::ServerUnaryReactor* Calibrate(grpc::CallbackServerContext* context,
                                      const v1::CalibrateRequest* request,
                                      v1::CalibrateResponse* response) override;
  grpc::ServerUnaryReactor* Power(grpc::CallbackServerContext* context,
                                  const v1::PowerRequest* request,
                                  v1::PowerResponse* response) override;
  grpc::ServerUnaryReactor* LoadModel(grpc::CallbackServerContext* context,
                                      const v1::LoadModelRequest* request,
                                      v1::LoadModelResponse* response) override;
  grpc::ServerUnaryReactor* UnloadModel(grpc::CallbackServerContext* context,
                                        const v1::UnloadModelRequest* request,
                                        v1::UnloadModelResponse* response) override;
  grpc::ServerUnaryReactor* CreateSnapshot(grpc::CallbackServerContext* context,
                                           const v1::CreateSnapshotRequest* request,
                                           v1::CreateSnapshotResponse* response) override;
  grpc::ServerUnaryReactor* ListSnapshots(grpc::CallbackServerContext* context,
                                          const v1::ListSnapshotsRequest* request,
                                          v1::ListSnapshotsResponse* response) override;
  grpc::ServerUnaryReactor* DeleteSnapshot(grpc::CallbackServerContext* context,
                                           const v1::DeleteSnapshotRequest* request,
                                           v1::DeleteSnapshotResponse* response) override;
  grpc::ServerUnaryReactor* VerifySnapshot(grpc::CallbackServerContext* context,
                                           const v1::VerifySnapshotRequest* request,
                                           v1::VerifySnapshotResponse* response) override;

 private:
  const RpcParts parts_;
  VectorStore& store_;
  WriterPool snapshots_{1};  // what waits for the disk; last: its jobs use the others
};

}  // namespace baton
