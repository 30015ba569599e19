#include "engine/exec/gpu/plugin/weights.h"

#include <cuda_bf16.h>

#include <algorithm>
#include <cstring>
#include <type_traits>

#include "cuda_kernels/repack_weights.h"

namespace baton::gpu {
namespace {

constexpr int64_t kStagingBytes = 8 << 20;

// GGUF's numbers.
constexpr uint32_t kTypeF32 = 0;
constexpr uint32_t kTypeQ4_0 = 2;
constexpr uint32_t kTypeQ8_0 = 8;
constexpr uint32_t kTypeQ4K = 12;
constexpr uint32_t kTypeQ6K = 14;

void Round(float from, float* to) { *to = from; }
void Round(float from, __nv_bfloat16* to) { *to = __float2bfloat16_rn(from); }

cuda::QuantPlanes From(const cuda::QuantPlanes& planes, cuda::QuantFormat format, int64_t unit) {
  const int64_t quant_bytes = format == cuda::QuantFormat::kQ8_0 ? 32 : 16;
  const int64_t super_bytes = format == cuda::QuantFormat::kQ4K ? 4 : 2;
  return {planes.quants + unit * quant_bytes, planes.high + unit * 8, planes.scales + unit * 2,
          planes.supers + unit / cuda::kSuperUnits * super_bytes};
}

}  // namespace

bool HasPlanes(uint32_t gguf_type, cuda::QuantFormat* format) {
  switch (gguf_type) {
    case kTypeQ8_0:
      *format = cuda::QuantFormat::kQ8_0;
      return true;
    case kTypeQ4_0:
      *format = cuda::QuantFormat::kQ4_0;
      return true;
    case kTypeQ4K:
      *format = cuda::QuantFormat::kQ4K;
      return true;
    case kTypeQ6K:
      *format = cuda::QuantFormat::kQ6K;
      return true;
    default:
      return false;
  }
}

int64_t QuantisedWeights(const DeviceMatrix& w) {
  int64_t weights = 0;
  for (const DeviceMatrix::Part& part : w.parts) {
    if (part.quantised) weights = std::max(weights, part.rows * w.cols);
  }
  return weights;
}

template <typename T>
Fault WeightLoader<T>::Start() {
  BATON_GPU_TRY(stream_.Create(device_));
  BATON_GPU_TRY(device_.AllocatePinned("loading weights", kStagingBytes, &staging_));
  return device_.Allocate("loading weights", kStagingBytes, &blocks_);
}

template <typename T>
Fault WeightLoader<T>::Load(std::initializer_list<const baton_matrix*> matrices,
                            DeviceMatrix* loaded) {
  *loaded = {};
  loaded->cols = (*matrices.begin())->cols;
  for (size_t begin = 0; begin < matrices.size();) {
    const baton_matrix& first = **(matrices.begin() + begin);
    DeviceMatrix::Part part = {.first_row = loaded->rows};
    part.quantised = HasPlanes(first.type, &part.shape.format);
    // What is of one kind goes together: one product instead of several.
    size_t end = begin;
    for (; end < matrices.size(); ++end) {
      const baton_matrix& next = **(matrices.begin() + end);
      cuda::QuantFormat format = {};
      if (HasPlanes(next.type, &format) != part.quantised || format != part.shape.format) break;
      part.rows += next.rows;
    }
    part.shape.rows = part.rows;
    part.shape.cols = loaded->cols;
    loaded->rows += part.rows;
    BATON_GPU_TRY(LoadPart(matrices, begin, end, &part));
    loaded->parts.push_back(part);
    begin = end;
  }
  return {};
}

template <typename T>
Fault WeightLoader<T>::LoadPart(std::initializer_list<const baton_matrix*> all, size_t begin,
                                size_t end, DeviceMatrix::Part* part) {
  T* dense = nullptr;
  if (part->quantised) {
    auto* const memory = arena_.Take<unsigned char>(cuda::LayOut(part->shape).bytes);
    if (memory != nullptr) part->planes = cuda::PlanesOf(part->shape, memory);
  } else {
    dense = arena_.Take<T>(part->rows * part->shape.cols);
    part->dense = dense;
  }
  if (arena_.counting()) return {};
  int64_t row = 0;
  for (size_t i = begin; i < end; ++i) {
    const baton_matrix& matrix = **(all.begin() + i);
    const int64_t weights = row * matrix.cols;
    if (part->quantised) {
      BATON_GPU_TRY(CopyPlanes(matrix, weights / cuda::kUnitWeights, *part));
    } else {
      BATON_GPU_TRY(CopyDense(matrix, dense + weights));
    }
    row += matrix.rows;
  }
  return {};
}

template <typename T>
Fault WeightLoader<T>::LoadDense(const baton_matrix& matrix, const T** loaded) {
  T* const to = arena_.Take<T>(matrix.rows * matrix.cols);
  *loaded = to;
  return arena_.counting() ? Fault() : CopyDense(matrix, to);
}

template <typename T>
Fault WeightLoader<T>::LoadVector(const float* values, int64_t count, const float** loaded) {
  *loaded = nullptr;
  if (values == nullptr) return {};
  auto* const to = arena_.Take<float>(count);
  *loaded = to;
  if (arena_.counting()) return {};
  const int64_t step = kStagingBytes / static_cast<int64_t>(sizeof(float));
  for (int64_t i = 0; i < count; i += step) {
    const int64_t bytes = std::min(step, count - i) * static_cast<int64_t>(sizeof(float));
    std::memcpy(staging_.data(), values + i, static_cast<size_t>(bytes));
    BATON_GPU_TRY(Send(bytes, to + i));
  }
  return {};
}

template <typename T>
Fault WeightLoader<T>::CopyDense(const baton_matrix& matrix, T* to) {
  const int64_t row_bytes = matrix.cols * static_cast<int64_t>(sizeof(T));
  const int64_t step = kStagingBytes / row_bytes;
  if (step == 0) {
    return {BATON_UNIMPLEMENTED, Text("a matrix of ", matrix.cols, " columns, the limit is ",
                                      kStagingBytes / static_cast<int64_t>(sizeof(T)))};
  }
  row_.resize(static_cast<size_t>(matrix.cols));
  const auto* const from = static_cast<const std::byte*>(matrix.data);
  for (int64_t first = 0; first < matrix.rows; first += step) {
    const int64_t rows = std::min(step, matrix.rows - first);
    for (int64_t row = 0; row < rows; ++row) {
      auto* const staged = reinterpret_cast<T*>(staging_.data() + row * row_bytes);
      const std::byte* const source = from + (first + row) * matrix.row_bytes;
      if (std::is_same_v<T, float> && matrix.type == kTypeF32) {
        std::memcpy(staged, source, static_cast<size_t>(row_bytes));
        continue;
      }
      device_.host().dequantise_row(matrix.type, source, matrix.cols, row_.data());
      for (int64_t i = 0; i < matrix.cols; ++i) Round(row_[static_cast<size_t>(i)], staged + i);
    }
    BATON_GPU_TRY(Send(rows * row_bytes, to + first * matrix.cols));
  }
  return {};
}

template <typename T>
Fault WeightLoader<T>::CopyPlanes(const baton_matrix& matrix, int64_t first_unit,
                                  const DeviceMatrix::Part& part) {
  const int64_t step = kStagingBytes / matrix.row_bytes;
  if (step == 0) {
    return {BATON_UNIMPLEMENTED,
            Text("a matrix of rows of ", matrix.row_bytes, " bytes, the limit is ", kStagingBytes)};
  }
  const auto* const from = static_cast<const std::byte*>(matrix.data);
  for (int64_t first = 0; first < matrix.rows; first += step) {
    const int64_t rows = std::min(step, matrix.rows - first);
    const int64_t bytes = rows * matrix.row_bytes;
    std::memcpy(staging_.data(), from + first * matrix.row_bytes, static_cast<size_t>(bytes));
    BATON_GPU_TRY(Send(bytes, blocks_.data()));
    cuda::QuantShape shape = part.shape;
    shape.rows = rows;
    const int64_t unit = first_unit + first * matrix.cols / cuda::kUnitWeights;
    BATON_GPU_TRY(device_.Check(
        cuda::RepackWeights({.blocks = reinterpret_cast<const unsigned char*>(blocks_.data()),
                             .planes = From(part.planes, shape.format, unit),
                             .shape = shape},
                            stream_.get()),
        "RepackWeights"));
  }
  return {};
}

// staging_ is free again when this returns.
template <typename T>
Fault WeightLoader<T>::Send(int64_t bytes, void* to) {
  BATON_GPU_TRY(device_.Check(cudaMemcpyAsync(to, staging_.data(), static_cast<size_t>(bytes),
                                              cudaMemcpyHostToDevice, stream_.get()),
                              "cudaMemcpyAsync"));
  return stream_.Wait();
}

template class WeightLoader<float>;
template class WeightLoader<__nv_bfloat16>;

}  // namespace baton::gpu
