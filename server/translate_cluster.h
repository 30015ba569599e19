#pragma once

#include "absl/status/statusor.h"
#include "baton/v1/vector.pb.h"
#include "engine/request/cluster_request.h"

// VectorService.Cluster's messages and the engine's, which checks the rest of the request.
namespace baton {

absl::StatusOr<ClusterRequest> ToCluster(const v1::ClusterRequest& proto, Envelope envelope);
void ToProto(ClusterResult result, v1::ClusterResponse& proto);

}  // namespace baton
