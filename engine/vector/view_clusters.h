#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/request/cluster_request.h"
#include "engine/vector/centroid_math.h"
#include "engine/vector/collection_view.h"
#include "engine/vector/view_search.h"

namespace baton {

// k-means over the live points of a view, or over vectors of one dimension, all of them finite.
// Trains with a sample of at most 256 points per cluster and sample_bytes_max bytes, then looks at
// all points: sizes, the score and the assignment are of all. The same points, parameters and
// processor, or device, give the same clusters. `params` is valid and has a metric.
//
// INVALID_ARGUMENT: fewer points than clusters. RESOURCE_EXHAUSTED: the sample may not even hold
// one point for each cluster. Otherwise what `poll` says, which is asked many times a second. Runs
// on the caller's thread; thread safe. The result has no timings.
absl::StatusOr<ClusterResult> ClusterView(const CollectionView& view, const ClusterParams& params,
                                          int64_t sample_bytes_max, SearchPoll poll,
                                          const CentroidMath& math = HostCentroidMath());
absl::StatusOr<ClusterResult> ClusterVectors(std::span<const std::vector<float>> vectors,
                                             const ClusterParams& params, int64_t sample_bytes_max,
                                             SearchPoll poll,
                                             const CentroidMath& math = HostCentroidMath());

}  // namespace baton
