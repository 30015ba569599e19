// No include guard: each distance_LEVEL.cc includes this once, into the namespace it names in
// BATON_SIMD_NAMESPACE, and is compiled for its instruction set. Includes nothing that defines
// inline functions with linkage, which the linker could otherwise share between the levels.
//
// defines: InnerProductDistance, L2Distance (DistanceFn), StoredKernelsOf

#if defined(__AVX__)
#include <immintrin.h>
#endif

#include <cstdint>
#include <cstring>

#include "engine/vector/stored_kernels.h"

namespace baton::BATON_SIMD_NAMESPACE {
namespace {

#if defined(__AVX512F__)
constexpr int kWidth = 16;
#elif defined(__AVX__)
constexpr int kWidth = 8;
#else
constexpr int kWidth = 4;
#endif
typedef float Vec __attribute__((vector_size(kWidth * sizeof(float))));
typedef uint32_t Bits __attribute__((vector_size(kWidth * sizeof(uint32_t))));
typedef int32_t Whole __attribute__((vector_size(kWidth * sizeof(int32_t))));
typedef uint16_t Halves __attribute__((vector_size(kWidth * sizeof(uint16_t))));

// Partial sums per row. Element i goes to sum i % 32 at every level: two AVX-512 registers, four
// of AVX, eight of SSE2. Two to eight independent chains hide the latency of the addition, and the
// processor overlaps the rows besides.
constexpr int kSums = 32;
constexpr int kVecs = kSums / kWidth;

struct InnerProduct {
  static void Add(const Vec& query, const Vec& row, Vec& sum) { sum += query * row; }
  static float Distance(float sum) { return -sum; }
};

struct L2 {
  static void Add(const Vec& query, const Vec& row, Vec& sum) {
    const Vec difference = query - row;
    sum += difference * difference;
  }
  static float Distance(float sum) { return sum; }
};

template <class T>
inline T Load(const void* at) {
  T value;
  std::memcpy(&value, at, sizeof(T));  // rows start anywhere: unaligned loads
  return value;
}

// ---- What a row is made of. Made for each row; At converts the kWidth values that begin there,
// exactly but for the product of a scaled one.

struct F32Row {
  using Value = float;
  F32Row(const char*, int64_t) {}
  static int64_t Bytes(int64_t dimension) { return dimension * 4; }
  Vec At(const char* at) const { return Load<Vec>(at); }
};

struct F16Row {
  using Value = uint16_t;
  F16Row(const char*, int64_t) {}
  static int64_t Bytes(int64_t dimension) { return dimension * 2; }
  Vec At(const char* at) const {
#if defined(__AVX512F__)
    return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(at)));
#elif defined(__AVX__)
    return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(at)));
#else
    const Bits half = __builtin_convertvector(Load<Halves>(at), Bits);
    const Bits magnitude = half & 0x7fff;
    // Exponents are 112 larger in a float. Those of zero are multiples of 2^-24, no infinity or NaN
    // is stored.
    const Bits normal = (magnitude << 13) + (112u << 23);
    const Bits small = (Bits)(__builtin_convertvector((Whole)magnitude, Vec) * 0x1p-24f);
    const Bits is_small = (Bits)(magnitude < 0x400);
    return (Vec)((is_small & small) | (~is_small & normal) | (half & 0x8000) << 16);
#endif
  }
};

struct Bf16Row {
  using Value = uint16_t;
  Bf16Row(const char*, int64_t) {}
  static int64_t Bytes(int64_t dimension) { return dimension * 2; }
  Vec At(const char* at) const {
    return (Vec)(__builtin_convertvector(Load<Halves>(at), Bits) << 16);
  }
};

struct Int8Row {
  using Value = int8_t;
  Int8Row(const char*, int64_t) {}
  static int64_t Bytes(int64_t dimension) { return dimension; }
  Vec At(const char* at) const {
#if defined(__AVX512F__)
    return _mm512_cvtepi32_ps(
        _mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(at))));
#elif defined(__AVX__)
    return _mm256_cvtepi32_ps(
        _mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(at))));
#else
    const auto four = Load<uint32_t>(at);
    // Each byte to the top of its number, and down again with its sign.
    const Bits up = {four << 24, four << 16, four << 8, four};
    return __builtin_convertvector((Whole)up >> 24, Vec);
#endif
  }
};

struct ScaledInt8Row : Int8Row {
  ScaledInt8Row(const char* row, int64_t dimension)
      : Int8Row(row, dimension), scale(Load<float>(row + dimension)) {}
  static int64_t Bytes(int64_t dimension) { return dimension + 4; }
  Vec At(const char* at) const { return Int8Row::At(at) * scale; }
  const float scale;
};

// The last `count` values, fewer than kWidth, and zeros behind them.
template <class Row>
inline Vec Tail(const Row& row, const char* at, int64_t count) {
  typename Row::Value values[kWidth] = {};
  for (int64_t j = 0; j < count; ++j) {
    values[j] = Load<typename Row::Value>(at + j * static_cast<int64_t>(sizeof(values[0])));
  }
  return row.At(reinterpret_cast<const char*>(values));
}

// Halves are added until one number is left: sum i + sum (i + 16), then i + (i + 8), and so on.
inline float AddUp(Vec (&sums)[kVecs]) {
  for (int half = kVecs / 2; half > 0; half /= 2) {
    for (int v = 0; v < half; ++v) sums[v] += sums[v + half];
  }
#if defined(__AVX512F__)
  const auto eight = __builtin_shufflevector(sums[0], sums[0], 0, 1, 2, 3, 4, 5, 6, 7) +
                     __builtin_shufflevector(sums[0], sums[0], 8, 9, 10, 11, 12, 13, 14, 15);
#elif defined(__AVX__)
  const auto& eight = sums[0];
#endif
#if defined(__AVX__)
  const auto four = __builtin_shufflevector(eight, eight, 0, 1, 2, 3) +
                    __builtin_shufflevector(eight, eight, 4, 5, 6, 7);
#else
  const auto& four = sums[0];
#endif
  return (four[0] + four[2]) + (four[1] + four[3]);
}

template <class Op, class Row>
inline float RowDistance(const float* query, const char* bytes, int64_t dimension) {
  constexpr int64_t kValueBytes = sizeof(typename Row::Value);
  const Row row(bytes, dimension);
  Vec sums[kVecs] = {};
  int64_t i = 0;
  for (; i + kSums <= dimension; i += kSums) {
    for (int v = 0; v < kVecs; ++v) {
      const int64_t at = i + v * kWidth;
      Op::Add(Load<Vec>(query + at), row.At(bytes + at * kValueBytes), sums[v]);
    }
  }
  for (int v = 0; i < dimension; ++v, i += kWidth) {
    const char* const at = bytes + i * kValueBytes;
    if (i + kWidth <= dimension) {
      Op::Add(Load<Vec>(query + i), row.At(at), sums[v]);
      continue;
    }
    // Zeros add +0 to a sum, which changes no bit of it: sums start at +0 and are never -0.
    float query_tail[kWidth] = {};
    for (int64_t j = 0; j < dimension - i; ++j) query_tail[j] = query[i + j];
    Op::Add(Load<Vec>(query_tail), Tail(row, at, dimension - i), sums[v]);
  }
  return Op::Distance(AddUp(sums));
}

template <class Op, class Row>
void Rows(const float* query, const void* rows, int64_t row_count, int64_t dimension, float* out) {
  const char* row = static_cast<const char*>(rows);
  for (int64_t i = 0; i < row_count; ++i, row += Row::Bytes(dimension)) {
    out[i] = RowDistance<Op, Row>(query, row, dimension);
  }
}

template <class Row>
void Values(const void* rows, int64_t row_count, int64_t dimension, float* out) {
  constexpr int64_t kValueBytes = sizeof(typename Row::Value);
  const char* bytes = static_cast<const char*>(rows);
  for (int64_t n = 0; n < row_count; ++n, bytes += Row::Bytes(dimension), out += dimension) {
    const Row row(bytes, dimension);
    int64_t i = 0;
    for (; i + kWidth <= dimension; i += kWidth) {
      const Vec values = row.At(bytes + i * kValueBytes);
      std::memcpy(out + i, &values, sizeof(values));
    }
    if (i == dimension) continue;
    const Vec values = Tail(row, bytes + i * kValueBytes, dimension - i);
    for (int64_t j = 0; j < dimension - i; ++j) out[i + j] = values[j];
  }
}

template <class Row>
StoredKernels KernelsOf() {
  return {Rows<InnerProduct, Row>, Rows<L2, Row>, Values<Row>};
}

}  // namespace

StoredKernels StoredKernelsOf(RowKind kind) {
  switch (kind) {
    case RowKind::kF16:
      return KernelsOf<F16Row>();
    case RowKind::kBf16:
      return KernelsOf<Bf16Row>();
    case RowKind::kInt8:
      return KernelsOf<Int8Row>();
    case RowKind::kScaledInt8:
      return KernelsOf<ScaledInt8Row>();
    case RowKind::kF32:
      break;
  }
  return KernelsOf<F32Row>();
}

void InnerProductDistance(const float* query, const float* rows, int64_t row_count,
                          int64_t dimension, float* out) {
  Rows<InnerProduct, F32Row>(query, rows, row_count, dimension, out);
}

void L2Distance(const float* query, const float* rows, int64_t row_count, int64_t dimension,
                float* out) {
  Rows<L2, F32Row>(query, rows, row_count, dimension, out);
}

}  // namespace baton::BATON_SIMD_NAMESPACE
