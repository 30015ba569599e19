#pragma once

#include <chrono>
#include <map>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "baton/v1/common.pb.h"
#include "baton/v1/vector.pb.h"
#include "engine/base/clock.h"
#include "engine/request/hints.h"
#include "engine/request/route.h"
#include "engine/request/vector_request.h"
#include "engine/request/work.h"
#include "google/protobuf/map.h"
#include "grpcpp/support/status.h"
#include "grpcpp/support/string_ref.h"

// What all services translate: statuses, the envelope of a request, routes and times. Each service
// has a file of its own beside this one. Request bounds that the engine does not check by itself
// are checked here, against the protos.
namespace baton {

using GrpcMetadata = std::multimap<grpc::string_ref, grpc::string_ref>;
using PayloadMap = google::protobuf::Map<std::string, v1::PayloadValue>;

// The one place where the engine's statuses become gRPC's.
grpc::Status ToGrpc(const absl::Status& status);
// The milliseconds in a message that ends in "retry in N ms"; -1 where there are none.
int64_t RetryAfterMs(const absl::Status& status);

// A gRPC deadline on the engine's clock.
TimeUs ToDeadlineUs(std::chrono::system_clock::time_point deadline, const Clock& clock);

// The message's options and the baton-* metadata as one. INVALID_ARGUMENT names the metadata key
// that is unknown, repeated or no value of its field, or the field that both give differently.
absl::StatusOr<Envelope> ToEnvelope(const v1::RequestOptions& options, const GrpcMetadata& metadata,
                                    TimeUs deadline_us);

v1::Platform ToProto(Platform platform);
v1::WorkClass ToProto(WorkClass work_class);
void ToProto(const Route& route, v1::Route& proto);
void ToProto(const Timings& timings, v1::Timings& proto);

// `field` names the map in messages, e.g. "points[3].payload".
absl::StatusOr<Payload> ToPayload(const PayloadMap& proto, std::string_view field);
void ToProto(Payload payload, PayloadMap& proto);

// INVALID_ARGUMENT naming field, limit and value where `count` is not min to max.
struct CountBounds {
  int64_t min;
  int64_t max;
};
absl::Status CheckCount(std::string_view field, int64_t count, CountBounds bounds);
// The same for the length of a text in bytes.
absl::Status CheckBytes(std::string_view field, std::string_view text, CountBounds bounds);
// Whether a request names its collection.
absl::Status CheckCollection(const std::string& collection);

}  // namespace baton
