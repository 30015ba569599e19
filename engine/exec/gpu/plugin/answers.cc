#include "engine/exec/gpu/plugin/answers.h"

#include <cuda_bf16.h>

#include <algorithm>
#include <cmath>
#include <span>

namespace baton::gpu {
namespace {

constexpr int64_t kSampleVocabularyMax = (1 << 24) - 1;

}  // namespace

template <typename T>
void Answers<T>::Place(Arena& arena, int64_t dim, int64_t vocabulary) {
  dim_ = dim;
  gathered_ = arena.Take<T>(kRows * dim);
  logits_ = arena.Take<float>(kRows * vocabulary);
  choices_ = arena.Take<Choices>(1);
}

template <typename T>
Fault Answers<T>::Start(Device& device, int64_t vocabulary, float logit_cap) {
  device_ = &device;
  vocabulary_ = vocabulary;
  logit_cap_ = logit_cap;
  BATON_GPU_TRY(
      device.AllocatePinned("logits", kRows * vocabulary * int64_t{sizeof(float)}, &host_logits_));
  return device.AllocatePinned("choices of tokens", sizeof(Choices), &host_choices_);
}

template <typename T>
Fault Answers<T>::Copy(void* to, const void* from, int64_t bytes, cudaMemcpyKind kind,
                       const Stream& stream) const {
  return device_->Check(cudaMemcpyAsync(to, from, static_cast<size_t>(bytes), kind, stream.get()),
                        "cudaMemcpyAsync");
}

// Logits that are capped are the host's: it has the cap.
template <typename T>
bool Answers<T>::ChoosesItself(const StepPlan::LogitRow& row) const {
  return row.sampling != nullptr && logit_cap_ == 0 && vocabulary_ <= kSampleVocabularyMax;
}

template <typename T>
Fault Answers<T>::Give(const baton_llm_batch& batch, std::span<const StepPlan::LogitRow> rows,
                       const T* normed, const DeviceMatrix& output, Products<T>& products,
                       const Stream& stream) {
  for (size_t first = 0; first < rows.size(); first += kRows) {
    const auto some = rows.subspan(first, std::min<size_t>(kRows, rows.size() - first));
    // Rows that follow one another are one copy, and none where they are all.
    const T* input = normed + some.front().row * dim_;
    const auto count = static_cast<int64_t>(some.size());
    bool together = true;
    for (int64_t i = 0; i < count; ++i) together &= some[i].row == some[0].row + i;
    for (int64_t i = 0; i < count && !together;) {
      int64_t end = i + 1;
      while (end < count && some[end].row == some[i].row + end - i) ++end;
      BATON_GPU_TRY(Copy(gathered_ + i * dim_, normed + some[i].row * dim_,
                         (end - i) * dim_ * int64_t{sizeof(T)}, cudaMemcpyDeviceToDevice, stream));
      i = end;
    }
    if (!together) input = gathered_;
    BATON_GPU_TRY(products.Multiply({input, count, dim_}, output, logits_, vocabulary_));
    Stage(some);
    BATON_GPU_TRY(Finish(batch, some, /*chose=*/false, stream));
  }
  return {};
}

template <typename T>
bool Answers<T>::Stage(std::span<const StepPlan::LogitRow> rows) {
  Choices& choices = staged();
  bool all = true;
  for (size_t i = 0; i < static_cast<size_t>(kRows); ++i) {
    choices.slots[i] = -1;
    if (i >= rows.size()) continue;  // pads the step
    if (!ChoosesItself(rows[i])) {
      all = false;
      continue;
    }
    const baton_sampling& sampling = *rows[i].sampling;
    choices.params[i] = {.temperature = sampling.temperature,
                         .top_k = sampling.top_k,
                         .top_p = sampling.top_p,
                         .min_p = sampling.min_p};
    choices.states[i] = sampling.random_state;
    choices.slots[i] = static_cast<int32_t>(i);
  }
  return all;
}

template <typename T>
Fault Answers<T>::Launch(const T* normed, int64_t rows, bool chooses, const DeviceMatrix& output,
                         Products<T>& products, const Stream& stream) {
  BATON_GPU_TRY(products.Multiply({normed, rows, dim_}, output, logits_, vocabulary_));
  return chooses ? Choose(rows, stream) : Fault();
}

template <typename T>
Fault Answers<T>::Finish(const baton_llm_batch& batch, std::span<const StepPlan::LogitRow> rows,
                         bool chose, const Stream& stream) {
  const Choices& choices = staged();
  auto* const logits = reinterpret_cast<float*>(host_logits_.data());
  const int64_t row_bytes = vocabulary_ * int64_t{sizeof(float)};
  bool any = false;
  for (size_t i = 0; i < rows.size(); ++i) {
    if (choices.slots[i] >= 0) {
      any = true;
      continue;
    }
    const auto at = static_cast<int64_t>(i) * vocabulary_;
    BATON_GPU_TRY(Copy(logits + at, logits_ + at, row_bytes, cudaMemcpyDeviceToHost, stream));
  }
  if (any && !chose) BATON_GPU_TRY(Choose(static_cast<int64_t>(rows.size()), stream));
  BATON_GPU_TRY(stream.Wait());

  for (size_t i = 0; i < rows.size(); ++i) {
    if (choices.slots[i] >= 0) {
      if (!std::isfinite(choices.logits[i])) {
        return {BATON_INTERNAL, "the model gave logits that are not finite"};
      }
      batch.on_token(batch.context, rows[i].item, choices.tokens[i], choices.states[i]);
      continue;
    }
    float* const of_row = logits + static_cast<int64_t>(i) * vocabulary_;
    if (logit_cap_ > 0) {
      for (int64_t t = 0; t < vocabulary_; ++t) {
        of_row[t] = logit_cap_ * std::tanh(of_row[t] / logit_cap_);
      }
    }
    batch.on_logits(batch.context, rows[i].item, of_row);
  }
  return {};
}

// The tokens of the rows with a slot, and their logits, which tell whether anything went wrong.
template <typename T>
Fault Answers<T>::Choose(int64_t rows, const Stream& stream) {
  Choices& host = staged();
  BATON_GPU_TRY(Copy(choices_, &host, sizeof(Choices), cudaMemcpyHostToDevice, stream));
  BATON_GPU_TRY(device_->Check(cuda::Sample({.logits = logits_,
                                             .params = choices_->params,
                                             .states = choices_->states,
                                             .slots = choices_->slots,
                                             .tokens = choices_->tokens,
                                             .chosen = choices_->logits,
                                             .rows = rows,
                                             .vocabulary = vocabulary_,
                                             .stride = vocabulary_},
                                            stream.get()),
                               "Sample"));
  return Copy(&host, choices_, sizeof(Choices), cudaMemcpyDeviceToHost, stream);
}

template class Answers<float>;
template class Answers<__nv_bfloat16>;

}  // namespace baton::gpu
