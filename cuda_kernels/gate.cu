#include "cuda_kernels/gate.h"

#include "cuda_kernels/arch/grid_order.h"
#include "cuda_kernels/launch.h"
#include "cuda_kernels/vector_io.h"

namespace baton::cuda {
namespace {

constexpr int kGateThreads = 256;

__device__ __forceinline__ float Activate(float x, GateKind kind) {
  // (1 + tanh(u)) / 2 is the sigmoid of 2u.
  constexpr float kTwoSqrt2OverPi = 1.5957691216057308f;
  const float s = kind == GateKind::kSilu ? x : kTwoSqrt2OverPi * (x + 0.044715f * x * x * x);
  return x / (1 + __expf(-s));
}

// Reads 2 * rows * dim * sizeof(T), writes half of that.
template <typename T, int kVector>
__global__ void __launch_bounds__(kGateThreads) GateKernel(GateArgs<T> args) {
  AwaitEarlierKernels();
  const int64_t row = blockIdx.x;
  const int64_t at = (static_cast<int64_t>(blockIdx.y) * kGateThreads + threadIdx.x) * kVector;
  if (at >= args.dim) return;
  float gate[kVector];
  float up[kVector];
  LoadFloats(args.gate + row * args.stride + at, gate);
  LoadFloats(args.up + row * args.stride + at, up);
#pragma unroll
  for (int i = 0; i < kVector; ++i) gate[i] = Activate(gate[i], args.kind) * up[i];
  StoreFloats(gate, args.y + row * args.y_stride + at);
}

}  // namespace

template <typename T>
cudaError_t Gate(const GateArgs<T>& args, const LaunchStream& stream) {
  if (args.rows == 0 || args.dim == 0) return cudaSuccess;
  constexpr int kVector = 16 / sizeof(T);
  const bool vectors = RowsAligned(args.gate, args.stride, 16) &&
                       RowsAligned(args.up, args.stride, 16) &&
                       RowsAligned(args.y, args.y_stride, 16) && args.dim % kVector == 0;
  const int64_t parts = CeilDiv(args.dim, kGateThreads * (vectors ? kVector : 1));
  if (parts > kGridYMax) return cudaErrorInvalidValue;
  const LaunchShape shape = {dim3(static_cast<unsigned>(args.rows), static_cast<unsigned>(parts)),
                             kGateThreads};
  return vectors ? Launch(&GateKernel<T, kVector>, shape, stream, args)
                 : Launch(&GateKernel<T, 1>, shape, stream, args);
}

template cudaError_t Gate(const GateArgs<float>&, const LaunchStream&);
template cudaError_t Gate(const GateArgs<__nv_bfloat16>&, const LaunchStream&);

}  // namespace baton::cuda
