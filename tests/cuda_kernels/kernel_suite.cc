#include "tests/cuda_kernels/kernel_suite.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <random>

#include "tests/support/cuda_host/asan.h"
#include "tests/support/cuda_host/child.h"
#include "tests/support/cuda_host/cuda_host.h"

namespace baton::cuda {
namespace {

std::string memory_error;

// AddressSanitizer looks at memory, which one order touches as well as three; orders and barriers
// are what other builds try.
std::vector<cuda_host::Order> Orders() {
  using cuda_host::OrderKind;
  if (cuda_host::kAsan) return {{OrderKind::kRandom, 20261122}};
  return {{OrderKind::kAscending}, {OrderKind::kDescending}, {OrderKind::kRandom, 20261122}};
}

std::string Run(const KernelCase& kernel_case) {
  TakeMemoryError();
  const std::string difference = kernel_case.run();
  const std::string memory = TakeMemoryError();
  return difference.empty() ? memory : difference;
}

}  // namespace

std::string TakeMemoryError() { return std::exchange(memory_error, ""); }

void NoteMemory(cudaError_t status) {
  if (status != cudaSuccess && memory_error.empty()) memory_error = Failure(status);
}

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
      CHECK(Run(kernel_case) == "");
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
          return Run(cases[i]).empty();
        });
      }
    }
    CHECK(noticed);
  }
  cuda_host::SetOrder({});
}

std::string Difference(const std::string& what, const std::vector<float>& got,
                       const std::vector<float>& want, const Tolerance& tolerance) {
  if (got.size() != want.size()) return what + ": sizes differ";
  for (size_t i = 0; i < got.size(); ++i) {
    const double g = got[i];
    const double w = want[i];
    if (g == w || (std::isnan(g) && std::isnan(w))) continue;
    if (!(std::fabs(g - w) <= tolerance.absolute + tolerance.relative * std::fabs(w))) {
      return what + "[" + std::to_string(i) + "] is " + std::to_string(g) + ", not " +
             std::to_string(w);
    }
  }
  return "";
}

std::vector<float> RandomFloats(size_t count, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::uniform_real_distribution<float> values(-1, 1);
  std::vector<float> floats(count);
  for (float& x : floats) x = values(random);
  return floats;
}

}  // namespace baton::cuda
