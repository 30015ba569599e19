#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "tests/cuda_kernels/device_array.h"

namespace baton::cuda {

// One call of a launcher, compared with its naive twin.
struct KernelCase {
  std::string name;
  std::function<std::string()> run;  // "": as the twin has it; else the first difference
};

// Its difference, or else what went wrong with device memory.
std::string RunCase(const KernelCase& kernel_case);

enum class Barriers { kAll, kNone };
// On a device (kernel_suite_device.cc) each case runs once. On the host runtime every case must
// agree with its twin, in every order of threads and blocks. Then each barrier that the cases pass
// is left out in turn, and some case must notice. kNone: the kernel has no barrier, which is
// checked. With AddressSanitizer there is one order, and no barrier is left out.
void CheckKernel(const std::vector<KernelCase>& cases, Barriers barriers);

// |got - want| <= absolute + relative * |want|, for each; NaN where the other is.
struct Tolerance {
  double absolute = 0;
  double relative = 0;
};
std::string Difference(const std::string& what, const std::vector<float>& got,
                       const std::vector<float>& want, const Tolerance& tolerance);
template <typename T>
std::string DifferenceExact(const std::string& what, const std::vector<T>& got,
                            const std::vector<T>& want) {
  if (got.size() != want.size()) return what + ": sizes differ";
  for (size_t i = 0; i < got.size(); ++i) {
    if (got[i] != want[i]) {
      return what + "[" + std::to_string(i) + "] is " + std::to_string(got[i]) + ", not " +
             std::to_string(want[i]);
    }
  }
  return "";
}
// "": the launch succeeded.
std::string Failure(cudaError_t status);

// Values in [-1, 1), rounded to T.
std::vector<float> RandomFloats(size_t count, uint64_t seed);
template <typename T>
std::vector<T> RandomElements(size_t count, uint64_t seed) {
  return Converted<T>(RandomFloats(count, seed));
}

}  // namespace baton::cuda
