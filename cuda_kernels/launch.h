#pragma once

// The only way to start a kernel, and what all launchers need.

#include <cuda_runtime.h>

#include <cstdint>

namespace baton::cuda {

inline constexpr int kWarpThreads = 32;
inline constexpr int64_t kGridYMax = 65535;        // of grid.y and grid.z
inline constexpr int kSharedBytesMax = 227 << 10;  // of a block; compute capability 9.0

// Where a launch goes.
struct LaunchStream {
  LaunchStream(cudaStream_t to) : stream(to) {}
  cudaStream_t stream;
  // The kernel may begin before the kernels in front of it on the stream have ended (programmatic
  // dependent launch, compute capability 9.0). Of launchers that take a LaunchStream: their kernels
  // begin with AwaitEarlierKernels (arch/grid_order.h). In front there is a kernel, not a copy.
  bool early = false;
};

struct LaunchShape {
  dim3 grid;
  dim3 block;
  size_t shared_bytes = 0;
};

__host__ __device__ constexpr int64_t CeilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }

// For SharedBytes of launchers: pieces follow one another, each aligned to 16 bytes.
constexpr size_t SharedPiece(size_t bytes) { return (bytes + 15) & ~size_t{15}; }

// cudaErrorInvalidValue where shared_bytes are more than a block can have.
template <typename... Parameters, typename... Arguments>
cudaError_t Launch(void (*kernel)(Parameters...), const LaunchShape& shape,
                   const LaunchStream& stream, Arguments... arguments) {
  constexpr size_t kUnasked = 48 << 10;
  if (shape.shared_bytes > kUnasked) {
    const cudaError_t allowed = cudaFuncSetAttribute(
        kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(shape.shared_bytes));
    if (allowed != cudaSuccess) return allowed;
  }
  cudaLaunchConfig_t config = {};
  config.gridDim = shape.grid;
  config.blockDim = shape.block;
  config.dynamicSmemBytes = shape.shared_bytes;
  config.stream = stream.stream;
  cudaLaunchAttribute early = {};
  if (stream.early) {
    early.id = cudaLaunchAttributeProgrammaticStreamSerialization;
    early.val.programmaticStreamSerializationAllowed = 1;
    config.attrs = &early;
    config.numAttrs = 1;
  }
  return cudaLaunchKernelEx(&config, kernel, arguments...);
}

}  // namespace baton::cuda
