#include "cuda_kernels/layer_norm.h"

#include <catch2/catch.hpp>
#include <cmath>

#include "cuda_kernels/rms_norm.h"
#include "tests/cuda_kernels/kernel_suite.h"

namespace baton::cuda {
namespace {

struct Shape {
  int64_t rows;
  int64_t dim;
  bool branch = true;
  bool biases = true;
  bool y = true;
  bool post_norm = false;
  size_t skew = 0;
};

constexpr double kEpsilon = 1e-5;

// In f64, of a row that lies far from zero, where squares would cancel.
template <typename T>
std::string RunLayerNorm(const Shape& s) {
  const auto count = static_cast<size_t>(s.rows * s.dim);
  const auto dim = static_cast<size_t>(s.dim);
  std::vector<float> x = RandomFloats(count, 2);
  for (float& v : x) v += 20;
  const std::vector<T> branch = RandomElements<T>(count, 3);
  const std::vector<float> weight = RandomFloats(dim, 4);
  const std::vector<float> bias = RandomFloats(dim, 5);
  const std::vector<float> branch_bias = RandomFloats(dim, 6);
  const DeviceArray<float> device_x(x, s.skew);
  const DeviceArray<T> device_branch(branch, s.skew);
  const DeviceArray<float> device_weight(weight, s.skew);
  const DeviceArray<float> device_bias(bias, s.skew);
  const DeviceArray<float> device_branch_bias(branch_bias, s.skew);
  const DeviceArray<T> y(count, s.skew);

  std::vector<float> want(count);
  for (size_t row = 0; row < static_cast<size_t>(s.rows); ++row) {
    float* const its = x.data() + row * dim;
    double sum = 0;
    for (size_t i = 0; i < dim; ++i) {
      if (s.branch) its[i] += ToFloat(branch[row * dim + i]) + (s.biases ? branch_bias[i] : 0);
      sum += its[i];
    }
    const double mean = sum / static_cast<double>(dim);
    double squares = 0;
    for (size_t i = 0; i < dim; ++i) squares += (its[i] - mean) * (its[i] - mean);
    const double deviation = std::sqrt(squares / static_cast<double>(dim) + kEpsilon);
    for (size_t i = 0; i < dim; ++i) {
      want[row * dim + i] =
          static_cast<float>((its[i] - mean) / deviation * weight[i] + (s.biases ? bias[i] : 0));
      if (s.post_norm) its[i] = want[row * dim + i];
    }
  }
  const std::string failure =
      Failure(LayerNorm<T>({.x = device_x.data(),
                            .branch = s.branch ? device_branch.data() : nullptr,
                            .branch_bias = s.biases ? device_branch_bias.data() : nullptr,
                            .weight = device_weight.data(),
                            .bias = s.biases ? device_bias.data() : nullptr,
                            .y = s.y ? y.data() : nullptr,
                            .rows = s.rows,
                            .dim = s.dim,
                            .epsilon = static_cast<float>(kEpsilon),
                            .post_norm = s.post_norm},
                           nullptr));
  if (!failure.empty()) return failure;
  const Tolerance of_x = {s.post_norm ? 5e-5 : 1e-5, 1e-5};
  const std::string difference = Difference("x", device_x.Read(), x, of_x);
  if (!difference.empty() || !s.y) return difference;
  return Difference("y", Floats(y.Read()), want, {5e-5, kRounding<T>});
}

TEST_CASE("the residual stream takes a branch and is normalised around its mean") {
  std::vector<KernelCase> cases;
  const auto with = [&](const std::string& name, const Shape& shape) {
    cases.push_back({"f32, " + name, [=] { return RunLayerNorm<float>(shape); }});
    cases.push_back({"bf16, " + name, [=] { return RunLayerNorm<__nv_bfloat16>(shape); }});
  };
  for (const int64_t dim : {0, 1, 31, 64, 384, 1000, 2056, 9000}) {
    for (const size_t skew : {0, 1}) {
      with("dim " + std::to_string(dim) + " skew " + std::to_string(skew),
           {.rows = dim > 1000 ? 1 : 3, .dim = dim, .skew = skew});
    }
  }
  with("no rows", {.rows = 0, .dim = 8});
  with("no branch", {.rows = 2, .dim = 288, .branch = false});
  with("no biases", {.rows = 2, .dim = 288, .biases = false});
  with("no y", {.rows = 2, .dim = 288, .y = false});
  with("normalised in place", {.rows = 2, .dim = 288, .post_norm = true});
  with("normalised in place, no y", {.rows = 2, .dim = 77, .y = false, .post_norm = true});
  with("the largest dim", {.rows = 1, .dim = kNormDimMax, .skew = 0});
  CheckKernel(cases, Barriers::kAll);
}

TEST_CASE("a layer of a dim that no block holds is refused") {
  float x = 0;
  CHECK(LayerNorm<float>({.x = &x, .rows = 1, .dim = kNormDimMax + 1}, nullptr) ==
        cudaErrorInvalidValue);
}

}  // namespace
}  // namespace baton::cuda
