#pragma once

#include <cuda_runtime.h>

#include <cstdint>

namespace baton::cuda {

// Lloyd's algorithm, a step at a time: assign each row, then move the centroids to their rows. Both
// give the same bits on every run.

// nearest[row] = the centroid at the smallest squared Euclidean distance, or (spherical) with the
// largest inner product; the lowest of several. Differences are f32, not of squares: no
// cancellation.
struct KmeansAssignArgs {
  const float* vectors;    // [rows, dimension], row-major
  const float* centroids;  // [centroid_count, dimension], row-major
  uint32_t* nearest;       // [rows]
  float* distances;        // [rows]: that distance, or negated inner product; or null
  int64_t rows;
  int64_t dimension;
  int64_t centroid_count;  // 1 to 2^32 - 2
  bool spherical;
};
cudaError_t KmeansAssign(const KmeansAssignArgs& args, cudaStream_t stream);

// Each centroid becomes the mean of its rows, of unit length if spherical. Sums are of whole
// numbers, so that the order of atomics does not matter. A centroid without rows gets half of the
// one that has most: both are moved apart by 2^-10, as FAISS does it, and counts are halved.
struct KmeansUpdateArgs {
  const float* vectors;     // [rows, dimension], row-major
  const uint32_t* nearest;  // [rows]
  float* centroids;         // [centroid_count, dimension], read and written
  int64_t* counts;          // [centroid_count], written: rows of each, after splitting
  int64_t* sums;            // [centroid_count, dimension]: workspace
  double unit;              // KmeansUnit
  int64_t rows;
  int64_t dimension;
  int64_t centroid_count;  // 1 to 2^31 - 1
  bool spherical;
};
// What a value of 1 is in sums, of `rows` values of at most `largest` in magnitude: a power of two
// with which no sum overflows.
double KmeansUnit(int64_t rows, float largest);
cudaError_t KmeansUpdate(const KmeansUpdateArgs& args, cudaStream_t stream);

}  // namespace baton::cuda
