#pragma once

#include <cstddef>
#include <cstdint>

#include "engine/base/simd_level.h"
#include "engine/request/vector_request.h"
#include "engine/vector/stored_kernels.h"

namespace baton {

// How a collection's vectors are stored: in memory, in segment files and in the database. A row is
//
//   kF32   f32 [dimension]; in the database as the client sent it, elsewhere of unit length under
//          kCosine
//   kF16   f16 [dimension], kBf16 its upper half of each float: to the nearest, ties to even; of
//          unit length, before rounding, under kCosine
//   kInt8  i8 [dimension]: whole numbers from -128 to 127, to the nearest; under kCosine the vector
//          divided by its largest magnitude, times 127, and behind it an f32 that makes its length
//          one
class VectorFormat {
 public:
  VectorFormat() = default;
  VectorFormat(VectorStorage storage, Metric metric, int32_t dimension);

  VectorStorage storage() const { return storage_; }
  Metric metric() const { return metric_; }
  int32_t dimension() const { return dimension_; }
  int64_t row_bytes() const { return row_bytes_; }
  RowKind row_kind() const;

  // `vector`: [dimension], within RangeOf, of unit length under kCosine. Rows have no alignment.
  // What was decoded encodes to the same bytes.
  void Encode(const float* vector, std::byte* row) const;
  // vectors: [count, dimension], row-major
  void Decode(const std::byte* rows, int64_t count, float* vectors) const;

 private:
  VectorStorage storage_ = VectorStorage::kF32;
  Metric metric_ = Metric::kCosine;
  int32_t dimension_ = 0;
  int64_t row_bytes_ = 0;
};

VectorFormat FormatOf(const CollectionSpec& spec);

// What a client's values may be, beside what CheckVector says of all. Under kCosine vectors are
// scaled before they are rounded.
struct ValueRange {
  float min = 0;
  float max = 0;
};
ValueRange RangeOf(const VectorFormat& format);

// Rows one after another.
struct StoredRows {
  const std::byte* bytes = nullptr;  // null: there are none
  VectorFormat format;

  const std::byte* At(int64_t row) const { return bytes + row * format.row_bytes(); }
  // The values of one row: where they lie under kF32, else decoded to `scratch`, [dimension].
  const float* Vector(int64_t row, float* scratch) const {
    if (format.storage() == VectorStorage::kF32) return reinterpret_cast<const float*>(At(row));
    format.Decode(At(row), 1, scratch);
    return scratch;
  }
};

// The kernels for `level`, which the processor must support.
StoredKernels StoredKernelsFor(RowKind kind, SimdLevel level = DetectedSimdLevel());
// The function for a format's metric: the same bits as DistanceFor of the decoded values.
StoredDistanceFn StoredDistanceFor(const VectorFormat& format,
                                   SimdLevel level = DetectedSimdLevel());

}  // namespace baton
