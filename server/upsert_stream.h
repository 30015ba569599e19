#pragma once

#include <memory>
#include <mutex>

#include "absl/status/statusor.h"
#include "baton/v1/common.pb.h"
#include "engine/request/vector_request.h"
#include "grpcpp/support/byte_buffer.h"
#include "server/rpc.h"

namespace baton {

// One UpsertStream: a batch is with the engine, the next one is read and decoded meanwhile, and
// none is begun before the acknowledgement of the last is written. The first failing batch ends the
// stream. Deletes itself when it is over.
//
// It reads bytes and decodes them itself, because gRPC reports a message that cannot be decoded
// just like the client's last one: the stream would end well, with a batch lost.
class UpsertStreamCall final : public grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>,
                               public RpcCall {
 public:
  UpsertStreamCall(const RpcParts& parts, grpc::CallbackServerContext* context);

 private:
  void OnReadDone(bool ok) override;
  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override { delete this; }

  // What was read, as the engine takes it; its options are in next_options_.
  absl::StatusOr<UpsertRequest> Decode();
  // Begins the next batch, or ends the stream, if it is time.
  void Advance();
  absl::Status BeginBatch(const std::shared_ptr<CancelHandle>& cancel);
  // On a writer thread: acknowledges the batch, or ends the stream.
  void EndBatch(const absl::StatusOr<UpsertResult>& result);
  void End(const absl::Status& status);

  // Each belongs to one party at a time: to gRPC while it is read or written.
  grpc::ByteBuffer request_;
  grpc::ByteBuffer response_;
  // Of whoever handles what was read: OnReadDone, then BeginBatch.
  absl::StatusOr<UpsertRequest> next_ = absl::UnknownError("nothing was read yet");
  v1::RequestOptions next_options_;

  std::mutex mutex_;  // guards what follows
  bool request_ready_ = false;
  bool reads_over_ = false;  // the client has sent its last batch, or is gone
  bool cancelled_ = false;
  bool ended_ = false;
  // Of the batch that is with the engine, or whose acknowledgement is with the transport. Each
  // batch is a request of its own to the engine.
  std::shared_ptr<CancelHandle> batch_;
};

}  // namespace baton
