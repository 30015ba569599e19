#include "cuda_kernels/cap_logits.h"

#include <catch2/catch.hpp>
#include <cmath>

#include "tests/cuda_kernels/kernel_suite.h"

namespace baton::cuda {
namespace {

std::string RunCapLogits(int64_t count, float cap, size_t skew) {
  std::vector<float> x = RandomFloats(static_cast<size_t>(count), 8);
  std::vector<float> want;
  for (float& value : x) {
    value *= 90;
    want.push_back(static_cast<float>(cap * std::tanh(double{value} / cap)));
  }
  const DeviceArray<float> device_x(x, skew);
  const std::string failure =
      Failure(CapLogits({.x = device_x.data(), .count = count, .cap = cap}, nullptr));
  return failure.empty() ? Difference("x", device_x.Read(), want, {1e-6, 1e-6}) : failure;
}

TEST_CASE("logits are capped") {
  std::vector<KernelCase> cases;
  for (const int64_t count : {0, 1, 255, 1024, 1025, 5000}) {
    for (const size_t skew : {0, 1}) {
      cases.push_back({std::to_string(count) + " skew " + std::to_string(skew),
                       [=] { return RunCapLogits(count, 30, skew); }});
    }
  }
  cases.push_back({"a small cap", [] { return RunCapLogits(300, 0.5f, 0); }});
  CheckKernel(cases, Barriers::kNone);
}

TEST_CASE("more logits than a grid has blocks are refused") {
  CHECK(CapLogits({.x = nullptr, .count = int64_t{1} << 42, .cap = 1}, nullptr) ==
        cudaErrorInvalidValue);
}

}  // namespace
}  // namespace baton::cuda
