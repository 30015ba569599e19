#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/vector/faiss_training.h"

namespace baton {

// What k-means takes most of its time for, on the processor or on a device. Thread safe; blocks.
// Errors as faiss_training's, and a device's own.
class CentroidMath {
 public:
  virtual ~CentroidMath() = default;
  // As TrainCentroids, with centroids of its own choice.
  virtual absl::StatusOr<std::vector<float>> Train(const TrainingRows& rows,
                                                   const KmeansParams& params,
                                                   StopTraining stop) const = 0;
  // As AssignToCentroids.
  virtual absl::Status Assign(const TrainingRows& rows, const std::vector<float>& centroids,
                              bool spherical, StopTraining stop, uint32_t* nearest) const = 0;
  // How many rows are best assigned together.
  virtual int64_t rows_together() const = 0;
};

// What Lloyd's algorithm may begin with: [k, dimension] of the rows, a random sample without
// repetition, of unit length where `params` say spherical.
std::vector<float> StartingCentroids(const TrainingRows& rows, const KmeansParams& params);

// On the caller's thread, by FAISS.
const CentroidMath& HostCentroidMath();

}  // namespace baton
