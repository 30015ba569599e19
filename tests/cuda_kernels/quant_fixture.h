#pragma once

#include <string>
#include <vector>

#include "cuda_kernels/quant_planes.h"
#include "engine/model/tensor_type.h"
#include "tests/cuda_kernels/kernel_suite.h"
#include "tests/support/quantise.h"

namespace baton::cuda {

inline TensorType TensorTypeOf(QuantFormat format) {
  switch (format) {
    case QuantFormat::kQ8_0:
      return TensorType::kQ8_0;
    case QuantFormat::kQ4_0:
      return TensorType::kQ4_0;
    case QuantFormat::kQ4K:
      return TensorType::kQ4K;
    case QuantFormat::kQ6K:
      break;
  }
  return TensorType::kQ6K;
}
inline constexpr QuantFormat kQuantFormats[] = {QuantFormat::kQ8_0, QuantFormat::kQ4_0,
                                                QuantFormat::kQ4K, QuantFormat::kQ6K};

// A matrix as a GGUF file holds it, and what it is worth.
struct QuantMatrix {
  explicit QuantMatrix(const QuantShape& of, uint64_t seed)
      : blocks(EncodeWeights(TensorTypeOf(of.format),
                             RandomFloats(static_cast<size_t>(of.rows * of.cols), seed))),
        weights(static_cast<size_t>(of.rows * of.cols)) {
    const TensorType type = TensorTypeOf(of.format);
    for (int64_t row = 0; row < of.rows; ++row) {
      DequantizeRow(
          type, reinterpret_cast<const std::byte*>(blocks.data()) + row * RowBytes(type, of.cols),
          of.cols, weights.data() + row * of.cols);
    }
  }
  std::vector<uint8_t> Bytes() const { return {blocks.begin(), blocks.end()}; }

  std::string blocks;
  std::vector<float> weights;  // [rows, cols]
};

}  // namespace baton::cuda
