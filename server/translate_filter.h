#pragma once

#include "absl/status/statusor.h"
#include "baton/v1/vector.pb.h"
#include "engine/request/filter.h"
#include "engine/request/vector_request.h"

// Filters and payload indexes, as messages and as the engine's. Nothing recurses: protobuf has read
// the message with its own bound on nesting, the engine has a narrower one.
namespace baton {

// INVALID_ARGUMENT names the condition that says nothing or has a text that is no time. Limits are
// the engine's to check.
absl::StatusOr<FilterPtr> ToFilter(const v1::Filter& proto);

absl::StatusOr<PayloadIndexKind> ToKind(v1::PayloadIndexKind kind);
v1::PayloadIndexKind ToProto(PayloadIndexKind kind);
void ToProto(const FilterValue& value, v1::MatchValue& proto);

// Whose points a message means.
template <class Message>
PartitionChoice ToPartition(const Message& proto) {
  return {.name = proto.partition(), .all = proto.all_partitions()};
}

}  // namespace baton
