#include "cuda_kernels/gate.h"

#include <catch2/catch.hpp>
#include <cmath>

#include "tests/cuda_kernels/kernel_suite.h"

namespace baton::cuda {
namespace {

double NaiveActivate(double x, GateKind kind) {
  if (kind == GateKind::kSilu) return x / (1 + std::exp(-x));
  return 0.5 * x * (1 + std::tanh(0.7978845608028654 * (x + 0.044715 * x * x * x)));
}

// Gate and up are the halves of each row of one product.
template <typename T>
std::string RunGate(int64_t rows, int64_t dim, GateKind kind, size_t skew) {
  std::vector<float> values = RandomFloats(static_cast<size_t>(2 * rows * dim), 6);
  for (float& x : values) x *= 12;
  const std::vector<T> product = Converted<T>(values);
  std::vector<float> want(static_cast<size_t>(rows * dim));
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t i = 0; i < dim; ++i) {
      want[row * dim + i] =
          static_cast<float>(NaiveActivate(ToFloat(product[row * 2 * dim + i]), kind) *
                             ToFloat(product[row * 2 * dim + dim + i]));
    }
  }
  const DeviceArray<T> in(product, skew);
  const DeviceArray<T> y(want.size(), skew);
  const std::string failure = Failure(Gate<T>({.gate = in.data(),
                                               .up = in.data() + dim,
                                               .y = y.data(),
                                               .rows = rows,
                                               .dim = dim,
                                               .stride = 2 * dim,
                                               .y_stride = dim,
                                               .kind = kind},
                                              nullptr));
  return failure.empty() ? Difference("y", Floats(y.Read()), want, {1e-5, kRounding<T>}) : failure;
}

TEST_CASE("gates multiply in both activations") {
  std::vector<KernelCase> cases;
  for (const GateKind kind : {GateKind::kSilu, GateKind::kGelu}) {
    for (const int64_t rows : {0, 1, 4}) {
      for (const int64_t dim : {0, 1, 8, 37, 768, 2056}) {
        for (const size_t skew : {0, 1}) {
          const std::string name = std::string(kind == GateKind::kSilu ? "silu" : "gelu") +
                                   " rows " + std::to_string(rows) + " dim " + std::to_string(dim) +
                                   " skew " + std::to_string(skew);
          cases.push_back({"f32 " + name, [=] { return RunGate<float>(rows, dim, kind, skew); }});
          cases.push_back(
              {"bf16 " + name, [=] { return RunGate<__nv_bfloat16>(rows, dim, kind, skew); }});
        }
      }
    }
  }
  CheckKernel(cases, Barriers::kNone);
}

}  // namespace
}  // namespace baton::cuda
