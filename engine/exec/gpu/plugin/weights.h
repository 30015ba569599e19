#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <initializer_list>
#include <vector>

#include "cuda_kernels/quant_planes.h"
#include "engine/exec/gpu/plugin/arena.h"
#include "engine/exec/gpu/plugin/device.h"

namespace baton::gpu {

// A matrix of weights on the device, [rows, cols]: of one of the file's, or of several below one
// another whose products have the same input.
struct DeviceMatrix {
  // Consecutive rows of one kind.
  struct Part {
    int64_t first_row = 0;
    int64_t rows = 0;
    const void* dense = nullptr;  // [rows, cols] of the activations' type, row-major; or
    cuda::QuantPlanes planes = {};
    cuda::QuantShape shape = {};
    bool quantised = false;
  };
  std::vector<Part> parts;
  int64_t rows = 0;
  int64_t cols = 0;
};

// Of its largest quantised part; 0: there is none.
int64_t QuantisedWeights(const DeviceMatrix& w);

// Puts a file's weights into an arena of the device: Q8_0, Q4_0, Q4_K and Q6_K as planes of what
// they are, all other types as T. While the arena counts, nothing is copied. T: float or
// __nv_bfloat16. From one thread; the device and the arena outlive it.
template <typename T>
class WeightLoader {
 public:
  WeightLoader(Device& device, Arena& arena) : device_(device), arena_(arena) {}

  // Takes the memory it works with. Once, before anything is put into an arena with memory.
  Fault Start();
  Fault Load(std::initializer_list<const baton_matrix*> matrices, DeviceMatrix* loaded);
  // The matrix as T, whatever it was.
  Fault LoadDense(const baton_matrix& matrix, const T** loaded);
  bool counting() const { return arena_.counting(); }
  // `count` floats; null for null.
  Fault LoadVector(const float* values, int64_t count, const float** loaded);
  // Until all that was put is there.
  Fault Finish() { return stream_.Wait(); }

 private:
  Fault LoadPart(std::initializer_list<const baton_matrix*> all, size_t begin, size_t end,
                 DeviceMatrix::Part* part);
  Fault CopyDense(const baton_matrix& matrix, T* to);
  Fault CopyPlanes(const baton_matrix& matrix, int64_t first_unit, const DeviceMatrix::Part& part);
  Fault Send(int64_t bytes, void* to);  // of staging_

  Device& device_;
  Arena& arena_;
  Stream stream_;
  PinnedMemory staging_;
  DeviceMemory blocks_;  // of the file, on their way to planes
  std::vector<float> row_;
};

// What GGUF's type is as planes; false: it has none.
bool HasPlanes(uint32_t gguf_type, cuda::QuantFormat* format);

}  // namespace baton::gpu
