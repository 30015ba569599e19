#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "engine/base/ids.h"
#include "engine/request/hints.h"
#include "engine/request/route.h"
#include "engine/request/vector_request.h"

namespace baton {

struct ClusterParams {
  int32_t k = 0;  // 1 to 65,536
  int32_t iterations = 20;
  int32_t seed = 1;
  // kL2: the nearest centroid. kCosine: the most similar one, of unit length, of vectors scaled to
  // unit length. kDot: the same of vectors as they are. Absent: the collection's; kL2 of vectors
  // that were sent.
  std::optional<Metric> metric = {};
  bool with_assignment = false;
};

struct ClusterRequest {
  Envelope envelope;
  std::string collection;                   // or:
  std::vector<std::vector<float>> vectors;  // [vectors][dimension]
  ClusterParams params;
  bool all_partitions = false;   // must be said where the collection has a partition key
  std::string vector_name = {};  // of the collection's points; empty: the unnamed one
};

// One of the k clusters.
struct Cluster {
  std::vector<float> centroid;  // [dimension]
  int64_t points = 0;
};

struct ClusterResult {
  std::vector<Cluster> clusters;  // [k]
  int64_t points = 0;
  // Over all points, of the score by the metric with their centroid.
  double mean_score = 0;
  // Where wanted: which cluster each point belongs to. Ids of vectors that were sent are their
  // indices.
  std::vector<PointId> ids;
  std::vector<int32_t> cluster_of;  // [ids]
  Timings timings;
};

// INVALID_ARGUMENT naming the field, the limit and the value.
absl::Status ValidateCluster(const ClusterRequest& request);
// The same once it is known what is clustered: the answer must not be too large.
struct ClusterInput {
  int64_t points = 0;
  int64_t dimension = 0;
};
absl::Status ValidateClusterInput(const ClusterParams& params, const ClusterInput& input);

}  // namespace baton
