#include "tests/support/cuda_host/cuda_host.h"

#include <catch2/catch.hpp>

#include "tests/cuda_kernels/kernel_suite.h"
#include "tests/support/cuda_host/asan.h"
#include "tests/support/cuda_host/child.h"

namespace baton::cuda {
namespace {

// AddressSanitizer looks at memory, which one order touches as well as three; orders and barriers
// are what other builds try.
std::vector<cuda_host::Order> Orders() {
  using cuda_host::OrderKind;
  if (cuda_host::kAsan) return {{OrderKind::kRandom, 20261122}};
  return {{OrderKind::kAscending}, {OrderKind::kDescending}, {OrderKind::kRandom, 20261122}};
}

}  // namespace

std::string Failure(cudaError_t status) {
  if (status == cudaSuccess) return "";
  return std::string(cudaGetErrorString(status)) + ": " + cuda_host::LastError();
}

void CheckKernel(const std::vector<KernelCase>& cases, Barriers barriers) {
  cuda_host::ForgetSites();
  for (const cuda_host::Order& order : Orders()) {
    cuda_host::SetOrder(order);
    for (const KernelCase& kernel_case : cases) {
      INFO(kernel_case.name << ", " << cuda_host::Name(order));
      CHECK(RunCase(kernel_case) == "");
    }
  }
  const std::vector<std::string> sites = cuda_host::Sites();
  CHECK(sites.empty() == (barriers == Barriers::kNone));
  if (cuda_host::kAsan) return cuda_host::SetOrder({});
  for (const std::string& site : sites) {
    INFO("nothing notices that the barrier is missing at " << site);
    bool noticed = false;
    for (const cuda_host::Order& order : Orders()) {
      for (size_t i = 0; i < cases.size() && !noticed; ++i) {
        noticed = !cuda_host::SucceedsInChild([&] {
          cuda_host::SetOrder(order);
          cuda_host::SkipSite(site);
          return RunCase(cases[i]).empty();
        });
      }
    }
    CHECK(noticed);
  }
  cuda_host::SetOrder({});
}

}  // namespace baton::cuda
