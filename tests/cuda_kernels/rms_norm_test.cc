#include "cuda_kernels/rms_norm.h"

#include <catch2/catch.hpp>
#include <cmath>

#include "tests/cuda_kernels/kernel_suite.h"

namespace baton::cuda {
namespace {

struct Shape {
  int64_t rows;
  int64_t dim;
  bool branch;
  bool branch_weight;
  bool y;
  size_t skew;
  bool branch_bias = false;
};

void NaiveNorm(const float* x, const std::vector<float>& weight, float* y) {
  double sum = 0;
  const size_t dim = weight.size();
  for (size_t i = 0; i < dim; ++i) sum += double{x[i]} * x[i];
  const double rms = std::sqrt(sum / static_cast<double>(dim) + 1e-5);
  for (size_t i = 0; i < dim; ++i) y[i] = static_cast<float>(x[i] / rms * weight[i]);
}

template <typename T>
std::string RunRmsNorm(const Shape& s) {
  const auto count = static_cast<size_t>(s.rows * s.dim);
  std::vector<float> x = RandomFloats(count, 2);
  const std::vector<T> branch = RandomElements<T>(count, 3);
  const std::vector<float> weight = RandomFloats(static_cast<size_t>(s.dim), 4);
  const std::vector<float> branch_weight = RandomFloats(static_cast<size_t>(s.dim), 5);
  const std::vector<float> branch_bias = RandomFloats(static_cast<size_t>(s.dim), 6);
  const DeviceArray<float> device_x(x, s.skew);
  const DeviceArray<T> device_branch(branch, s.skew);
  const DeviceArray<float> device_weight(weight, s.skew);
  const DeviceArray<float> device_branch_weight(branch_weight, s.skew);
  const DeviceArray<float> device_branch_bias(branch_bias, s.skew);
  const DeviceArray<T> y(count, s.skew);

  std::vector<float> want(count);
  for (int64_t row = 0; row < s.rows; ++row) {
    float* const x_row = x.data() + row * s.dim;
    if (s.branch) {
      std::vector<float> added(static_cast<size_t>(s.dim));
      for (int64_t i = 0; i < s.dim; ++i) {
        added[i] = ToFloat(branch[row * s.dim + i]) + (s.branch_bias ? branch_bias[i] : 0);
      }
      if (s.branch_weight) NaiveNorm(added.data(), branch_weight, added.data());
      for (int64_t i = 0; i < s.dim; ++i) x_row[i] += added[i];
    }
    NaiveNorm(x_row, weight, want.data() + row * s.dim);
  }
  const std::string failure =
      Failure(RmsNorm<T>({.x = device_x.data(),
                          .branch = s.branch ? device_branch.data() : nullptr,
                          .branch_bias = s.branch_bias ? device_branch_bias.data() : nullptr,
                          .branch_weight = s.branch_weight ? device_branch_weight.data() : nullptr,
                          .weight = device_weight.data(),
                          .y = s.y ? y.data() : nullptr,
                          .rows = s.rows,
                          .dim = s.dim,
                          .epsilon = 1e-5f},
                         nullptr));
  if (!failure.empty()) return failure;
  const std::string difference = Difference("x", device_x.Read(), x, {1e-5, 1e-5});
  if (!difference.empty() || !s.y) return difference;
  return Difference("y", Floats(y.Read()), want, {1e-6, kRounding<T>});
}

TEST_CASE("the residual stream takes a branch and is normalised") {
  std::vector<KernelCase> cases;
  for (const int64_t rows : {0, 1, 3}) {
    for (const int64_t dim : {0, 1, 31, 64, 288, 1000, 2056, 4096, 9000}) {
      if (rows == 3 && dim > 2056) continue;
      for (const size_t skew : {0, 1}) {
        const std::string name = "rows " + std::to_string(rows) + " dim " + std::to_string(dim) +
                                 " skew " + std::to_string(skew);
        const Shape shape = {rows, dim, true, false, true, skew};
        cases.push_back({"f32 " + name, [=] { return RunRmsNorm<float>(shape); }});
        cases.push_back({"bf16 " + name, [=] { return RunRmsNorm<__nv_bfloat16>(shape); }});
      }
    }
  }
  const auto with = [&](const std::string& name, const Shape& shape) {
    cases.push_back({name, [=] { return RunRmsNorm<float>(shape); }});
    cases.push_back({"bf16, " + name, [=] { return RunRmsNorm<__nv_bfloat16>(shape); }});
  };
  with("no branch", {2, 288, false, false, true, 0});
  with("no y", {2, 288, true, false, false, 0});
  with("a branch that is normalised", {2, 288, true, true, true, 0});
  with("a ragged branch that is normalised", {2, 77, true, true, true, 1});
  with("a branch with a bias", {2, 288, true, false, true, 0, true});
  with("a ragged branch with a bias that is normalised", {2, 77, true, true, true, 1, true});
  with("the largest dim", {1, kNormDimMax, true, true, true, 0});
  CheckKernel(cases, Barriers::kAll);
}

TEST_CASE("a dim that no block holds is refused") {
  float x = 0;
  CHECK(RmsNorm<float>({.x = &x, .rows = 1, .dim = kNormDimMax + 1}, nullptr) ==
        cudaErrorInvalidValue);
}

}  // namespace
}  // namespace baton::cuda
