#include "server/translate_ids.h"

#include <optional>

#include "engine/base/status_macros.h"
#include "engine/base/strings.h"

namespace baton {

absl::StatusOr<PointId> ToPointId(uint64_t id, const std::string& uuid, const std::string& field) {
  if (uuid.empty()) return PointId(id);
  if (id != 0) {
    return absl::InvalidArgumentError(
        StrCat("there are both an id, ", id, ", and ", field, ": allowed is one of them"));
  }
  const std::optional<PointId> read = ParseUuid(uuid);
  if (read.has_value()) return *read;
  return absl::InvalidArgumentError(
      StrCat(field,
             " must be a UUID like f81d4fae-7dec-11d0-a765-00a0c91e6bf6, with a first half "
             "that is not zero, but is \"",
             Escaped(uuid), "\""));
}

absl::StatusOr<std::vector<PointId>> ToPointIds(
    const google::protobuf::RepeatedField<uint64_t>& ids,
    const google::protobuf::RepeatedPtrField<std::string>& uuids) {
  std::vector<PointId> read(ids.begin(), ids.end());
  for (int i = 0; i < uuids.size(); ++i) {
    const std::string field = StrCat("uuids[", i, "]");
    if (uuids[i].empty()) return absl::InvalidArgumentError(StrCat(field, " is empty"));
    ASSIGN_OR_RETURN(const PointId id, ToPointId(0, uuids[i], field));
    read.push_back(id);
  }
  return read;
}

}  // namespace baton
