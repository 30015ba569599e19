#pragma once

#include <grpcpp/grpcpp.h>

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "loadtest/transport.h"

namespace baton::load {

// How requests and answers look in the messages of one gRPC API. Thread safe.
class GrpcCodec {
 public:
  // What a message was to its call.
  enum class Seen {
    kMore,      // part of an answer
    kFinished,  // its end; of a unary call, all of it
    kGarbled,   // not a message of the API
  };

  virtual ~GrpcCodec() = default;

  virtual const char* Method(Kind kind) const = 0;  // "/package.Service/Method"
  virtual bool IsStream(Kind kind) const = 0;       // of answers
  virtual const char* TokenKey() const = 0;         // metadata that a bearer token goes under
  virtual std::string TokenValue(const std::string& token) const = 0;
  virtual absl::StatusOr<Body> Encode(const RequestMix& mix, const Input& input, uint64_t sequence,
                                      bool exact) const = 0;
  // Enters what a message tells into `record`; ids of points only where `keep_found`.
  virtual Seen Observe(Kind kind, grpc::ByteBuffer& message, int64_t now_ns, bool keep_found,
                       RequestRecord& record) const = 0;
  virtual absl::StatusOr<int32_t> Dimension(const std::shared_ptr<grpc::Channel>& channel,
                                            grpc::ClientContext& context,
                                            const RequestMix& mix) const = 0;
};

std::unique_ptr<GrpcCodec> MakeBatonCodec();
std::unique_ptr<GrpcCodec> MakeQdrantCodec();

// One thread takes all answers off one completion queue; bodies go out as they were encoded,
// without a copy.
std::unique_ptr<Transport> MakeGrpcTransport(const Scenario& scenario,
                                             std::unique_ptr<GrpcCodec> codec,
                                             ClientCredentials credentials);

}  // namespace baton::load
