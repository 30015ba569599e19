#include "loadtest/grpc_transport.h"

#include <grpcpp/generic/generic_stub.h>
#include <pthread.h>
#include <time.h>

#include <charconv>
#include <chrono>
#include <mutex>
#include <thread>
#include <unordered_map>
#include <utility>
#include <vector>

#include "engine/base/strings.h"

namespace baton::load {
namespace {

using std::chrono::milliseconds;
using std::chrono::nanoseconds;

std::string CodeName(grpc::StatusCode code) {
  static constexpr const char* kNames[] = {"OK",
                                           "CANCELLED",
                                           "UNKNOWN",
                                           "INVALID_ARGUMENT",
                                           "DEADLINE_EXCEEDED",
                                           "NOT_FOUND",
                                           "ALREADY_EXISTS",
                                           "PERMISSION_DENIED",
                                           "RESOURCE_EXHAUSTED",
                                           "FAILED_PRECONDITION",
                                           "ABORTED",
                                           "OUT_OF_RANGE",
                                           "UNIMPLEMENTED",
                                           "INTERNAL",
                                           "UNAVAILABLE",
                                           "DATA_LOSS",
                                           "UNAUTHENTICATED"};
  const auto index = static_cast<size_t>(code);
  return index < std::size(kNames) ? kNames[index] : StrCat("CODE_", index);
}

// The body's bytes, alive for as long as gRPC holds them: that may be after the call has ended.
grpc::ByteBuffer BufferOf(const Body& body) {
  const grpc::Slice slice(
      const_cast<char*>(body->data()), body->size(),
      [](void* owner) { delete static_cast<Body*>(owner); }, new Body(body));
  return grpc::ByteBuffer(&slice, 1);
}

class GrpcTransport;

// A call under way: owns itself and goes when its status has come. Begun by the sender, then the
// receiver's, but for Cancel.
class PendingCall {
 public:
  PendingCall(GrpcTransport& transport, std::shared_ptr<const Transport::Sinks> sinks, Call call)
      : transport_(transport), sinks_(std::move(sinks)), call_(std::move(call)) {}

  void Begin(grpc::GenericStub& stub, grpc::CompletionQueue& queue);
  void Cancel() {
    call_.record.given_up = true;
    context_.TryCancel();
  }

  struct Tag {
    enum Op { kWrite, kRead, kFinish };
    PendingCall* call;
    Op op;
  };
  void On(Tag::Op op, bool ok);

 private:
  void Observe();
  void FinishIfDone();

  GrpcTransport& transport_;
  const std::shared_ptr<const Transport::Sinks> sinks_;
  Call call_;
  grpc::ClientContext context_;
  std::unique_ptr<grpc::GenericClientAsyncReaderWriter> stream_;
  std::unique_ptr<grpc::GenericClientAsyncResponseReader> unary_;
  grpc::ByteBuffer request_;
  grpc::ByteBuffer response_;
  grpc::Status status_;
  bool finished_ = false;  // the end that the API promises has come
  bool garbled_ = false;
  int outstanding_ = 0;  // tags on the queue
  Tag write_{this, Tag::kWrite};
  Tag read_{this, Tag::kRead};
  Tag finish_{this, Tag::kFinish};
};

class GrpcTransport final : public Transport {
 public:
  GrpcTransport(const Scenario& scenario, std::unique_ptr<GrpcCodec> codec,
                ClientCredentials credentials)
      : target_(scenario.target),
        channel_count_(scenario.channels),
        connect_ms_(scenario.connect_ms),
        codec_(std::move(codec)),
        token_(std::move(credentials.token)),
        credentials_(credentials.tls ? grpc::SslCredentials(
                                           {.pem_root_certs = std::move(credentials.ca),
                                            .pem_private_key = std::move(credentials.key),
                                            .pem_cert_chain = std::move(credentials.certificate)})
                                     : grpc::InsecureChannelCredentials()),
        receiver_([this] { Receive(); }) {}

  ~GrpcTransport() override {
    queue_.Shutdown();
    receiver_.join();
  }

  absl::Status Connect() override {
    grpc::ChannelArguments arguments;
    arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);  // a proxy would be measured along
    // Channels to one address share a connection otherwise.
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    arguments.SetMaxReceiveMessageSize(-1);
    const auto until = std::chrono::system_clock::now() + milliseconds(connect_ms_);
    for (int32_t i = 0; i < channel_count_; ++i) {
      auto channel = grpc::CreateCustomChannel(target_, credentials_, arguments);
      if (!channel->WaitForConnected(until)) {
        // Why, a channel tells those who use it alone.
        grpc::ClientContext context;
        context.set_deadline(std::chrono::system_clock::now() + milliseconds(connect_ms_));
        return absl::UnavailableError(
            StrCat("nothing answers at ", target_, " within ", connect_ms_, " ms: ",
                   codec_->Dimension(channel, context, {.collection = "none"}).status().message()));
      }
      channels_.push_back(channel);
      stubs_.push_back(std::make_unique<grpc::GenericStub>(channel));
    }
    return absl::OkStatus();
  }

  absl::StatusOr<int32_t> Dimension(const RequestMix& mix) override {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + milliseconds(mix.deadline_ms));
    Authorize(context);
    return codec_->Dimension(channels_.front(), context, mix);
  }

  absl::StatusOr<Body> Encode(const RequestMix& mix, const Input& input, uint64_t sequence,
                              bool exact) override {
    return codec_->Encode(mix, input, sequence, exact);
  }

  void SetSinks(std::shared_ptr<const Sinks> sinks) override { sinks_ = std::move(sinks); }

  void Start(Call call) override {
    const uint64_t id = call.record.id;
    const bool cancellable = call.cancellable;
    auto* pending = new PendingCall(*this, sinks_, std::move(call));
    if (cancellable) {
      std::lock_guard lock(mutex_);
      cancellable_.emplace(id, pending);
    }
    pending->Begin(*stubs_[next_stub_], queue_);
    next_stub_ = (next_stub_ + 1) % stubs_.size();
  }

  void Cancel(uint64_t id) override {
    std::lock_guard lock(mutex_);
    const auto found = cancellable_.find(id);
    if (found != cancellable_.end()) found->second->Cancel();
  }

  int64_t BusiestThreadCpuNs() const override {
    clockid_t clock{};
    timespec time{};
    auto& thread = const_cast<std::thread&>(receiver_);
    if (pthread_getcpuclockid(thread.native_handle(), &clock) != 0) return 0;
    clock_gettime(clock, &time);
    return time.tv_sec * 1'000'000'000 + time.tv_nsec;
  }

  const GrpcCodec& codec() const { return *codec_; }
  const std::shared_ptr<const Sinks>& sinks() const { return sinks_; }
  void Authorize(grpc::ClientContext& context) const {
    if (!token_.empty()) context.AddMetadata(codec_->TokenKey(), codec_->TokenValue(token_));
  }
  // From here on no Cancel finds it.
  void Forget(uint64_t id) {
    std::lock_guard lock(mutex_);
    cancellable_.erase(id);
  }

 private:
  void Receive() {
    void* tag = nullptr;
    bool ok = false;
    while (queue_.Next(&tag, &ok)) {
      const auto* of_call = static_cast<PendingCall::Tag*>(tag);
      of_call->call->On(of_call->op, ok);
    }
  }

  const std::string target_;
  const int32_t channel_count_;
  const int64_t connect_ms_;
  const std::unique_ptr<GrpcCodec> codec_;
  const std::string token_;
  const std::shared_ptr<grpc::ChannelCredentials> credentials_;
  std::shared_ptr<const Sinks> sinks_;  // the sender's
  std::vector<std::shared_ptr<grpc::Channel>> channels_;
  std::vector<std::unique_ptr<grpc::GenericStub>> stubs_;
  size_t next_stub_ = 0;
  std::mutex mutex_;
  std::unordered_map<uint64_t, PendingCall*> cancellable_;  // guarded by mutex_
  grpc::CompletionQueue queue_;
  std::thread receiver_;
};

void PendingCall::Begin(grpc::GenericStub& stub, grpc::CompletionQueue& queue) {
  const Kind kind = call_.mix->kind;
  request_ = BufferOf(call_.body);
  call_.record.sent_ns = sinks_->now_ns();
  context_.set_deadline(std::chrono::system_clock::now() +
                        nanoseconds(call_.deadline_ns - call_.record.sent_ns));
  transport_.Authorize(context_);
  const std::string method = transport_.codec().Method(kind);
  // The receiver may end and delete this as soon as the last tag is on the queue.
  if (!transport_.codec().IsStream(kind)) {
    outstanding_ = 1;
    unary_ = stub.PrepareUnaryCall(&context_, method, request_, &queue);
    unary_->StartCall();
    unary_->Finish(&response_, &status_, &finish_);
    return;
  }
  outstanding_ = 2;
  // One batch of what there is to send: metadata, message, end.
  context_.set_initial_metadata_corked(true);
  stream_ = stub.PrepareCall(&context_, method, &queue);
  stream_->StartCall(nullptr);
  stream_->WriteLast(request_, grpc::WriteOptions(), &write_);
  stream_->Read(&response_, &read_);
}

void PendingCall::Observe() {
  if (!response_.Valid()) return;
  const auto seen = transport_.codec().Observe(call_.mix->kind, response_, sinks_->now_ns(),
                                               call_.keep_found, call_.record);
  finished_ |= seen == GrpcCodec::Seen::kFinished;
  garbled_ |= seen == GrpcCodec::Seen::kGarbled;
  response_.Clear();
}

void PendingCall::On(Tag::Op op, bool ok) {
  --outstanding_;
  switch (op) {
    case Tag::kWrite:
      break;
    case Tag::kRead:
      ++outstanding_;
      if (ok) {
        Observe();
        stream_->Read(&response_, &read_);
      } else {
        stream_->Finish(&status_, &finish_);
      }
      break;
    case Tag::kFinish:
      if (!stream_ && status_.ok()) Observe();
      break;
  }
  if (outstanding_ == 0) FinishIfDone();
}

void PendingCall::FinishIfDone() {
  if (call_.cancellable) transport_.Forget(call_.record.id);
  RequestRecord record = std::move(call_.record);
  record.done_ns = sinks_->now_ns();
  record.code = CodeName(status_.error_code());
  record.message = status_.error_message();
  if (status_.ok() && garbled_) record.code = "GARBLED_ANSWER";
  if (status_.ok() && !garbled_ && !finished_) record.code = "INCOMPLETE_STREAM";
  // What ended by itself before the cancellation reached it was not given up.
  record.given_up = record.given_up && status_.error_code() == grpc::StatusCode::CANCELLED;
  const auto& trailers = context_.GetServerTrailingMetadata();
  if (const auto hint = trailers.find("baton-retry-after-ms"); hint != trailers.end()) {
    std::from_chars(hint->second.data(), hint->second.data() + hint->second.size(),
                    record.retry_after_ms);
  }
  const auto sinks = sinks_;
  delete this;  // before it is counted: its context shares the channel
  sinks->done(std::move(record));
}

}  // namespace

std::unique_ptr<Transport> MakeGrpcTransport(const Scenario& scenario,
                                             std::unique_ptr<GrpcCodec> codec,
                                             ClientCredentials credentials) {
  return std::make_unique<GrpcTransport>(scenario, std::move(codec), std::move(credentials));
}

}  // namespace baton::load
