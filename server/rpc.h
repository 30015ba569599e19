#pragma once

#include <memory>
#include <mutex>
#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "baton/v1/common.pb.h"
#include "config/server_options.h"
#include "engine/base/clock.h"
#include "engine/engine.h"
#include "grpcpp/server_context.h"
#include "grpcpp/support/server_callback.h"
#include "server/access.h"
#include "server/rpc_metrics.h"
#include "server/stream_writer.h"
#include "server/translate.h"
#include "server/writer_pool.h"

namespace baton {

// What every service works with; all of it outlives the gRPC server.
struct RpcParts {
  Engine& engine;
  const Clock& clock;
  WriterPool& writers;
  RpcMetrics& metrics;
  Access& access;
  const ServerOptions& options;
};

// Cancels a request whose id may not be known yet. Thread safe.
class CancelHandle {
 public:
  explicit CancelHandle(Engine& engine) : engine_(engine) {}
  void SetId(RequestId id);
  void Cancel();

 private:
  Engine& engine_;
  std::mutex mutex_;
  std::optional<RequestId> id_;
  bool cancelled_ = false;
};

// The part of an RPC that does not depend on its kind.
class RpcCall {
 public:
  // The one place where it is decided whether the caller may do this: every method asks Refused()
  // before it does anything.
  RpcCall(const RpcParts& parts, Rpc rpc, grpc::CallbackServerContext* context);

  absl::StatusOr<Envelope> ReadEnvelope(const v1::RequestOptions& options) const;
  TimeUs DeadlineUs() const { return ToDeadlineUs(context_.deadline(), parts_.clock); }
  const RpcParts& parts() const { return parts_; }
  grpc::CallbackServerContext& context() { return context_; }
  CancelHandle& cancel() { return cancel_; }
  // OK where the caller may do this.
  absl::Status admission() const { return grant_.status(); }

  // Counts the outcome, adds the retry hint where there is one, logs what is our fault, and gives
  // what to finish the RPC with.
  grpc::Status Conclude(const absl::Status& status);

 private:
  const RpcParts parts_;
  RpcScope scope_;
  grpc::CallbackServerContext& context_;
  CancelHandle cancel_;
  absl::StatusOr<Access::Grant> grant_;
};

// A unary RPC that one engine request answers. Deletes itself when it is over.
class UnaryCall final : public grpc::ServerUnaryReactor, public RpcCall {
 public:
  using RpcCall::RpcCall;

  // True: the caller may not do this, and has been told.
  bool Refused() {
    if (admission().ok()) return false;
    Finish(Conclude(admission()));
    return true;
  }

  // A callback for the engine: `reply` fills the response.
  template <class Result>
  Done<Result> Then(absl::AnyInvocable<void(Result)> reply) {
    return [this, reply = std::move(reply)](absl::StatusOr<Result> result) mutable {
      const absl::Status status = result.status();
      if (status.ok()) reply(*std::move(result));
      Finish(Conclude(status));
    };
  }

  // `id`: what Submit returned, or why it was not called.
  grpc::ServerUnaryReactor* Submitted(const absl::StatusOr<RequestId>& id) {
    if (id.ok()) {
      cancel().SetId(*id);
    } else {
      Finish(Conclude(id.status()));
    }
    return this;
  }

  // For an answer that is there already.
  grpc::ServerUnaryReactor* Answered(const absl::Status& status) {
    Finish(Conclude(status));
    return this;
  }

 private:
  void OnCancel() override { cancel().Cancel(); }
  void OnDone() override { delete this; }
  // gRPC's for its own reactors, "with trivial reactions", as these are: else every answer, and
  // every refusal, wakes one more thread.
  bool InternalInlineable() override { return true; }
};

// An RPC that streams a request's events out. Deletes itself when it is over.
template <class Message>
class StreamCall final : public grpc::ServerWriteReactor<Message>,
                         public RpcCall,
                         public MessagePort<Message> {
 public:
  StreamCall(const RpcParts& parts, Rpc rpc, grpc::CallbackServerContext* context,
             bool (*coalesce)(Message& last, const Message& next))
      : RpcCall(parts, rpc, context),
        writer_(std::make_shared<StreamWriter<Message>>(
            *this, parts.writers,
            typename StreamWriter<Message>::Options{
                .pending_bytes_max = parts.options.stream_pending_bytes_max,
                .coalesce = coalesce,
                .give_up = [this] { cancel().Cancel(); }})) {}

  // As UnaryCall's.
  bool Refused() {
    if (admission().ok()) return false;
    End(admission());
    return true;
  }

  const std::shared_ptr<StreamWriter<Message>>& writer() const { return writer_; }

  // `id`: what Submit returned, or why it was not called.
  grpc::ServerWriteReactor<Message>* Submitted(const absl::StatusOr<RequestId>& id) {
    if (id.ok()) {
      cancel().SetId(*id);
    } else {
      End(id.status());
    }
    return this;
  }

 private:
  void Write(const Message& message) override { this->StartWrite(&message); }
  void WriteLast(const Message& message) override {
    this->StartWriteAndFinish(&message, grpc::WriteOptions(), Conclude(absl::OkStatus()));
  }
  void End(const absl::Status& status) override { this->Finish(Conclude(status)); }

  void OnWriteDone(bool ok) override { writer_->OnWriteDone(ok); }
  void OnCancel() override { cancel().Cancel(); }
  void OnDone() override { delete this; }

  const std::shared_ptr<StreamWriter<Message>> writer_;
};

}  // namespace baton
