#include "cuda_kernels/add_bias.h"

#include <catch2/catch.hpp>
#include <cmath>

#include "tests/cuda_kernels/kernel_suite.h"

namespace baton::cuda {
namespace {

template <typename T>
std::string RunAddBias(int64_t rows, int64_t dim, BiasThen then, size_t skew) {
  std::vector<float> values = RandomFloats(static_cast<size_t>(rows * dim), 6);
  for (float& x : values) x *= 8;
  const std::vector<T> x = Converted<T>(values);
  const std::vector<float> bias = RandomFloats(static_cast<size_t>(dim), 7);
  std::vector<float> want(values.size());
  for (int64_t i = 0; i < rows * dim; ++i) {
    const double v = double{ToFloat(x[i])} + bias[i % dim];
    const double gelu = 0.5 * v * std::erfc(-v / std::sqrt(2.0));
    want[i] = static_cast<float>(then == BiasThen::kGelu ? gelu : v);
  }
  const DeviceArray<T> device_x(x, skew);
  const DeviceArray<float> device_bias(bias, skew);
  const std::string failure = Failure(AddBias<T>(
      {.x = device_x.data(), .bias = device_bias.data(), .rows = rows, .dim = dim, .then = then},
      nullptr));
  if (!failure.empty()) return failure;
  return Difference("x", Floats(device_x.Read()), want, {1e-6, kRounding<T> + 1e-5});
}

TEST_CASE("a bias is added to rows, which then go through gelu or not") {
  std::vector<KernelCase> cases;
  for (const BiasThen then : {BiasThen::kNothing, BiasThen::kGelu}) {
    for (const int64_t rows : {0, 1, 4}) {
      for (const int64_t dim : {0, 1, 8, 37, 768, 2056}) {
        for (const size_t skew : {0, 1}) {
          const std::string name = "rows " + std::to_string(rows) + " dim " + std::to_string(dim) +
                                   " skew " + std::to_string(skew) +
                                   (then == BiasThen::kGelu ? " gelu" : "");
          cases.push_back(
              {"f32 " + name, [=] { return RunAddBias<float>(rows, dim, then, skew); }});
          cases.push_back(
              {"bf16 " + name, [=] { return RunAddBias<__nv_bfloat16>(rows, dim, then, skew); }});
        }
      }
    }
  }
  CheckKernel(cases, Barriers::kNone);
}

}  // namespace
}  // namespace baton::cuda
