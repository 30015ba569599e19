// No include guard: each distance_LEVEL.cc includes this once, into the namespace it names in
// BATON_SIMD_NAMESPACE, and is compiled for its instruction set. Includes nothing that defines
// inline functions with linkage, which the linker could otherwise share between the levels.
//
// defines: InnerProductDistance, L2Distance (DistanceFn)

#include <cstdint>
#include <cstring>

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

template <class Op>
inline void AddVec(const float* query, const float* row, Vec& sum) {
  Vec q, r;
  std::memcpy(&q, query, sizeof(Vec));  // rows start anywhere: unaligned loads
  std::memcpy(&r, row, sizeof(Vec));
  Op::Add(q, r, sum);
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

template <class Op>
inline float RowDistance(const float* query, const float* row, int64_t dimension) {
  Vec sums[kVecs] = {};
  int64_t i = 0;
  for (; i + kSums <= dimension; i += kSums) {
    for (int v = 0; v < kVecs; ++v) {
      AddVec<Op>(query + i + v * kWidth, row + i + v * kWidth, sums[v]);
    }
  }
  for (int v = 0; i < dimension; ++v, i += kWidth) {
    if (i + kWidth <= dimension) {
      AddVec<Op>(query + i, row + i, sums[v]);
      continue;
    }
    // Zeros add +0 to a sum, which changes no bit of it: sums start at +0 and are never -0.
    float query_tail[kWidth] = {};
    float row_tail[kWidth] = {};
    for (int64_t j = 0; j < dimension - i; ++j) {
      query_tail[j] = query[i + j];
      row_tail[j] = row[i + j];
    }
    AddVec<Op>(query_tail, row_tail, sums[v]);
  }
  return Op::Distance(AddUp(sums));
}

template <class Op>
inline void Rows(const float* query, const float* rows, int64_t row_count, int64_t dimension,
                 float* out) {
  for (int64_t row = 0; row < row_count; ++row) {
    out[row] = RowDistance<Op>(query, rows + row * dimension, dimension);
  }
}

}  // namespace

void InnerProductDistance(const float* query, const float* rows, int64_t row_count,
                          int64_t dimension, float* out) {
  Rows<InnerProduct>(query, rows, row_count, dimension, out);
}

void L2Distance(const float* query, const float* rows, int64_t row_count, int64_t dimension,
                float* out) {
  Rows<L2>(query, rows, row_count, dimension, out);
}

}  // namespace baton::BATON_SIMD_NAMESPACE
