#pragma once

#include "baton/v1/rag.grpc.pb.h"
#include "server/rpc.h"

namespace baton {

// baton.v1.RagService. Thread safe; no method blocks.
class RagService final : public v1::RagService::CallbackService {
 public:
  explicit RagService(const RpcParts& parts) : parts_(parts) {}

  grpc::ServerUnaryReactor* Ingest(grpc::CallbackServerContext* context,
                                   const v1::IngestRequest* request,
                                   v1::IngestResponse* response) override;
  grpc::ServerWriteReactor<v1::AskResponse>* Ask(grpc::CallbackServerContext* context,
                                                 const v1::AskRequest* request) override;

 private:
  const RpcParts parts_;
};

}  // namespace baton
