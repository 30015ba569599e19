#include "cuda_kernels/quantise_rows.h"

#include <catch2/catch.hpp>
#include <cmath>

#include "tests/cuda_kernels/kernel_suite.h"

namespace baton::cuda {
namespace {

template <typename T>
std::string RunQuantise(int64_t rows, int64_t cols, size_t skew) {
  const int64_t stride = cols + 8;
  std::vector<float> values = RandomFloats(static_cast<size_t>(rows * stride), 15);
  for (int64_t i = 0; i < 32 && rows > 1 && cols > 0; ++i) values[stride + i] = 0;
  if (rows > 2 && cols > 0) values[2 * stride + 5] = INFINITY;
  const std::vector<T> x = Converted<T>(values);
  std::vector<float> want_q(static_cast<size_t>(rows * cols));
  std::vector<float> want_scales;
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t first = 0; first < cols; first += 32) {
      const T* const from = x.data() + row * stride + first;
      float largest = 0;
      for (int i = 0; i < 32; ++i) largest = std::fmax(largest, std::fabs(ToFloat(from[i])));
      const bool finite = std::isfinite(largest);
      const float inverse = finite && largest > 0 ? 127 / largest : 0;
      float sum = 0;
      for (int i = 0; i < 32; ++i) {
        const float product = ToFloat(from[i]) * inverse;
        const float q = std::isnan(product) ? 0 : std::nearbyint(product);
        want_q[row * cols + first + i] = q;
        sum += q;
      }
      want_scales.push_back(finite ? largest / 127 : NAN);
      want_scales.push_back(want_scales.back() * sum);
    }
  }
  const DeviceArray<T> device_x(x, skew);
  const DeviceArray<int8_t> quants(want_q.size());
  const DeviceArray<float2> scales(want_scales.size() / 2);
  const std::string failure = Failure(QuantiseRows<T>({.x = device_x.data(),
                                                       .quants = quants.data(),
                                                       .scales = scales.data(),
                                                       .rows = rows,
                                                       .cols = cols,
                                                       .stride = stride},
                                                      nullptr));
  if (!failure.empty()) return failure;
  std::vector<float> got_scales;
  for (const float2& scale : scales.Read()) {
    got_scales.push_back(scale.x);
    got_scales.push_back(scale.y);
  }
  const std::vector<int8_t> got_q = quants.Read();
  const std::string difference =
      Difference("quants", std::vector<float>(got_q.begin(), got_q.end()), want_q, {});
  return difference.empty() ? Difference("scales", got_scales, want_scales, {1e-7, 1e-6})
                            : difference;
}

TEST_CASE("activations are rounded to int8 in groups of 32") {
  std::vector<KernelCase> cases;
  for (const int64_t rows : {0, 1, 4}) {
    for (const int64_t cols : {0, 32, 96, 1056}) {
      for (const size_t skew : {0, 1}) {
        const std::string name = "rows " + std::to_string(rows) + " cols " + std::to_string(cols);
        cases.push_back({"f32 " + name, [=] { return RunQuantise<float>(rows, cols, skew); }});
        cases.push_back(
            {"bf16 " + name, [=] { return RunQuantise<__nv_bfloat16>(rows, cols, skew); }});
      }
    }
  }
  CheckKernel(cases, Barriers::kNone);
}

TEST_CASE("rows that are not groups of 32 are refused") {
  CHECK(QuantiseRows<float>({.rows = 1, .cols = 33}, nullptr) == cudaErrorInvalidValue);
}

}  // namespace
}  // namespace baton::cuda
