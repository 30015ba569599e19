#pragma once

#include <cstdint>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace baton {

// What FAISS is used for: k-means, and the code books of product quantisation. The only file that
// includes it; its exceptions end there. Everything runs on the caller's thread alone, and with the
// same library on the same processor gives the same bits for the same seed. `stop` is asked many
// times a second: CANCELLED once it says so. RESOURCE_EXHAUSTED: out of memory.
//
// Its distances come from BLAS, whose rounding depends on the processor: good for choosing, not for
// scores.
using StopTraining = absl::FunctionRef<bool()>;

struct TrainingRows {
  const float* vectors = nullptr;  // [rows, dimension], row-major, finite
  int64_t rows = 0;
  int32_t dimension = 0;
};

struct KmeansParams {
  int32_t k = 0;  // 1 to the number of rows
  int32_t iterations = 10;
  int32_t seed = 1;
  // Centroids have unit length, and a row belongs to the one with the largest inner product rather
  // than to the one at the smallest distance.
  bool spherical = false;
};

// More rows than this for each centroid do not improve it; of those a random sample is taken.
inline constexpr int32_t kTrainingRowsPerCentroid = 256;

// Lloyd's algorithm from k random rows. A centroid that loses all its rows gets half of another's.
// Returns [k, dimension], row-major.
absl::StatusOr<std::vector<float>> TrainCentroids(const TrainingRows& rows,
                                                  const KmeansParams& params, StopTraining stop);

// nearest[row] = the centroid the row belongs to.
//   centroids: [k, rows.dimension], row-major, at least one; nearest: [rows.rows]
absl::Status AssignToCentroids(const TrainingRows& rows, const std::vector<float>& centroids,
                               bool spherical, StopTraining stop, uint32_t* nearest);

// Code books of a product quantiser with codes of so many bits: the dimension is split evenly among
// `sub_quantizers`, and each part has 2^bits centroids of its own.
// Returns [sub_quantizers, 2^bits, dimension / sub_quantizers]. At least 2^bits rows.
absl::StatusOr<std::vector<float>> TrainProductBooks(const TrainingRows& rows,
                                                     int32_t sub_quantizers, int32_t bits,
                                                     StopTraining stop);

}  // namespace baton
