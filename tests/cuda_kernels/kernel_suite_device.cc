// The suite on a device: the kernels as nvcc compiled them. Orders of threads are the device's own,
// and what a missing barrier does is for compute-sanitizer's racecheck.
#define CATCH_CONFIG_RUNNER
#include <catch2/catch.hpp>
#include <cstdio>

#include "tests/cuda_kernels/kernel_suite.h"

namespace baton::cuda {

std::string Failure(cudaError_t status) {
  return status == cudaSuccess
             ? ""
             : std::string(cudaGetErrorName(status)) + ": " + cudaGetErrorString(status);
}

void CheckKernel(const std::vector<KernelCase>& cases, Barriers) {
  for (const KernelCase& kernel_case : cases) {
    INFO(kernel_case.name);
    CHECK(RunCase(kernel_case) == "");
  }
}

}  // namespace baton::cuda

// 77: there is no device, and nothing was tested.
int main(int argc, char** argv) {
  int devices = 0;
  const cudaError_t status = cudaGetDeviceCount(&devices);
  if (status != cudaSuccess || devices == 0) {
    std::printf("no device: %s\n", cudaGetErrorString(status));
    return 77;
  }
  return Catch::Session().run(argc, argv);
}
