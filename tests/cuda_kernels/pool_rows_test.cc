#include "cuda_kernels/pool_rows.h"

#include <catch2/catch.hpp>

#include "tests/cuda_kernels/kernel_suite.h"

namespace baton::cuda {
namespace {

struct Pools {
  std::vector<int32_t> begins;
  std::vector<int32_t> ends;
};

std::string RunPoolRows(const Pools& pools, int64_t dim) {
  constexpr int64_t kRows = 70;
  const std::vector<float> x = RandomFloats(static_cast<size_t>(kRows * dim), 3);
  std::vector<float> want;
  for (size_t pool = 0; pool < pools.begins.size(); ++pool) {
    for (int64_t i = 0; i < dim; ++i) {
      double sum = 0;
      for (int32_t row = pools.begins[pool]; row < pools.ends[pool]; ++row) sum += x[row * dim + i];
      want.push_back(static_cast<float>(sum));
    }
  }
  const DeviceArray<float> device_x(x);
  const DeviceArray<int32_t> begins(pools.begins);
  const DeviceArray<int32_t> ends(pools.ends);
  const DeviceArray<float> y(want.size());
  const std::string failure = Failure(PoolRows({.x = device_x.data(),
                                                .begins = begins.data(),
                                                .ends = ends.data(),
                                                .y = y.data(),
                                                .pools = std::ssize(pools.begins),
                                                .dim = dim},
                                               nullptr));
  return failure.empty() ? Difference("y", y.Read(), want, {1e-5, 1e-6}) : failure;
}

TEST_CASE("rows are added up pool by pool") {
  std::vector<KernelCase> cases;
  for (const int64_t dim : {0, 1, 37, 128, 300}) {
    const std::string name = " dim " + std::to_string(dim);
    cases.push_back({"some" + name, [=] {
                       return RunPoolRows({{0, 3, 9, 9, 69}, {3, 9, 9, 70, 70}}, dim);
                     }});
    cases.push_back({"none" + name, [=] { return RunPoolRows({}, dim); }});
  }
  CheckKernel(cases, Barriers::kNone);
}

}  // namespace
}  // namespace baton::cuda
