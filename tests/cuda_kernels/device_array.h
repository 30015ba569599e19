#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <cstdint>
#include <string>
#include <vector>

#include "cuda_kernels/vector_io.h"

namespace baton::cuda {

// What went wrong with device memory since the last call: a write outside an allocation.
std::string TakeMemoryError();
void NoteMemory(cudaError_t status);

// An array in device memory, of exactly its size; `skew` elements behind an aligned address.
template <typename T>
class DeviceArray {
 public:
  explicit DeviceArray(const std::vector<T>& values, size_t skew = 0)
      : DeviceArray(values.size(), skew) {
    NoteMemory(
        cudaMemcpy(data(), values.data(), values.size() * sizeof(T), cudaMemcpyHostToDevice));
  }
  // Holds no data.
  explicit DeviceArray(size_t size, size_t skew = 0) : size_(size), skew_(skew) {
    void* memory = nullptr;
    NoteMemory(cudaMalloc(&memory, (size + skew) * sizeof(T)));
    memory_ = static_cast<T*>(memory);
  }
  ~DeviceArray() { NoteMemory(cudaFree(memory_)); }
  DeviceArray(const DeviceArray&) = delete;
  DeviceArray& operator=(const DeviceArray&) = delete;

  T* data() const { return memory_ + skew_; }
  size_t size() const { return size_; }
  std::vector<T> Read() const {
    std::vector<T> values(size_);
    NoteMemory(cudaDeviceSynchronize());
    NoteMemory(cudaMemcpy(values.data(), data(), size_ * sizeof(T), cudaMemcpyDeviceToHost));
    return values;
  }

 private:
  T* memory_ = nullptr;
  size_t size_;
  size_t skew_;
};

template <typename T>
std::vector<T> Converted(const std::vector<float>& values) {
  std::vector<T> converted(values.size());
  for (size_t i = 0; i < values.size(); ++i) FromFloat(values[i], converted[i]);
  return converted;
}
template <typename T>
std::vector<float> Floats(const std::vector<T>& values) {
  std::vector<float> floats(values.size());
  for (size_t i = 0; i < values.size(); ++i) floats[i] = ToFloat(values[i]);
  return floats;
}

// How far an element of T may be from what f64 gives.
template <typename T>
constexpr double kRounding = sizeof(T) == 4 ? 1e-5 : 0x1p-8;

}  // namespace baton::cuda
