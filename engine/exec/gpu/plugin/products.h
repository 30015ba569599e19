#pragma once

#include <cuda_runtime.h>

#include <algorithm>
#include <cstdint>

#include "cuda_kernels/float_gemv.h"
#include "cuda_kernels/launch.h"
#include "cuda_kernels/quant_gemv.h"
#include "engine/exec/gpu/plugin/arena.h"
#include "engine/exec/gpu/plugin/device.h"
#include "engine/exec/gpu/plugin/weights.h"

namespace baton::gpu {

// Products of a step's activations with matrices of weights. Many rows go through a GEMM, for which
// quantised parts are made dense a piece at a time. For few rows weights are read as they are
// stored, once; activations are rounded to int8 where they are quantised. A deterministic step has
// all of its rows done so, few at a time: a row's sums are then the same whatever the others are,
// and weights are read once for each kFewRows of them. T: float or __nv_bfloat16. From one thread;
// the device outlives it.
template <typename T>
class Products {
 public:
  explicit Products(Device& device) : device_(device) {}
  // Dense ones by `gemm` from now on, not by the device's, which steps of decoders use.
  void UseGemm(Gemm& gemm) { gemm_ = &gemm; }

  // Takes its workspace, for inputs of at most `cols_max` columns, and quantised matrices of at
  // most `quantised_max` weights; 0: there are none.
  struct Bounds {
    int64_t cols_max;
    int64_t quantised_max;
  };
  void Place(Arena& arena, const Bounds& bounds);
  static constexpr int64_t kFewRows = std::min(cuda::kGemvTokensMax, cuda::kFloatGemvTokensMax);
  void Begin(const cuda::LaunchStream& stream, bool deterministic) {
    stream_ = stream;
    deterministic_ = deterministic;
  }

  struct Input {
    const T* x;  // [rows, cols of the matrix], rows `stride` apart
    int64_t rows;
    int64_t stride;  // elements
  };
  // y = x . w^T: [rows, w.rows], rows `y_stride` apart. Y: T or float.
  template <typename Y>
  Fault Multiply(const Input& input, const DeviceMatrix& w, Y* y, int64_t y_stride);

 private:
  template <typename Y>
  Fault MultiplySome(const Input& input, const DeviceMatrix& w, Y* y, int64_t y_stride);
  template <typename Y>
  Fault MultiplyFew(const Input& input, const DeviceMatrix::Part& part, int64_t cols, Y* y,
                    int64_t y_stride);
  template <typename Y>
  Fault MultiplyDense(const Input& input, const void* w, int64_t w_rows, int64_t cols, Y* y,
                      int64_t y_stride);
  template <typename Y>
  Fault MultiplyMany(const Input& input, const DeviceMatrix::Part& part, Y* y, int64_t y_stride);

  Device& device_;
  Gemm* gemm_ = nullptr;  // null: the device's
  cuda::LaunchStream stream_ = nullptr;
  bool deterministic_ = false;
  int64_t dense_count_ = 0;
  T* dense_ = nullptr;        // [dense_count_]: rows of a quantised matrix
  int8_t* quants_ = nullptr;  // [kGemvTokensMax, cols_max]
  float2* scales_ = nullptr;  // [kGemvTokensMax, cols_max / 32]
};

}  // namespace baton::gpu
