#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <span>
#include <vector>

#include "cuda_kernels/sample.h"
#include "engine/exec/gpu/plugin/arena.h"
#include "engine/exec/gpu/plugin/device.h"
#include "engine/exec/gpu/plugin/products.h"
#include "engine/exec/gpu/plugin/step_plan.h"

namespace baton::gpu {

// The end of a step: logits of the rows that want them, some at a time, and from these the tokens
// that are chosen on the device, or the logits themselves for the host. T: float or __nv_bfloat16.
// From one thread; the device outlives it.
template <typename T>
class Answers {
 public:
  // Rows whose logits are computed together. Bounds the workspace: 64 rows of 128,000 tokens are
  // 33 MB.
  static constexpr int64_t kRows = 64;

  void Place(Arena& arena, int64_t dim, int64_t vocabulary);
  Fault Start(Device& device, int64_t vocabulary, float logit_cap);

  // normed: [rows of the step, dim], behind the last norm. Blocks until all answers are given.
  Fault Give(const baton_llm_batch& batch, std::span<const StepPlan::LogitRow> rows,
             const T* normed, const DeviceMatrix& output, Products<T>& products,
             const Stream& stream);

  // The same in three parts, of at most kRows rows that are the first of the step's: what the host
  // has to say of them, what is launched, which depends on `rows` and `chooses` alone, and what
  // comes of it. Where tokens of all rows are chosen on the device Stage returns true; `chooses`
  // only then.
  bool Stage(std::span<const StepPlan::LogitRow> rows);
  Fault Launch(const T* normed, int64_t rows, bool chooses, const DeviceMatrix& output,
               Products<T>& products, const Stream& stream);
  Fault Finish(const baton_llm_batch& batch, std::span<const StepPlan::LogitRow> rows, bool chose,
               const Stream& stream);

 private:
  // What choosing needs, slots being rows.
  struct Choices {
    cuda::SampleParams params[kRows];
    uint64_t states[kRows];
    int32_t slots[kRows];  // -1: the host wants the row's logits
    int32_t tokens[kRows];
    float logits[kRows];  // of the chosen tokens
  };

  Choices& staged() const { return *reinterpret_cast<Choices*>(host_choices_.data()); }
  Fault Choose(int64_t rows, const Stream& stream);
  bool ChoosesItself(const StepPlan::LogitRow& row) const;
  Fault Copy(void* to, const void* from, int64_t bytes, cudaMemcpyKind kind,
             const Stream& stream) const;

  Device* device_ = nullptr;
  int64_t dim_ = 0;
  int64_t vocabulary_ = 0;
  float logit_cap_ = 0;
  T* gathered_ = nullptr;       // [kRows, dim]
  float* logits_ = nullptr;     // [kRows, vocabulary]
  Choices* choices_ = nullptr;  // on the device
  PinnedMemory host_choices_;   // Choices
  PinnedMemory host_logits_;    // [kRows, vocabulary]
};

}  // namespace baton::gpu
