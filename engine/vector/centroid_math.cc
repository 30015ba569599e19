#include "engine/vector/centroid_math.h"

#include <algorithm>
#include <cstddef>
#include <numeric>
#include <random>
#include <utility>

#include "engine/vector/vector_checks.h"

namespace baton {
namespace {

class FaissMath final : public CentroidMath {
 public:
  absl::StatusOr<std::vector<float>> Train(const TrainingRows& rows, const KmeansParams& params,
                                           StopTraining stop) const override {
    return TrainCentroids(rows, params, stop);
  }
  absl::Status Assign(const TrainingRows& rows, const std::vector<float>& centroids, bool spherical,
                      StopTraining stop, uint32_t* nearest) const override {
    return AssignToCentroids(rows, centroids, spherical, stop, nearest);
  }
  int64_t rows_together() const override { return 1024; }
};

}  // namespace

std::vector<float> StartingCentroids(const TrainingRows& rows, const KmeansParams& params) {
  const auto width = static_cast<size_t>(rows.dimension);
  // The shuffle of Fisher and Yates, as far as it is looked at.
  std::vector<int64_t> order(static_cast<size_t>(rows.rows));
  std::iota(order.begin(), order.end(), 0);
  std::mt19937_64 random(static_cast<uint64_t>(params.seed));
  std::vector<float> centroids;
  centroids.reserve(static_cast<size_t>(std::max(params.k, 0)) * width);
  for (size_t i = 0; std::ssize(centroids) < int64_t{params.k} * rows.dimension; ++i) {
    // The bias of a remainder of 2^64 is nothing here, and it is the same with every library.
    std::swap(order[i], order[i + static_cast<size_t>(random() % (order.size() - i))]);
    const float* const row = rows.vectors + order[i] * rows.dimension;
    centroids.insert(centroids.end(), row, row + width);
    float* const centroid = centroids.data() + i * width;
    const bool any = std::any_of(row, row + width, [](float value) { return value != 0; });
    if (params.spherical && any) Normalize(centroid, rows.dimension);
  }
  return centroids;
}

const CentroidMath& HostCentroidMath() {
  static const FaissMath math;
  return math;
}

}  // namespace baton
