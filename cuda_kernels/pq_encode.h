#pragma once

#include <cuda_runtime.h>

#include <cstdint>

namespace baton::cuda {

// Product codes of rows, and their terms, as engine/vector's inverted files have them: the same
// bytes and bits as on the host. What is left of a row when its list's centroid is taken off is cut
// into parts; a part's code is the nearest of its 16 centroids, the first of several.
struct PqEncodeArgs {
  const float* vectors;      // [rows, dimension], row-major
  const float* centroids;    // [lists, dimension], row-major
  const uint32_t* list_of;   // [rows]
  const uint32_t* place_of;  // [rows], each place once
  const float* book;         // [sub_quantizers, part, 16] (engine/vector/pq_code.h)
  const float* origin;       // [dimension]; null where terms are
  uint8_t* codes;            // [places / 32, sub_quantizers / 4, 64]; other rows' bytes stay
  float* terms;              // [places], or null: |r|^2 + 2 (centroid - origin) r of the code's r
  int64_t rows;
  int64_t dimension;       // at most sub_quantizers * part
  int32_t part;            // values
  int32_t sub_quantizers;  // a multiple of 4
};
cudaError_t PqEncode(const PqEncodeArgs& args, cudaStream_t stream);

}  // namespace baton::cuda
