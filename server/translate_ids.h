#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/base/point_id.h"
#include "google/protobuf/repeated_field.h"

// Ids of points as messages have them: numbers and, apart from those, UUIDs as text.
namespace baton {

// `uuid`, which `field` names, if it is there, else `id`. INVALID_ARGUMENT where both are, or where
// it is no UUID.
absl::StatusOr<PointId> ToPointId(uint64_t id, const std::string& uuid, const std::string& field);

// The numbers, then the UUIDs, each in their order.
absl::StatusOr<std::vector<PointId>> ToPointIds(
    const google::protobuf::RepeatedField<uint64_t>& ids,
    const google::protobuf::RepeatedPtrField<std::string>& uuids);

// Sets `id` or `uuid` of a message.
template <class Message>
void SetId(PointId id, Message& proto) {
  if (IsUuid(id)) {
    proto.set_uuid(IdText(id));
  } else {
    proto.set_id(LowerHalf(id));
  }
}

}  // namespace baton
