#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <span>
#include <vector>

#include "cuda_kernels/logprobs.h"
#include "cuda_kernels/penalties.h"
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
  // Entries of their changes of logits together, 4 MB. Rows whose changes find no room there are
  // the host's.
  static constexpr int64_t kChanges = 1 << 19;

  void Place(Arena& arena, int64_t dim, int64_t vocabulary);
  Fault Start(Device& device, int64_t vocabulary, float logit_cap);

  // normed: [rows of the step, dim], behind the last norm. Blocks until all answers are given.
  Fault Give(const baton_llm_batch& batch, std::span<const StepPlan::LogitRow> rows,
             const T* normed, const DeviceMatrix& output, Products<T>& products,
             const Stream& stream);

  // The same in three parts, of at most kRows rows that are the first of the step's: what the host
  // has to say of them, what is launched, which depends on `rows` and `chooses` alone, and what
  // comes of it. Where tokens of all rows are chosen on the device, by logits as they are and
  // without log probabilities, Stage returns true; `chooses` only then.
  bool Stage(const baton_llm_batch& batch, std::span<const StepPlan::LogitRow> rows);
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
    cuda::PenaltyParams changes[kRows];
    int32_t changed[kRows];   // -1: the row's logits are not changed; else its slot
    int32_t logprobs[kRows];  // alternatives; -1: no log probabilities are wanted
  };
  // What is told of tokens beside.
  struct Logprobs {
    float chosen[kRows];
    int32_t top_tokens[kRows * cuda::kLogprobsMax];
    float top[kRows * cuda::kLogprobsMax];
  };

  Choices& staged() const { return *reinterpret_cast<Choices*>(host_choices_.data()); }
  const Logprobs& told() const { return *reinterpret_cast<const Logprobs*>(host_logprobs_.data()); }
  // Of a row that is chosen here; false: its changes have no room.
  bool StageChanges(const baton_logit_changes& changes, size_t row);
  // Launches it, with what was staged.
  Fault Choose(int64_t rows, const Stream& stream);
  // logits_ of rows of the last norm.
  Fault Multiply(const T* input, int64_t rows, const DeviceMatrix& output, Products<T>& products,
                 const Stream& stream);
  Fault Change(int64_t rows, const Stream& stream);
  Fault Tell(int64_t rows, const Stream& stream);
  bool ChoosesItself(const baton_llm_item& item, const StepPlan::LogitRow& row, bool tells) const;
  void GiveToken(const baton_llm_batch& batch, int64_t item, size_t row) const;
  Fault Copy(void* to, const void* from, int64_t bytes, cudaMemcpyKind kind,
             const Stream& stream) const;

  Device* device_ = nullptr;
  int64_t dim_ = 0;
  int64_t vocabulary_ = 0;
  float logit_cap_ = 0;
  T* gathered_ = nullptr;              // [kRows, dim]
  float* logits_ = nullptr;            // [kRows, vocabulary]
  float* changed_ = nullptr;           // as well, where log probabilities are of what was before
  cuda::TokenValue* lists_ = nullptr;  // [kChanges]
  Choices* choices_ = nullptr;         // on the device, as is the next
  Logprobs* logprobs_ = nullptr;
  PinnedMemory host_choices_;   // Choices
  PinnedMemory host_logprobs_;  // Logprobs
  PinnedMemory host_lists_;     // [kChanges]
  PinnedMemory host_logits_;    // [kRows, vocabulary]
  // Of the rows that are staged.
  int64_t list_entries_ = 0;
  bool changes_ = false;
  bool tells_ = false;
  bool keeps_ = false;  // some are changed, and log probabilities of them wanted
};

}  // namespace baton::gpu
