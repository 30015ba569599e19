#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "engine/exec/executor_abi.h"
#include "engine/exec/gpu/plugin/device.h"
#include "tests/bench/gpu/gpu_report.h"
#include "tests/bench/gpu/sustained.h"

namespace baton::gpu_bench {

// What went wrong, or "". A part that fails says so for its figures, and the others go on, unless
// the device is lost.
using Error = std::string;
Error ErrorOf(cudaError_t status, const char* what);

// Device memory, or none and why.
class Buffer {
 public:
  Buffer() = default;
  Buffer(Buffer&& other) noexcept { std::swap(data_, other.data_); }
  Buffer& operator=(Buffer&& other) noexcept {
    std::swap(data_, other.data_);
    return *this;
  }
  ~Buffer() { cudaFree(data_); }
  Error Allocate(int64_t bytes);
  template <typename T>
  T* as() const {
    return static_cast<T*>(data_);
  }

 private:
  void* data_ = nullptr;
};

// What all parts share. From one thread.
struct Bench {
  bool tiny = false;
  uint64_t seed = 1;
  GpuReport* report = nullptr;
  gpu::Device* device = nullptr;
  const baton_host* host = nullptr;
  cudaStream_t stream = nullptr;
  SustainedGoal goal;
  int64_t multiprocessors = 1;

  // `whole` on a device, `part` in a tiny run.
  int64_t Size(int64_t whole, int64_t part) const { return tiny ? part : whole; }
  // How long one call of `work`, which puts work into the stream, takes there.
  using Work = std::function<cudaError_t()>;
  Error Time(const Work& work, Sustained* measured) const;
  Error Time(const SustainedGoal& its_goal, const Work& work, Sustained* measured) const;
};

// Runs what the ABI's functions return.
Error ErrorOf(int32_t code, const baton_error& error);

// Parts. Each measures its figures, and returns the error that kept it from the rest.
Error MeasureCeilings(Bench& bench);
Error MeasureKernels(Bench& bench);    // gpu_kernel_figures.cc
Error MeasureAttention(Bench& bench);  // gpu_attention_figures.cc
Error MeasureModels(Bench& bench);     // gpu_model_figures.cc
Error MeasureSearch(Bench& bench);     // gpu_search_figures.cc
Error MeasureGraph(Bench& bench);      // gpu_graph_figures.cc

}  // namespace baton::gpu_bench

// Returns from the enclosing function where `expr`, an Error, is one.
#define GPU_BENCH_TRY(expr)                                                               \
  do {                                                                                    \
    if (::baton::gpu_bench::Error gpu_bench_error_ = (expr); !gpu_bench_error_.empty()) { \
      return gpu_bench_error_;                                                            \
    }                                                                                     \
  } while (false)
