#include "cuda_kernels/quant_gemv.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <functional>

#include "cuda_kernels/quantise_rows.h"
#include "cuda_kernels/repack_weights.h"
#include "tests/cuda_kernels/kernel_suite.h"
#include "tests/cuda_kernels/quant_fixture.h"

namespace baton::cuda {
namespace {

// Repacks, rounds the activations and multiplies, as a model does; compared with a product in f64
// of the weights' values and the rounded activations'.
// launch: QuantGemv, or one of its variants.
template <typename T>
std::string RunQuantGemv(
    const QuantShape& shape, int64_t tokens,
    const std::function<cudaError_t(const QuantGemvArgs<T>&)>& launch =
        [](const QuantGemvArgs<T>& args) { return QuantGemv(args, nullptr); }) {
  const QuantMatrix matrix(shape, 16);
  const int64_t y_stride = shape.rows + 3;
  const std::vector<float> x = RandomFloats(static_cast<size_t>(tokens * shape.cols), 17);
  const DeviceArray<uint8_t> blocks(matrix.Bytes());
  const DeviceArray<uint8_t> planes(static_cast<size_t>(LayOut(shape).bytes));
  const DeviceArray<float> device_x(x);
  const DeviceArray<int8_t> quants(x.size());
  const DeviceArray<float2> scales(x.size() / kUnitWeights);
  const std::vector<T> y_before = RandomElements<T>(static_cast<size_t>(tokens * y_stride), 18);
  const DeviceArray<T> y(y_before);
  const QuantPlanes weights = PlanesOf(shape, planes.data());
  std::string failure =
      Failure(RepackWeights({.blocks = blocks.data(), .planes = weights, .shape = shape}, nullptr));
  if (!failure.empty()) return failure;
  failure = Failure(QuantiseRows<float>({.x = device_x.data(),
                                         .quants = quants.data(),
                                         .scales = scales.data(),
                                         .rows = tokens,
                                         .cols = shape.cols,
                                         .stride = shape.cols},
                                        nullptr));
  if (!failure.empty()) return failure;
  failure = Failure(launch({.quants = quants.data(),
                            .scales = scales.data(),
                            .weights = weights,
                            .shape = shape,
                            .y = y.data(),
                            .tokens = tokens,
                            .y_stride = y_stride}));
  if (!failure.empty()) return failure;

  const std::vector<int8_t> q = quants.Read();
  const std::vector<float2> s = scales.Read();
  std::vector<float> want = Floats(y_before);
  for (int64_t token = 0; token < tokens; ++token) {
    for (int64_t row = 0; row < shape.rows; ++row) {
      double sum = 0;
      for (int64_t i = 0; i < shape.cols; ++i) {
        const int64_t at = token * shape.cols + i;
        sum += double{matrix.weights[row * shape.cols + i]} * s[at / kUnitWeights].x * q[at];
      }
      want[token * y_stride + row] = static_cast<float>(sum);
    }
  }
  return Difference("y", Floats(y.Read()), want, {2e-4, kRounding<T>});
}

TEST_CASE("products with quantised weights") {
  std::vector<KernelCase> cases;
  for (const QuantFormat format : kQuantFormats) {
    const int64_t columns = QuantColumns(format);
    const std::string name = "format " + std::to_string(static_cast<int>(format));
    for (const int64_t tokens : {0, 1, 2, 3, 7, 8}) {
      cases.push_back({name + " tokens " + std::to_string(tokens), [=] {
                         return RunQuantGemv<float>({format, 11, columns}, tokens);
                       }});
    }
    for (const int64_t rows : {0, 1, 2, 8}) {
      cases.push_back({name + " rows " + std::to_string(rows), [=] {
                         return RunQuantGemv<__nv_bfloat16>({format, rows, 5 * columns}, 1);
                       }});
    }
    cases.push_back({name + " long rows", [=] {
                       return RunQuantGemv<float>({format, 3, 2304}, 2);
                     }});
  }
  CheckKernel(cases, Barriers::kNone);
}

TEST_CASE("other tiles give the same products") {
  std::vector<KernelCase> cases;
  for (int32_t variant = 0; variant < std::ssize(kQuantGemvVariants); ++variant) {
    const auto launch = [=](const QuantGemvArgs<__nv_bfloat16>& args) {
      return QuantGemvVariant(args, variant, nullptr);
    };
    for (const QuantFormat format : kQuantFormats) {
      const QuantShape shape = {format, 11, 5 * QuantColumns(format)};
      cases.push_back({std::string(kQuantGemvVariants[variant]) + " of format " +
                           std::to_string(static_cast<int>(format)),
                       [=] { return RunQuantGemv<__nv_bfloat16>(shape, 1, launch); }});
    }
  }
  CheckKernel(cases, Barriers::kNone);
}

TEST_CASE("products that a GEMM is for are refused") {
  alignas(16) unsigned char memory[16];
  QuantGemvArgs<float> args = {};
  args.shape = {QuantFormat::kQ8_0, 4, 64};
  args.weights.quants = memory;
  args.tokens = kGemvTokensMax + 1;
  CHECK(QuantGemv(args, nullptr) == cudaErrorInvalidValue);
  args.tokens = 1;
  args.shape.cols = 65;
  CHECK(QuantGemv(args, nullptr) == cudaErrorInvalidValue);
}

}  // namespace
}  // namespace baton::cuda
