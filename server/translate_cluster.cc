#include "server/translate_cluster.h"

#include <algorithm>
#include <utility>

#include "engine/base/strings.h"
#include "server/translate.h"
#include "server/translate_ids.h"

namespace baton {

absl::StatusOr<ClusterRequest> ToCluster(const v1::ClusterRequest& proto, Envelope envelope) {
  ClusterRequest request{.envelope = std::move(envelope), .collection = proto.collection()};
  request.params.k = proto.k();
  request.vector_name = proto.vector_name();
  request.all_partitions = proto.all_partitions();
  if (proto.has_iterations()) request.params.iterations = proto.iterations();
  if (proto.has_seed()) request.params.seed = proto.seed();
  if (proto.metric() != v1::METRIC_UNSPECIFIED) {
    if (!v1::Metric_IsValid(proto.metric())) {
      return absl::InvalidArgumentError(StrCat("metric must be 1 to 3 (cosine, dot, l2), but is ",
                                               static_cast<int>(proto.metric())));
    }
    request.params.metric = static_cast<Metric>(proto.metric() - 1);
  }
  request.params.with_assignment = proto.with_assignment();
  request.vectors.reserve(static_cast<size_t>(proto.vectors_size()));
  for (const v1::ClusterVector& vector : proto.vectors()) {
    request.vectors.emplace_back(vector.values().begin(), vector.values().end());
  }
  return request;
}

void ToProto(ClusterResult result, v1::ClusterResponse& proto) {
  for (const Cluster& cluster : result.clusters) {
    v1::Cluster& added = *proto.add_clusters();
    added.mutable_centroid()->Add(cluster.centroid.begin(), cluster.centroid.end());
    added.set_points(cluster.points);
  }
  proto.set_points(result.points);
  proto.set_mean_score(result.mean_score);
  const bool uuids = std::any_of(result.ids.begin(), result.ids.end(), IsUuid);
  for (const PointId id : result.ids) {
    proto.add_ids(IsUuid(id) ? 0 : LowerHalf(id));
    if (uuids) proto.add_uuids(IsUuid(id) ? IdText(id) : "");
  }
  proto.mutable_cluster_of()->Add(result.cluster_of.begin(), result.cluster_of.end());
  ToProto(result.timings, *proto.mutable_timings());
}

}  // namespace baton
