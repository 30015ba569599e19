#include "cuda_kernels/pack_vectors.h"

#include <catch2/catch.hpp>
#include <cmath>

#include "tests/cuda_kernels/kernel_suite.h"

namespace baton::cuda {
namespace {

std::string RunPack(int64_t rows, int64_t dimension, VectorMetric metric) {
  std::vector<float> vectors = RandomFloats(static_cast<size_t>(rows * dimension), 12);
  for (int64_t i = 0; i < dimension && rows > 1; ++i) vectors[dimension + i] = 0;
  const int64_t columns = PackedColumns(dimension);
  std::vector<float> want(static_cast<size_t>(rows * columns), 0);
  std::vector<float> want_terms(static_cast<size_t>(rows), -3);
  for (int64_t row = 0; row < rows; ++row) {
    double squares = 0;
    for (int64_t i = 0; i < dimension; ++i) {
      __nv_bfloat16 rounded;
      FromFloat(vectors[row * dimension + i], rounded);
      want[row * columns + i] = ToFloat(rounded);
      squares += double{ToFloat(rounded)} * ToFloat(rounded);
    }
    if (metric == VectorMetric::kL2) want_terms[row] = static_cast<float>(squares);
    if (metric == VectorMetric::kCosine) {
      want_terms[row] = squares > 0 ? static_cast<float>(1 / std::sqrt(squares)) : 0;
    }
  }
  const DeviceArray<float> device_vectors(vectors, 1);
  const DeviceArray<__nv_bfloat16> packed(want.size());
  const DeviceArray<float> terms(std::vector<float>(want_terms.size(), -3));
  const std::string failure = Failure(PackVectors({.vectors = device_vectors.data(),
                                                   .packed = packed.data(),
                                                   .terms = terms.data(),
                                                   .rows = rows,
                                                   .dimension = dimension,
                                                   .metric = metric},
                                                  nullptr));
  if (!failure.empty()) return failure;
  const std::string difference = DifferenceExact("packed", Floats(packed.Read()), want);
  if (!difference.empty()) return difference;
  return Difference("terms", terms.Read(), want_terms, {0, 1e-5});
}

TEST_CASE("vectors are rounded and padded, with their lengths") {
  std::vector<KernelCase> cases;
  for (const int64_t rows : {0, 1, 3, 17}) {
    for (const int64_t dimension : {1, 7, 8, 65, 300}) {
      for (const VectorMetric metric :
           {VectorMetric::kL2, VectorMetric::kInnerProduct, VectorMetric::kCosine}) {
        cases.push_back({std::to_string(rows) + " x " + std::to_string(dimension),
                         [=] { return RunPack(rows, dimension, metric); }});
      }
    }
  }
  CheckKernel(cases, Barriers::kNone);
}

TEST_CASE("packed vectors begin at a multiple of 16 bytes") {
  alignas(16) __nv_bfloat16 packed[16] = {};
  CHECK(PackVectors({.packed = packed + 1, .rows = 1, .dimension = 4}, nullptr) ==
        cudaErrorInvalidValue);
}

}  // namespace
}  // namespace baton::cuda
