#pragma once

#include <memory>
#include <mutex>
#include <string>

#include "absl/status/status.h"
#include "grpcpp/support/byte_buffer.h"
#include "inference/kserve_v2.pb.h"
#include "server/rpc.h"
#include "server/stream_writer.h"

namespace baton {

// One ModelStreamInfer: a request is read, runs, answers, and then the next is read. What a client
// leaves unread is bounded by server.stream_pending_bytes_max. Deletes itself when it is over.
//
// It reads bytes and decodes them itself, because gRPC reports a message that cannot be decoded
// just like the client's last one.
class KserveStreamCall final : public grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>,
                               public RpcCall,
                               public MessagePort<inference::ModelStreamInferResponse> {
 public:
  using Response = inference::ModelStreamInferResponse;

  KserveStreamCall(const RpcParts& parts, grpc::CallbackServerContext* context);

 private:
  class Sink;

  void OnReadDone(bool ok) override;
  void OnWriteDone(bool ok) override { writer_->OnWriteDone(ok); }
  void OnCancel() override;
  void OnDone() override { delete this; }

  void Write(const Response& response) override;
  void WriteLast(const Response& response) override;
  void End(const absl::Status& status) override { Finish(Conclude(status)); }

  absl::StatusOr<RequestId> Begin();
  // The request has ended with this, having said all else: on any thread. The call may be gone when
  // this returns.
  void EndRequest(const std::string& id, const absl::Status& status);
  void GiveUp();

  const std::shared_ptr<StreamWriter<Response>> writer_;
  grpc::ByteBuffer request_;  // gRPC's while it is read
  grpc::ByteBuffer written_;  // gRPC's while it is written

  std::mutex mutex_;  // guards what follows
  bool cancelled_ = false;
  bool gave_up_ = false;                   // the client does not read
  std::shared_ptr<CancelHandle> current_;  // of the request that runs
};

}  // namespace baton
