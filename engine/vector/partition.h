#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/request/vector_request.h"

namespace baton {

// A collection may keep the points of many tenants: its partition key is a payload field whose
// text says whose a point is. It has a keyword index, so that a tenant's rows are known without a
// look at the others', and a request says whose points it means.

// Bytes of a partition's name.
inline constexpr int64_t kPartitionBytesMax = 128;

// `filter`, which may be null, as far as the points of the partition go. INVALID_ARGUMENT where the
// collection has a partition key and no partition is chosen, or it has none and one is.
absl::StatusOr<FilterPtr> FilterOf(const CollectionSpec& spec, const PartitionChoice& partition,
                                   FilterPtr filter);

// INVALID_ARGUMENT where a point's payload does not say whose it is. `field`: how the client knows
// the payload.
absl::Status CheckPartition(const CollectionSpec& spec, const std::string& field,
                            const Payload& payload);
// Or where a patch would change that.
absl::Status CheckPartition(const CollectionSpec& spec, const PayloadPatch& patch);

}  // namespace baton
