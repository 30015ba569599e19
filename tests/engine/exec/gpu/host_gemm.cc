#include <cuda_bf16.h>

#include <cstddef>

#include "engine/exec/gpu/plugin/device.h"
#include "engine/exec/gpu/plugin/gemm.h"

namespace baton::gpu {
namespace {

float At(const void* of, Element element, int64_t i) {
  return element == Element::kF32 ? static_cast<const float*>(of)[i]
                                  : __bfloat162float(static_cast<const __nv_bfloat16*>(of)[i]);
}

// Plain loops, in the place of the library that only a device has.
class HostGemm final : public Gemm {
 public:
  explicit HostGemm(Device& device) : device_(device) {}

  Fault Multiply(const GemmArgs& args, cudaStream_t stream) override {
    return device_.Check(cuda_host::Submit("cublasLtMatmul", stream,
                                           [args] {
                                             Run(args);
                                             return cudaSuccess;
                                           }),
                         "cublasLtMatmul");
  }

 private:
  static void Run(const GemmArgs& args) {
    for (int64_t row = 0; row < args.m; ++row) {
      for (int64_t column = 0; column < args.n; ++column) {
        const float sum = args.in == Element::kF32
                              ? Dot(static_cast<const float*>(args.x) + row * args.x_stride,
                                    static_cast<const float*>(args.w) + column * args.k, args.k)
                              : DotOf(args, row, column);
        const int64_t at = row * args.y_stride + column;
        if (args.out == Element::kF32) {
          static_cast<float*>(args.y)[at] = sum;
        } else {
          static_cast<__nv_bfloat16*>(args.y)[at] = __float2bfloat16_rn(sum);
        }
      }
    }
  }
  // In eight sums, so that the compiler takes several products at once.
  static float Dot(const float* x, const float* w, int64_t k) {
    float sums[8] = {};
    int64_t i = 0;
    for (; i + 8 <= k; i += 8) {
      for (int64_t j = 0; j < 8; ++j) sums[j] += x[i + j] * w[i + j];
    }
    for (; i < k; ++i) sums[0] += x[i] * w[i];
    float sum = 0;
    for (const float part : sums) sum += part;
    return sum;
  }
  static float DotOf(const GemmArgs& args, int64_t row, int64_t column) {
    float sum = 0;
    for (int64_t i = 0; i < args.k; ++i) {
      sum +=
          At(args.x, args.in, row * args.x_stride + i) * At(args.w, args.in, column * args.k + i);
    }
    return sum;
  }

  Device& device_;
};

}  // namespace

bool Emulated() { return true; }

Fault OpenGemm(Device& device, std::unique_ptr<Gemm>* gemm) {
  *gemm = std::make_unique<HostGemm>(device);
  return {};
}

}  // namespace baton::gpu
