#include "cuda_kernels/tile_map_sm90a.h"

namespace baton::cuda {
namespace {

using Encode = decltype(&cuTensorMapEncodeTiled);

// The driver's, found through the run time: nothing links the driver.
cudaError_t FindEncode(Encode* encode) {
  constexpr unsigned kSince = 12000;  // CUDA 12.0
  void* found = nullptr;
  cudaDriverEntryPointQueryResult result;
  const cudaError_t status = cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &found,
                                                              kSince, cudaEnableDefault, &result);
  if (status != cudaSuccess) return status;
  if (result != cudaDriverEntryPointSuccess) return cudaErrorInsufficientDriver;
  *encode = reinterpret_cast<Encode>(found);
  return cudaSuccess;
}

}  // namespace

bool IsSm90() {
  int device = 0;
  int major = 0;
  int minor = 0;
  return cudaGetDevice(&device) == cudaSuccess &&
         cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device) == cudaSuccess &&
         cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device) == cudaSuccess &&
         major == 9 && minor == 0;
}

cudaError_t MakeTileMap(const TileMapShape& shape, CUtensorMap* map) {
  Encode encode = nullptr;
  const cudaError_t found = FindEncode(&encode);
  if (found != cudaSuccess) return found;
  constexpr cuuint32_t kBoxCols = 64;
  const cuuint64_t sizes[] = {static_cast<cuuint64_t>(shape.cols),
                              static_cast<cuuint64_t>(shape.rows)};
  const cuuint64_t row_bytes[] = {static_cast<cuuint64_t>(shape.cols) * 2};
  const cuuint32_t box[] = {kBoxCols, static_cast<cuuint32_t>(shape.box_rows)};
  const cuuint32_t steps[] = {1, 1};
  const CUresult result =
      encode(map, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, 2, const_cast<void*>(shape.matrix), sizes,
             row_bytes, box, steps, CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
             CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  return result == CUDA_SUCCESS ? cudaSuccess : cudaErrorInvalidValue;
}

}  // namespace baton::cuda
