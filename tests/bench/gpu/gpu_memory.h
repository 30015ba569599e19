#pragma once

#include <cuda_bf16.h>

#include <cstdint>
#include <vector>

#include "cuda_kernels/quant_gemv.h"
#include "cuda_kernels/quant_planes.h"
#include "tests/bench/gpu/bench_kernels.h"
#include "tests/bench/gpu/gpu_bench.h"

namespace baton::gpu_bench {

// Memory of one measurement, random, freed behind it. The first failure stays.
class RandomMemory {
 public:
  explicit RandomMemory(const Bench& bench) : bench_(bench) {}
  Error error() const { return error_; }

  __nv_bfloat16* Bf16s(int64_t count) {
    auto* const memory = Take<__nv_bfloat16>(count);
    Note(Fill(memory, FillUniform{count, 1, ++seed_}, bench_.stream));
    return memory;
  }
  float* Floats(int64_t count) {
    auto* const memory = Take<float>(count);
    Note(Fill(memory, FillUniform{count, 1, ++seed_}, bench_.stream));
    return memory;
  }
  template <typename T>
  T* Words(int64_t count) {
    auto* const memory = Take<T>(count);
    const int64_t words = count * static_cast<int64_t>(sizeof(T)) / 4;
    Note(FillWords(reinterpret_cast<uint32_t*>(memory), words, ++seed_, bench_.stream));
    return memory;
  }
  template <typename T>
  T* Copied(const std::vector<T>& values) {
    auto* const memory = Take<T>(std::ssize(values));
    Note(cudaMemcpy(memory, values.data(), values.size() * sizeof(T), cudaMemcpyHostToDevice));
    return memory;
  }
  // Scales of planes are f16: random bits would be infinite, too.
  cuda::QuantPlanes Planes(const cuda::QuantShape& shape) {
    const cuda::QuantLayout layout = cuda::LayOut(shape);
    auto* const memory = Words<unsigned char>(layout.bytes / 4 * 4);
    Note(cudaMemsetAsync(memory + layout.scales, 0x21,
                         static_cast<size_t>(layout.bytes - layout.scales), bench_.stream));
    return cuda::PlanesOf(shape, memory);
  }

 private:
  template <typename T>
  T* Take(int64_t count) {
    buffers_.emplace_back();
    const Error error = buffers_.back().Allocate(count * static_cast<int64_t>(sizeof(T)) + 16);
    if (error_.empty()) error_ = error;
    return buffers_.back().as<T>();
  }
  void Note(cudaError_t status) {
    if (error_.empty()) error_ = ErrorOf(status, "filling");
  }

  const Bench& bench_;
  std::vector<Buffer> buffers_;
  uint64_t seed_ = 0;
  Error error_;
};

// One token against weights.
inline cuda::QuantGemvArgs<__nv_bfloat16> QuantGemvInput(RandomMemory& memory,
                                                         const cuda::QuantShape& shape) {
  return {.quants = memory.Words<int8_t>(shape.cols),
          .scales = reinterpret_cast<float2*>(memory.Floats(shape.cols / 32 * 2)),
          .weights = memory.Planes(shape),
          .shape = shape,
          .y = memory.Bf16s(shape.rows),
          .tokens = 1,
          .y_stride = shape.rows};
}

}  // namespace baton::gpu_bench
