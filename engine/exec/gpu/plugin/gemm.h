#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>
#include <memory>

#include "engine/exec/gpu/plugin/fault.h"

namespace baton::gpu {

class Device;

enum class Element : int32_t { kF32, kBF16 };

// y = x . w^T, sums in f32. f32 in is f32 throughout: no TF32.
struct GemmArgs {
  const void* x;  // [m, k] of `in`, rows `x_stride` apart
  const void* w;  // [n, k] of `in`, row-major
  void* y;        // [m, n] of `out`, rows `y_stride` apart
  int64_t m;
  int64_t n;
  int64_t k;
  int64_t x_stride;  // elements
  int64_t y_stride;  // elements
  Element in;
  Element out;  // as `in`, or f32
};

// Products of dense matrices, by a library that is opened at run time; where the plug-in is built
// for the host runtime, by plain loops. From one thread at a time.
class Gemm {
 public:
  virtual ~Gemm() = default;
  virtual Fault Multiply(const GemmArgs& args, cudaStream_t stream) = 0;
};

// Which one depends on what is linked. UNAVAILABLE: the library is not there, and where it was
// looked for. The device outlives it.
Fault OpenGemm(Device& device, std::unique_ptr<Gemm>* gemm);
// As well: whether that, and the runtime below it, stand in for a device.
bool Emulated();

}  // namespace baton::gpu
