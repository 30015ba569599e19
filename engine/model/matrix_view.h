#pragma once

#include <cstddef>
#include <cstdint>

#include "engine/model/tensor_type.h"

namespace baton {

// A matrix, or consecutive rows of one, as the file holds it: `rows` rows of `cols` weights in
// blocks of `type`. Memory belongs to the model's mapped file.
struct MatrixView {
  TensorType type = TensorType::kF32;
  const std::byte* data = nullptr;  // [rows, cols], row-major, each row RowBytes(type, cols)
  int64_t rows = 0;                 // outputs
  int64_t cols = 0;                 // inputs
};

}  // namespace baton
