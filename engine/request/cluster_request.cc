#include "engine/request/cluster_request.h"

#include <cmath>

#include "engine/base/status_macros.h"
#include "engine/base/strings.h"

namespace baton {
namespace {

constexpr int64_t kClustersMax = 65'536;
constexpr int64_t kIterationsMax = 1'000;
constexpr int64_t kVectorsMax = 100'000;
constexpr int64_t kDimensionMax = 65'536;
// Values of all centroids: 16 MiB.
constexpr int64_t kCentroidValuesMax = 4 << 20;
// Points that an answer may say the cluster of.
constexpr int64_t kAssignedMax = 1'000'000;
// As of points: keeps every distance finite.
constexpr float kValueMax = 1e15f;

absl::Status CheckRange(const char* field, int64_t value, int64_t max) {
  if (value >= 1 && value <= max) return absl::OkStatus();
  return absl::InvalidArgumentError(StrCat(field, " must be 1 to ", max, ", but is ", value));
}

absl::Status CheckVectors(const std::vector<std::vector<float>>& vectors) {
  if (std::ssize(vectors) > kVectorsMax) {
    return absl::InvalidArgumentError(
        StrCat("vectors must be 1 to ", kVectorsMax, ", but are ", vectors.size()));
  }
  for (size_t i = 0; i < vectors.size(); ++i) {
    const std::vector<float>& vector = vectors[i];
    if (vector.empty() || std::ssize(vector) > kDimensionMax ||
        vector.size() != vectors.front().size()) {
      return absl::InvalidArgumentError(StrCat("vectors[", i, "] has ", vector.size(),
                                               " values, must have 1 to ", kDimensionMax,
                                               ", and as many as vectors[0]"));
    }
    for (size_t j = 0; j < vector.size(); ++j) {
      if (std::abs(vector[j]) <= kValueMax) continue;  // false where it is no number
      return absl::InvalidArgumentError(StrCat("vectors[", i, "][", j, "] is ", vector[j],
                                               ", values must be finite and at most ", kValueMax,
                                               " in magnitude"));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status ValidateCluster(const ClusterRequest& request) {
  if (request.collection.empty() == request.vectors.empty()) {
    return absl::InvalidArgumentError("exactly one of collection and vectors must be given");
  }
  RETURN_IF_ERROR(CheckRange("k", request.params.k, kClustersMax));
  RETURN_IF_ERROR(CheckRange("iterations", request.params.iterations, kIterationsMax));
  if (request.params.seed < 0) {
    return absl::InvalidArgumentError(
        StrCat("seed must not be negative, but is ", request.params.seed));
  }
  return CheckVectors(request.vectors);
}

absl::Status ValidateClusterInput(const ClusterParams& params, const ClusterInput& input) {
  if (input.points < params.k) {
    return absl::InvalidArgumentError(
        StrCat("k is ", params.k, ", but there are only ", input.points, " points"));
  }
  if (params.k * input.dimension > kCentroidValuesMax) {
    return absl::InvalidArgumentError(StrCat("k times the dimension must be at most ",
                                             kCentroidValuesMax, ", but is ",
                                             params.k * input.dimension));
  }
  if (params.with_assignment && input.points > kAssignedMax) {
    return absl::InvalidArgumentError(StrCat("with_assignment is for at most ", kAssignedMax,
                                             " points, but there are ", input.points));
  }
  return absl::OkStatus();
}

}  // namespace baton
