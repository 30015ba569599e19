#pragma once

// What launchers of kernels for compute capability 9.0 alone need of the host.

#include <cuda.h>
#include <cuda_runtime.h>

#include <cstdint>

namespace baton::cuda {

// Whether the current device runs code for sm_90a: no other capability does.
bool IsSm90();

// A row-major matrix of bf16, of which the copy engine brings boxes of 64 columns and box_rows
// rows, as SwizzledMatrix (arch/sm90a.h) reads them.
struct TileMapShape {
  const void* matrix;  // [rows, cols], aligned to 16 bytes
  int64_t rows;
  int64_t cols;  // a multiple of 8
  int box_rows;  // 1 to 256
};
cudaError_t MakeTileMap(const TileMapShape& shape, CUtensorMap* map);

}  // namespace baton::cuda
