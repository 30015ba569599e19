#include "engine/vector/vector_format.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

namespace baton {
namespace {

constexpr float kHalfMax = 65'504;  // the largest f16

// The nearest f16, ties to even. |value| <= kHalfMax.
uint16_t ToHalf(float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  const auto sign = static_cast<uint16_t>(bits >> 16 & 0x8000);
  const uint32_t magnitude = bits & 0x7fff'ffff;
  if (magnitude < 113u << 23) {  // below 2^-14: a multiple of 2^-24, rounded by the processor
    const float at = std::bit_cast<float>(magnitude) + 0.5f;  // one unit of 0.5f is 2^-24
    return static_cast<uint16_t>(sign | (std::bit_cast<uint32_t>(at) - (126u << 23)));
  }
  // 13 bits fewer; a carry out of the mantissa is the next exponent's.
  const uint32_t rounded = magnitude + 0xfff + (magnitude >> 13 & 1);
  return static_cast<uint16_t>(sign | (rounded - (112u << 23)) >> 13);
}

// The nearest, ties to even. Finite values stay finite: they are at most 1e15.
uint16_t ToBfloat(float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

int8_t ToInt8(float value) {
  return static_cast<int8_t>(std::clamp(std::nearbyint(value), -128.0f, 127.0f));
}

template <class T>
void Put(T value, std::byte* row, int64_t i) {
  std::memcpy(row + i * static_cast<int64_t>(sizeof(T)), &value, sizeof(T));
}

}  // namespace

VectorFormat::VectorFormat(VectorStorage storage, Metric metric, int32_t dimension)
    : storage_(storage), metric_(metric), dimension_(dimension) {
  switch (storage) {
    case VectorStorage::kF32:
      row_bytes_ = int64_t{4} * dimension;
      break;
    case VectorStorage::kF16:
    case VectorStorage::kBf16:
      row_bytes_ = int64_t{2} * dimension;
      break;
    case VectorStorage::kInt8:
      row_bytes_ = dimension + (metric == Metric::kCosine ? 4 : 0);
      break;
  }
}

RowKind VectorFormat::row_kind() const {
  switch (storage_) {
    case VectorStorage::kF16:
      return RowKind::kF16;
    case VectorStorage::kBf16:
      return RowKind::kBf16;
    case VectorStorage::kInt8:
      return metric_ == Metric::kCosine ? RowKind::kScaledInt8 : RowKind::kInt8;
    case VectorStorage::kF32:
      break;
  }
  return RowKind::kF32;
}

void VectorFormat::Encode(const float* vector, std::byte* row) const {
  switch (row_kind()) {
    case RowKind::kF32:
      // Not memcpy, which takes no null: where all vectors are named, this one has no values.
      std::copy_n(reinterpret_cast<const std::byte*>(vector), row_bytes_, row);
      return;
    case RowKind::kF16:
      for (int32_t i = 0; i < dimension_; ++i) Put(ToHalf(vector[i]), row, i);
      return;
    case RowKind::kBf16:
      for (int32_t i = 0; i < dimension_; ++i) Put(ToBfloat(vector[i]), row, i);
      return;
    case RowKind::kInt8:
      for (int32_t i = 0; i < dimension_; ++i) Put(ToInt8(vector[i]), row, i);
      return;
    case RowKind::kScaledInt8:
      break;
  }
  float largest = 0;
  for (int32_t i = 0; i < dimension_; ++i) largest = std::max(largest, std::abs(vector[i]));
  int64_t squares = 0;
  for (int32_t i = 0; i < dimension_; ++i) {
    // In double precision a decoded value is within 1e-6 of the whole number that it came from.
    const auto value = static_cast<int8_t>(std::nearbyint(double{vector[i]} * 127 / largest));
    squares += int64_t{value} * value;
    Put(value, row, i);
  }
  Put(static_cast<float>(1 / std::sqrt(static_cast<double>(squares))), row + dimension_, 0);
}

VectorFormat FormatOf(const CollectionSpec& spec) {
  return {spec.storage, spec.metric, spec.dimension};
}

ValueRange RangeOf(const VectorFormat& format) {
  if (format.metric() != Metric::kCosine) {
    if (format.storage() == VectorStorage::kF16) return {.min = -kHalfMax, .max = kHalfMax};
    if (format.storage() == VectorStorage::kInt8) return {.min = -128, .max = 127};
  }
  constexpr float kAny = std::numeric_limits<float>::max();
  return {.min = -kAny, .max = kAny};
}

#define BATON_DECLARE_KERNELS(level)           \
  namespace level {                            \
  StoredKernels StoredKernelsOf(RowKind kind); \
  }
BATON_DECLARE_KERNELS(baseline)
BATON_DECLARE_KERNELS(avx2)
BATON_DECLARE_KERNELS(avx512)
#undef BATON_DECLARE_KERNELS

StoredKernels StoredKernelsFor(RowKind kind, SimdLevel level) {
  switch (level) {
    case SimdLevel::kAmx:
    case SimdLevel::kAvx512Vnni:
    case SimdLevel::kAvx512:
      return avx512::StoredKernelsOf(kind);
    case SimdLevel::kAvx2:
      return avx2::StoredKernelsOf(kind);
    case SimdLevel::kBaseline:
      break;
  }
  return baseline::StoredKernelsOf(kind);
}

StoredDistanceFn StoredDistanceFor(const VectorFormat& format, SimdLevel level) {
  const StoredKernels kernels = StoredKernelsFor(format.row_kind(), level);
  return format.metric() == Metric::kL2 ? kernels.l2 : kernels.inner_product;
}

void VectorFormat::Decode(const std::byte* rows, int64_t count, float* vectors) const {
  StoredKernelsFor(row_kind(), DetectedSimdLevel()).values(rows, count, dimension_, vectors);
}

}  // namespace baton
