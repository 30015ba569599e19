#include "engine/vector/partition.h"

#include <algorithm>
#include <memory>
#include <utility>
#include <variant>

#include "engine/base/status_macros.h"
#include "engine/base/strings.h"
#include "engine/vector/vector_checks.h"

namespace baton {
namespace {

absl::Status CheckPartitionName(const std::string& field, const std::string& name) {
  if (!name.empty() && std::ssize(name) <= kPartitionBytesMax) return absl::OkStatus();
  return absl::InvalidArgumentError(
      StrCat(field, " has ", name.size(), " bytes, allowed is 1 to ", kPartitionBytesMax));
}

}  // namespace

absl::StatusOr<FilterPtr> FilterOf(const CollectionSpec& spec, const PartitionChoice& partition,
                                   FilterPtr filter) {
  const std::string& key = spec.partition_key;
  if (key.empty()) {
    if (partition.name.empty() && !partition.all) return filter;
    return absl::InvalidArgumentError(StrCat(partition.all ? "all_partitions" : "partition",
                                             " is set, but ", Described(spec),
                                             " has no partition key"));
  }
  if (partition.all && !partition.name.empty()) {
    return absl::InvalidArgumentError(
        "there are both partition and all_partitions, allowed is one of them");
  }
  if (partition.all) return filter;
  if (partition.name.empty()) {
    return absl::InvalidArgumentError(StrCat("partition is missing: the partition key of ",
                                             Described(spec), " is \"", Escaped(key),
                                             "\"; all_partitions looks at the points of all"));
  }
  RETURN_IF_ERROR(CheckPartitionName("partition", partition.name));
  // The last condition: those of the client stay where it knows them.
  Filter of_partition;
  if (filter != nullptr) of_partition = *filter;
  of_partition.Add(Filter::kRoot, Filter::Clause::kMust,
                   {.field = key, .test = Match{.any = {partition.name}}});
  return std::make_shared<const Filter>(std::move(of_partition));
}

absl::Status CheckPartition(const CollectionSpec& spec, const std::string& field,
                            const Payload& payload) {
  if (spec.partition_key.empty()) return absl::OkStatus();
  const auto found = payload.find(spec.partition_key);
  const std::string of_key = StrCat(field, "[\"", Escaped(spec.partition_key), "\"]");
  const auto* const name =
      found == payload.end() ? nullptr : std::get_if<std::string>(&found->second);
  if (name == nullptr) {
    return absl::InvalidArgumentError(StrCat(of_key, found == payload.end() ? " is missing" : "",
                                             " must be one text: it is the partition key of ",
                                             Described(spec)));
  }
  return CheckPartitionName(of_key, *name);
}

absl::Status CheckPartition(const CollectionSpec& spec, const PayloadPatch& patch) {
  const std::string& key = spec.partition_key;
  if (key.empty()) return absl::OkStatus();
  const bool deletes = std::count(patch.delete_keys.begin(), patch.delete_keys.end(), key) > 0;
  if (!patch.clear && !deletes && !patch.set.contains(key)) return absl::OkStatus();
  return absl::InvalidArgumentError(StrCat(patch.clear ? "clear"
                                           : deletes   ? "delete_keys"
                                                       : "set",
                                           " would change \"", Escaped(key),
                                           "\", the partition key of ", Described(spec),
                                           ": upsert the point instead"));
}

}  // namespace baton
