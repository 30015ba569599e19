#include "tests/cuda_kernels/kernel_suite.h"

#include <cmath>
#include <random>
#include <utility>

namespace baton::cuda {
namespace {

std::string memory_error;

}  // namespace

std::string TakeMemoryError() { return std::exchange(memory_error, ""); }

void NoteMemory(cudaError_t status) {
  if (status != cudaSuccess && memory_error.empty()) memory_error = Failure(status);
}

std::string RunCase(const KernelCase& kernel_case) {
  TakeMemoryError();
  const std::string difference = kernel_case.run();
  const std::string memory = TakeMemoryError();
  return difference.empty() ? memory : difference;
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
