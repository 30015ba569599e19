#include "engine/exec/gpu/plugin/answers.h"

#include <cuda_bf16.h>

#include <algorithm>
#include <cmath>
#include <span>

#include "cuda_kernels/cap_logits.h"

namespace baton::gpu {
namespace {

constexpr int64_t kSampleVocabularyMax = (1 << 24) - 1;

}  // namespace

template <typename T>
void Answers<T>::Place(Arena& arena, int64_t dim, int64_t vocabulary) {
  dim_ = dim;
  gathered_ = arena.Take<T>(kRows * dim);
  logits_ = arena.Take<float>(kRows * vocabulary);
  changed_ = arena.Take<float>(kRows * vocabulary);
  lists_ = arena.Take<cuda::TokenValue>(kChanges);
  choices_ = arena.Take<Choices>(1);
  logprobs_ = arena.Take<Logprobs>(1);
}

template <typename T>
Fault Answers<T>::Start(Device& device, int64_t vocabulary, float logit_cap) {
  device_ = &device;
  vocabulary_ = vocabulary;
  logit_cap_ = logit_cap;
  BATON_GPU_TRY(
      device.AllocatePinned("logits", kRows * vocabulary * int64_t{sizeof(float)}, &host_logits_));
  BATON_GPU_TRY(device.AllocatePinned("log probabilities", sizeof(Logprobs), &host_logprobs_));
  BATON_GPU_TRY(device.AllocatePinned("changes of logits", kChanges * int64_t{sizeof(*lists_)},
                                      &host_lists_));
  return device.AllocatePinned("choices of tokens", sizeof(Choices), &host_choices_);
}

template <typename T>
Fault Answers<T>::Copy(void* to, const void* from, int64_t bytes, cudaMemcpyKind kind,
                       const Stream& stream) const {
  return device_->Check(cudaMemcpyAsync(to, from, static_cast<size_t>(bytes), kind, stream.get()),
                        "cudaMemcpyAsync");
}

template <typename T>
Fault Answers<T>::Multiply(const T* input, int64_t rows, const DeviceMatrix& output,
                           Products<T>& products, const Stream& stream) {
  BATON_GPU_TRY(products.Multiply({input, rows, dim_}, output, logits_, vocabulary_));
  if (logit_cap_ <= 0) return {};
  return device_->Check(
      cuda::CapLogits({.x = logits_, .count = rows * vocabulary_, .cap = logit_cap_}, stream.get()),
      "CapLogits");
}

template <typename T>
bool Answers<T>::ChoosesItself(const baton_llm_item& item, const StepPlan::LogitRow& row,
                               bool tells) const {
  return row.sampling != nullptr && vocabulary_ <= kSampleVocabularyMax &&
         (!tells || item.logprobs_top <= cuda::kLogprobsMax);
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
    BATON_GPU_TRY(Multiply(input, count, output, products, stream));
    Stage(batch, some);
    BATON_GPU_TRY(Finish(batch, some, /*chose=*/false, stream));
  }
  return {};
}

template <typename T>
bool Answers<T>::StageChanges(const baton_logit_changes& changes, size_t row) {
  const int64_t count =
      changes.bias_count + changes.repeated_count + changes.penalty_count + changes.excluded_count;
  if (count > kChanges - list_entries_) return false;
  Choices& choices = staged();
  choices.changes[row] = {.repetition = changes.repetition,
                          .begin = static_cast<int32_t>(list_entries_),
                          .biases = static_cast<int32_t>(changes.bias_count),
                          .repeated = static_cast<int32_t>(changes.repeated_count),
                          .penalties = static_cast<int32_t>(changes.penalty_count),
                          .excluded = static_cast<int32_t>(changes.excluded_count)};
  choices.changed[row] = static_cast<int32_t>(row);
  auto* to = reinterpret_cast<cuda::TokenValue*>(host_lists_.data()) + list_entries_;
  for (int64_t i = 0; i < changes.bias_count; ++i) {
    *to++ = {changes.biases[i].token, changes.biases[i].value};
  }
  for (int64_t i = 0; i < changes.repeated_count; ++i) *to++ = {changes.repeated[i], 0};
  for (int64_t i = 0; i < changes.penalty_count; ++i) {
    *to++ = {changes.penalties[i].token, changes.penalties[i].value};
  }
  for (int64_t i = 0; i < changes.excluded_count; ++i) *to++ = {changes.excluded[i], 0};
  list_entries_ += count;
  return true;
}

template <typename T>
bool Answers<T>::Stage(const baton_llm_batch& batch, std::span<const StepPlan::LogitRow> rows) {
  Choices& choices = staged();
  list_entries_ = 0;
  changes_ = tells_ = keeps_ = false;
  bool all = true;
  for (size_t i = 0; i < static_cast<size_t>(kRows); ++i) {
    choices.slots[i] = choices.changed[i] = choices.logprobs[i] = -1;
    if (i >= rows.size()) continue;  // pads the step
    const baton_llm_item& item = *baton_item_at(&batch, rows[i].item);
    const bool knows = BATON_ITEM_HAS(&batch, logprobs_top);
    const bool tells = knows && item.logprobs_wanted != 0;
    const bool changes = knows && item.changes != nullptr;
    if (!ChoosesItself(item, rows[i], tells) || (changes && !StageChanges(*item.changes, i))) {
      all = false;
      continue;
    }
    if (tells) choices.logprobs[i] = item.logprobs_top;
    changes_ |= changes;
    tells_ |= tells;
    keeps_ |= changes && tells;
    const baton_sampling& sampling = *rows[i].sampling;
    choices.params[i] = {.temperature = sampling.temperature,
                         .top_k = sampling.top_k,
                         .top_p = sampling.top_p,
                         .min_p = sampling.min_p};
    choices.states[i] = sampling.random_state;
    choices.slots[i] = static_cast<int32_t>(i);
  }
  return all && !changes_ && !tells_;
}

template <typename T>
Fault Answers<T>::Launch(const T* normed, int64_t rows, bool chooses, const DeviceMatrix& output,
                         Products<T>& products, const Stream& stream) {
  BATON_GPU_TRY(Multiply(normed, rows, output, products, stream));
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
      // Changes may leave no token that can be chosen.
      const bool excluded = choices.changed[i] >= 0 && choices.logits[i] == -INFINITY;
      if (!std::isfinite(choices.logits[i]) && !excluded) {
        return {BATON_INTERNAL, "the model gave logits that are not finite"};
      }
      GiveToken(batch, rows[i].item, i);
      continue;
    }
    batch.on_logits(batch.context, rows[i].item, logits + static_cast<int64_t>(i) * vocabulary_);
  }
  return {};
}

template <typename T>
void Answers<T>::GiveToken(const baton_llm_batch& batch, int64_t item, size_t row) const {
  const Choices& choices = staged();
  const int32_t wanted = choices.logprobs[row];
  if (wanted >= 0) {
    const size_t at = row * cuda::kLogprobsMax;
    const baton_token_logprobs logprobs = {
        .struct_size = sizeof(logprobs),
        .chosen = told().chosen[row],
        .top_count = static_cast<int32_t>(std::min<int64_t>(wanted, vocabulary_)),
        .reserved = 0,
        .top_tokens = told().top_tokens + at,
        .top_logprobs = told().top + at};
    batch.on_logprobs(batch.context, item, &logprobs);
  }
  batch.on_token(batch.context, item, choices.tokens[row], choices.states[row]);
}

// The tokens of the rows with a slot, and their logits, which tell whether anything went wrong.
template <typename T>
Fault Answers<T>::Choose(int64_t rows, const Stream& stream) {
  Choices& host = staged();
  BATON_GPU_TRY(Copy(choices_, &host, sizeof(Choices), cudaMemcpyHostToDevice, stream));
  if (changes_) BATON_GPU_TRY(Change(rows, stream));
  BATON_GPU_TRY(device_->Check(cuda::Sample({.logits = keeps_ ? changed_ : logits_,
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
  if (tells_) BATON_GPU_TRY(Tell(rows, stream));
  return Copy(&host, choices_, sizeof(Choices), cudaMemcpyDeviceToHost, stream);
}

// In place, or where log probabilities are wanted of what is there, in a copy of all rows.
template <typename T>
Fault Answers<T>::Change(int64_t rows, const Stream& stream) {
  BATON_GPU_TRY(Copy(lists_, host_lists_.data(), list_entries_ * int64_t{sizeof(*lists_)},
                     cudaMemcpyHostToDevice, stream));
  if (keeps_) {
    BATON_GPU_TRY(Copy(changed_, logits_, rows * vocabulary_ * int64_t{sizeof(float)},
                       cudaMemcpyDeviceToDevice, stream));
  }
  return device_->Check(cuda::Penalise({.logits = keeps_ ? changed_ : logits_,
                                        .params = choices_->changes,
                                        .lists = lists_,
                                        .slots = choices_->changed,
                                        .rows = rows,
                                        .stride = vocabulary_},
                                       stream.get()),
                        "Penalise");
}

template <typename T>
Fault Answers<T>::Tell(int64_t rows, const Stream& stream) {
  BATON_GPU_TRY(device_->Check(cuda::Logprobs({.logits = logits_,
                                               .slots = choices_->slots,
                                               .wanted = choices_->logprobs,
                                               .tokens = choices_->tokens,
                                               .chosen = logprobs_->chosen,
                                               .top_tokens = logprobs_->top_tokens,
                                               .top_logprobs = logprobs_->top,
                                               .rows = rows,
                                               .vocabulary = vocabulary_,
                                               .stride = vocabulary_,
                                               .top = cuda::kLogprobsMax},
                                              stream.get()),
                               "Logprobs"));
  return Copy(host_logprobs_.data(), logprobs_, sizeof(Logprobs), cudaMemcpyDeviceToHost, stream);
}

template class Answers<float>;
template class Answers<__nv_bfloat16>;

}  // namespace baton::gpu
