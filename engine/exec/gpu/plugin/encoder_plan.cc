#include "engine/exec/gpu/plugin/encoder_plan.h"

#include <algorithm>
#include <cstring>

#include "cuda_kernels/launch.h"

namespace baton::gpu {
namespace {

constexpr int64_t kPieceInts = 64;  // as of StepPlan
constexpr int64_t kTileInts = sizeof(cuda::PrefillTile) / sizeof(int32_t);

}  // namespace

Fault EncoderPlan::Start(Device& device, const EncoderLimits& limits) {
  limits_ = limits;
  int64_t end = 0;
  const auto piece = [&end](int64_t ints) {
    const int64_t begin = end;
    end += cuda::CeilDiv(ints, kPieceInts) * kPieceInts;
    return begin;
  };
  const int64_t rows = limits.tokens_max;  // and texts, of one token each
  for (int64_t* array : {&tokens_, &offsets_, &begins_, &firsts_, &ends_, &lengths_, &numbers_}) {
    *array = piece(rows);
  }
  tiles_ = piece(rows * kTileInts);
  bytes_ = end * static_cast<int64_t>(sizeof(int32_t));
  BATON_GPU_TRY(device.AllocatePinned("the inputs of a step of texts", bytes_, &staging_));
  return device.Allocate("the inputs of a step of texts", bytes_, &device_memory_);
}

Fault EncoderPlan::Check(const baton_encoder_batch& batch) {
  int64_t tokens = 0;
  for (int64_t i = 0; i < batch.text_count; ++i) {
    const baton_encoder_text& text = *baton_encoder_text_at(&batch, i);
    if (text.token_count < 1 || text.token_count > limits_.context_tokens) {
      return {BATON_INVALID_ARGUMENT, Text("a text of ", text.token_count, " tokens, model ",
                                           limits_.model, " takes 1 to ", limits_.context_tokens)};
    }
    for (int32_t t = 0; t < text.token_count; ++t) {
      if (text.tokens[t] < 0 || text.tokens[t] >= limits_.vocabulary) {
        return {BATON_INVALID_ARGUMENT, Text("token ", text.tokens[t], " is not in [0, ",
                                             limits_.vocabulary, ") of model ", limits_.model)};
      }
    }
    tokens += text.token_count;
  }
  if (tokens > limits_.tokens_max) {
    return {BATON_INVALID_ARGUMENT,
            Text("a step of ", tokens, " tokens, at most ", limits_.tokens_max, " fit")};
  }
  rows_ = tokens;
  texts_ = batch.text_count;
  return {};
}

Fault EncoderPlan::Make(const baton_encoder_batch& batch, int32_t second_offset) {
  BATON_GPU_TRY(Check(batch));
  int32_t row = 0;
  std::vector<cuda::PrefillTile> tiles;
  for (int32_t i = 0; i < texts_; ++i) {
    const baton_encoder_text& text = *baton_encoder_text_at(&batch, i);
    Staged(begins_)[i] = row;
    Staged(firsts_)[i] = row + 1;
    Staged(ends_)[i] = row + text.token_count;
    Staged(lengths_)[row] = text.token_count;
    for (int32_t t = 0; t < text.token_count; t += cuda::kPrefillTileRows) {
      tiles.push_back({.first_row = row + t,
                       .rows = std::min(cuda::kPrefillTileRows, text.token_count - t),
                       .position = t,
                       .sequence = row});
    }
    for (int32_t t = 0; t < text.token_count; ++t, ++row) {
      Staged(tokens_)[row] = text.tokens[t];
      Staged(numbers_)[row] = row;
      Staged(offsets_)[row] = text.second > 0 && t >= text.second ? second_offset + t : t;
    }
  }
  // Those of the longest texts first.
  std::sort(tiles.begin(), tiles.end(), [this](const auto& a, const auto& b) {
    const int32_t of_a = Staged(lengths_)[a.sequence];
    const int32_t of_b = Staged(lengths_)[b.sequence];
    return of_a != of_b ? of_a > of_b : a.first_row < b.first_row;
  });
  tile_count_ = static_cast<int64_t>(tiles.size());
  std::copy(tiles.begin(), tiles.end(), reinterpret_cast<cuda::PrefillTile*>(Staged(tiles_)));
  return {};
}

Fault EncoderPlan::Upload(Device& device, const Stream& stream) const {
  return device.Check(
      cudaMemcpyAsync(device_memory_.data(), staging_.data(), static_cast<size_t>(bytes_),
                      cudaMemcpyHostToDevice, stream.get()),
      "cudaMemcpyAsync");
}

}  // namespace baton::gpu
