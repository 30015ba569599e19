#include "cuda_kernels/dequantise_weights.h"

#include <catch2/catch.hpp>
#include <string>

#include "cuda_kernels/repack_weights.h"
#include "tests/cuda_kernels/kernel_suite.h"
#include "tests/cuda_kernels/quant_fixture.h"

namespace baton::cuda {
namespace {

struct Rows {
  int64_t first;
  int64_t count;
};

template <typename T>
std::string RunDequantise(const QuantShape& shape, const Rows& rows) {
  const QuantMatrix matrix(shape, 23);
  const DeviceArray<uint8_t> blocks(matrix.Bytes());
  const DeviceArray<uint8_t> memory(static_cast<size_t>(LayOut(shape).bytes));
  const QuantPlanes planes = PlanesOf(shape, memory.data());
  const DeviceArray<T> y(static_cast<size_t>(rows.count * shape.cols));
  std::string failure =
      Failure(RepackWeights({.blocks = blocks.data(), .planes = planes, .shape = shape}, nullptr));
  if (failure.empty()) {
    failure = Failure(DequantiseWeights<T>({.weights = planes,
                                            .shape = shape,
                                            .first_row = rows.first,
                                            .rows = rows.count,
                                            .y = y.data()},
                                           nullptr));
  }
  if (!failure.empty()) return failure;
  const auto begin = matrix.weights.begin() + rows.first * shape.cols;
  const std::vector<float> want(begin, begin + rows.count * shape.cols);
  return Difference("weights", Floats(y.Read()), want, {1e-6, kRounding<T>});
}

TEST_CASE("rows of quantised weights become floats") {
  std::vector<KernelCase> cases;
  for (const QuantFormat format : kQuantFormats) {
    const int64_t columns = QuantColumns(format);
    for (const int64_t cols : {columns, 3 * columns}) {
      for (const Rows rows : {Rows{0, 0}, Rows{0, 1}, Rows{2, 3}, Rows{0, 5}}) {
        const std::string name = "format " + std::to_string(static_cast<int>(format)) + " cols " +
                                 std::to_string(cols) + " from row " + std::to_string(rows.first);
        cases.push_back({name + " f32", [=] {
                           return RunDequantise<float>({format, 5, cols}, rows);
                         }});
        cases.push_back({name + " bf16", [=] {
                           return RunDequantise<__nv_bfloat16>({format, 5, cols}, rows);
                         }});
      }
    }
  }
  CheckKernel(cases, Barriers::kNone);
}

TEST_CASE("rows that the matrix does not have and misaligned results are refused") {
  const DeviceArray<float> y(64);
  DequantiseWeightsArgs<float> args = {
      .shape = {QuantFormat::kQ8_0, 2, 32}, .first_row = 1, .rows = 2, .y = y.data()};
  CHECK(DequantiseWeights(args, nullptr) == cudaErrorInvalidValue);
  args.rows = 1;
  args.y = y.data() + 1;
  CHECK(DequantiseWeights(args, nullptr) == cudaErrorInvalidValue);
  args.y = y.data();
  args.shape.cols = 48;
  CHECK(DequantiseWeights(args, nullptr) == cudaErrorInvalidValue);
}

}  // namespace
}  // namespace baton::cuda
