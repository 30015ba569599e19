#include "cuda_kernels/float_gemv.h"

#include <catch2/catch.hpp>

#include "tests/cuda_kernels/kernel_suite.h"

namespace baton::cuda {
namespace {

struct Shape {
  int64_t tokens;
  int64_t rows;
  int64_t cols;
  size_t skew = 0;
};

template <typename W, typename T>
struct Products {
  explicit Products(const Shape& s)
      : shape(s),
        x(RandomElements<T>(static_cast<size_t>(s.tokens * (s.cols + kGap)), 3)),
        weights(RandomElements<W>(static_cast<size_t>(s.rows * (s.cols + kGap)), 4)),
        y(RandomElements<T>(static_cast<size_t>(s.tokens * (s.rows + kGap)), 5)) {}

  // y's rows, by the kernel; those behind them as they were.
  std::string Run(std::vector<float>* got) const {
    const DeviceArray<T> device_x(x, shape.skew);
    const DeviceArray<W> device_weights(weights, shape.skew);
    const DeviceArray<T> device_y(y, shape.skew);
    const std::string failure = Failure(FloatGemv<W, T>({.x = device_x.data(),
                                                         .weights = device_weights.data(),
                                                         .y = device_y.data(),
                                                         .tokens = shape.tokens,
                                                         .rows = shape.rows,
                                                         .cols = shape.cols,
                                                         .x_stride = shape.cols + kGap,
                                                         .weight_stride = shape.cols + kGap,
                                                         .y_stride = shape.rows + kGap},
                                                        nullptr));
    *got = Floats(device_y.Read());
    return failure;
  }

  static constexpr int64_t kGap = 8;
  Shape shape;
  std::vector<T> x;
  std::vector<W> weights;
  std::vector<T> y;
};

template <typename W, typename T>
std::string RunFloatGemv(const Shape& s) {
  const Products<W, T> products(s);
  std::vector<float> got;
  const std::string failure = products.Run(&got);
  if (!failure.empty()) return failure;
  const int64_t stride = s.cols + products.kGap;
  std::vector<float> want = Floats(products.y);
  for (int64_t token = 0; token < s.tokens; ++token) {
    for (int64_t row = 0; row < s.rows; ++row) {
      double sum = 0;
      for (int64_t i = 0; i < s.cols; ++i) {
        sum += double{ToFloat(products.x[token * stride + i])} *
               ToFloat(products.weights[row * stride + i]);
      }
      want[token * (s.rows + products.kGap) + row] = static_cast<float>(sum);
    }
  }
  return Difference("y", got, want, {1e-4, kRounding<T>});
}

TEST_CASE("products with unquantised weights") {
  std::vector<KernelCase> cases;
  const auto with = [&](const std::string& name, const Shape& s) {
    cases.push_back({"f32, f32, " + name, [=] { return RunFloatGemv<float, float>(s); }});
    cases.push_back({"f16, f32, " + name, [=] { return RunFloatGemv<__half, float>(s); }});
    cases.push_back(
        {"bf16, bf16, " + name, [=] { return RunFloatGemv<__nv_bfloat16, __nv_bfloat16>(s); }});
    cases.push_back({"f32, bf16, " + name, [=] { return RunFloatGemv<float, __nv_bfloat16>(s); }});
    cases.push_back({"f16, bf16, " + name, [=] { return RunFloatGemv<__half, __nv_bfloat16>(s); }});
    cases.push_back({"bf16, f32, " + name, [=] { return RunFloatGemv<__nv_bfloat16, float>(s); }});
  };
  for (const int64_t tokens : {0, 1, 2, 3, 7, 9, 16}) {
    with("tokens " + std::to_string(tokens), {tokens, 11, 96});
    with("ragged, tokens " + std::to_string(tokens), {tokens, 5, 45, 1});
  }
  for (const int64_t rows : {0, 1, 2, 8, 33}) {
    with("rows " + std::to_string(rows), {1, rows, 264});
  }
  with("no columns", {2, 3, 0});
  with("one column", {2, 3, 1});
  with("long rows", {2, 3, 2304});
  CheckKernel(cases, Barriers::kNone);
}

TEST_CASE("a row's products are the same bits in any company") {
  std::vector<float> all;
  REQUIRE(Products<__half, float>({16, 9, 1000}).Run(&all) == "");
  for (const int64_t tokens : {1, 2, 4, 5}) {
    std::vector<float> some;
    REQUIRE(Products<__half, float>({tokens, 9, 1000}).Run(&some) == "");
    for (size_t token = 0; token < static_cast<size_t>(tokens); ++token) {
      for (size_t row = 0; row < 9; ++row) {
        CHECK(some[token * 17 + row] == all[token * 17 + row]);
      }
    }
  }
}

TEST_CASE("products with more tokens are a GEMM's") {
  CHECK(FloatGemv<float, float>({.tokens = kFloatGemvTokensMax + 1}, nullptr) ==
        cudaErrorInvalidValue);
}

}  // namespace
}  // namespace baton::cuda
