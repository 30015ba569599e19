#include "engine/exec/gpu/plugin/products.h"

#include <cuda_bf16.h>

#include <algorithm>
#include <type_traits>

#include "cuda_kernels/dequantise_weights.h"
#include "cuda_kernels/quant_gemv.h"
#include "cuda_kernels/quantise_rows.h"
#include "engine/exec/gpu/plugin/gemm.h"

namespace baton::gpu {
namespace {

// Of a quantised matrix that are dense at a time: enough rows for a GEMM to be busy, and small
// enough to stay in the L2 cache of large devices for the most part.
constexpr int64_t kDenseWeights = 16 << 20;

template <typename T>
constexpr Element ElementOf = std::is_same_v<T, float> ? Element::kF32 : Element::kBF16;

}  // namespace

template <typename T>
void Products<T>::Place(Arena& arena, const Bounds& bounds) {
  if (bounds.quantised_max == 0) return;
  const int64_t cols_max = bounds.cols_max;
  dense_count_ = std::max(cols_max, std::min(kDenseWeights, bounds.quantised_max));
  dense_ = arena.Take<T>(dense_count_);
  quants_ = arena.Take<int8_t>(cuda::kGemvTokensMax * cols_max);
  scales_ = arena.Take<float2>(cuda::kGemvTokensMax * cols_max / cuda::kUnitWeights);
}

template <typename T>
template <typename Y>
Fault Products<T>::Multiply(const Input& input, const DeviceMatrix& w, Y* y, int64_t y_stride) {
  const int64_t step = deterministic_ ? kFewRows : std::max<int64_t>(input.rows, 1);
  for (int64_t first = 0; first < input.rows; first += step) {
    const Input some{.x = input.x + first * input.stride,
                     .rows = std::min(step, input.rows - first),
                     .stride = input.stride};
    BATON_GPU_TRY(MultiplySome(some, w, y + first * y_stride, y_stride));
  }
  return {};
}

template <typename T>
template <typename Y>
Fault Products<T>::MultiplySome(const Input& input, const DeviceMatrix& w, Y* y, int64_t y_stride) {
  bool rounded = false;
  for (const DeviceMatrix::Part& part : w.parts) {
    Y* const to = y + part.first_row;
    if (input.rows > (part.quantised ? cuda::kGemvTokensMax : cuda::kFloatGemvTokensMax)) {
      if (part.quantised) {
        BATON_GPU_TRY(MultiplyMany(input, part, to, y_stride));
      } else {
        BATON_GPU_TRY(MultiplyDense(input, part.dense, part.rows, w.cols, to, y_stride));
      }
      continue;
    }
    if (part.quantised && !rounded) {
      BATON_GPU_TRY(device_.Check(cuda::QuantiseRows<T>({.x = input.x,
                                                         .quants = quants_,
                                                         .scales = scales_,
                                                         .rows = input.rows,
                                                         .cols = w.cols,
                                                         .stride = input.stride},
                                                        stream_),
                                  "QuantiseRows"));
      rounded = true;
    }
    BATON_GPU_TRY(MultiplyFew(input, part, w.cols, to, y_stride));
  }
  return {};
}

template <typename T>
template <typename Y>
Fault Products<T>::MultiplyFew(const Input& input, const DeviceMatrix::Part& part, int64_t cols,
                               Y* y, int64_t y_stride) {
  if (part.quantised) {
    return device_.Check(cuda::QuantGemv<Y>({.quants = quants_,
                                             .scales = scales_,
                                             .weights = part.planes,
                                             .shape = part.shape,
                                             .y = y,
                                             .tokens = input.rows,
                                             .y_stride = y_stride},
                                            stream_),
                         "QuantGemv");
  }
  return device_.Check(cuda::FloatGemv<T, T, Y>({.x = input.x,
                                                 .weights = static_cast<const T*>(part.dense),
                                                 .y = y,
                                                 .tokens = input.rows,
                                                 .rows = part.rows,
                                                 .cols = cols,
                                                 .x_stride = input.stride,
                                                 .weight_stride = cols,
                                                 .y_stride = y_stride},
                                                stream_),
                       "FloatGemv");
}

template <typename T>
template <typename Y>
Fault Products<T>::MultiplyMany(const Input& input, const DeviceMatrix::Part& part, Y* y,
                                int64_t y_stride) {
  const int64_t step = dense_count_ / part.shape.cols;
  for (int64_t first = 0; first < part.rows; first += step) {
    const int64_t rows = std::min(step, part.rows - first);
    BATON_GPU_TRY(device_.Check(cuda::DequantiseWeights<T>({.weights = part.planes,
                                                            .shape = part.shape,
                                                            .first_row = first,
                                                            .rows = rows,
                                                            .y = dense_},
                                                           stream_.stream),
                                "DequantiseWeights"));
    BATON_GPU_TRY(MultiplyDense(input, dense_, rows, part.shape.cols, y + first, y_stride));
  }
  return {};
}

template <typename T>
template <typename Y>
Fault Products<T>::MultiplyDense(const Input& input, const void* w, int64_t w_rows, int64_t cols,
                                 Y* y, int64_t y_stride) {
  Gemm& gemm = gemm_ == nullptr ? device_.gemm() : *gemm_;
  return gemm.Multiply({.x = input.x,
                        .w = w,
                        .y = y,
                        .m = input.rows,
                        .n = w_rows,
                        .k = cols,
                        .x_stride = input.stride,
                        .y_stride = y_stride,
                        .in = ElementOf<T>,
                        .out = ElementOf<Y>},
                       stream_.stream);
}

template class Products<float>;
template class Products<__nv_bfloat16>;
template Fault Products<float>::Multiply(const Input&, const DeviceMatrix&, float*, int64_t);
template Fault Products<__nv_bfloat16>::Multiply(const Input&, const DeviceMatrix&, float*,
                                                 int64_t);
template Fault Products<__nv_bfloat16>::Multiply(const Input&, const DeviceMatrix&, __nv_bfloat16*,
                                                 int64_t);

}  // namespace baton::gpu
