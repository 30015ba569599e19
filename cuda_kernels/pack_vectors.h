#pragma once

#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <cstdint>

namespace baton::cuda {

// Vectors as searches on tensor cores take them: rounded to bf16, padded with zeros.
enum class VectorMetric : int32_t {
  kL2,            // squared Euclidean distance
  kInnerProduct,  // negated; cosine of unit vectors, too
  kCosine,        // negated, of vectors of any length; a zero vector is at 0 from all
};
struct PackVectorsArgs {
  const float* vectors;   // [rows, dimension], row-major
  __nv_bfloat16* packed;  // [rows, PackedColumns(dimension)], row-major
  float* terms;           // [rows]: what DistanceTopK needs of each: |v|^2 under kL2, 1 / |v| under
                          // kCosine, of the rounded values; may be null under kInnerProduct
  int64_t rows;
  int64_t dimension;
  VectorMetric metric;
};
__host__ __device__ constexpr int64_t PackedColumns(int64_t dimension) {
  return (dimension + 7) / 8 * 8;
}

cudaError_t PackVectors(const PackVectorsArgs& args, cudaStream_t stream);

}  // namespace baton::cuda
