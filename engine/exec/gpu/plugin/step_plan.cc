#include "engine/exec/gpu/plugin/step_plan.h"

#include <algorithm>
#include <cstring>

#include "cuda_kernels/launch.h"

namespace baton::gpu {
namespace {

// A quarter of a page of int32: pieces begin where nothing shares their cache lines.
constexpr int64_t kPieceInts = 64;

int64_t Blocks(const baton_llm_item& item, int32_t block_tokens) {
  return cuda::CeilDiv(int64_t{item.position} + item.token_count, block_tokens);
}

// Which are to be below the model's vocabulary.
Fault CheckTokens(const StepLimits& limits, const auto& list, int64_t count, const auto& token_of) {
  for (int64_t i = 0; i < count; ++i) {
    const int32_t token = token_of(list[i]);
    if (token >= 0 && token < limits.vocabulary) continue;
    return {BATON_INVALID_ARGUMENT, Text("token ", token, " is not in [0, ", limits.vocabulary,
                                         ") of model ", limits.model)};
  }
  return {};
}

Fault CheckChanges(const StepLimits& limits, const baton_logit_changes& changes) {
  const auto itself = [](int32_t token) { return token; };
  const auto of_value = [](const baton_token_value& value) { return value.token; };
  BATON_GPU_TRY(CheckTokens(limits, changes.biases, changes.bias_count, of_value));
  BATON_GPU_TRY(CheckTokens(limits, changes.repeated, changes.repeated_count, itself));
  BATON_GPU_TRY(CheckTokens(limits, changes.penalties, changes.penalty_count, of_value));
  return CheckTokens(limits, changes.excluded, changes.excluded_count, itself);
}

}  // namespace

Fault StepPlan::Check(const StepLimits& limits, const baton_llm_batch& batch) {
  const baton_kv_layout& layout = batch.layout;
  if (layout.layers != limits.layers || layout.kv_heads != limits.kv_heads ||
      layout.head_dim != limits.head_dim || layout.block_tokens < 8 || layout.block_tokens > 64 ||
      (layout.block_tokens & (layout.block_tokens - 1)) != 0 || layout.type < BATON_KV_F32 ||
      layout.type > BATON_KV_INT8) {
    return {BATON_INVALID_ARGUMENT,
            Text("KV layout [", layout.layers, " layers, ", layout.kv_heads, " heads, ",
                 layout.head_dim, "] x ", layout.block_tokens, " tokens of type ", layout.type,
                 " is not model ", limits.model, "'s [", limits.layers, " layers, ",
                 limits.kv_heads, " heads, ", limits.head_dim, "] x 8 to 64 tokens")};
  }
  int64_t tokens = 0;
  for (int64_t i = 0; i < batch.item_count; ++i) {
    const baton_llm_item& item = *baton_item_at(&batch, i);
    const int64_t end = int64_t{item.position} + item.token_count;
    if (item.token_count < 1 || item.position < 0 || end > limits.context_tokens) {
      return {BATON_INVALID_ARGUMENT,
              Text("positions [", item.position, ", ", end, ") are not within the ",
                   limits.context_tokens, " tokens of model ", limits.model)};
    }
    if (Blocks(item, layout.block_tokens) > item.block_count) {
      return {BATON_INVALID_ARGUMENT, Text(item.block_count, " KV blocks of ", layout.block_tokens,
                                           " tokens do not hold ", end, " positions")};
    }
    if (item.logits < 0 || item.logits > item.token_count) {
      return {BATON_INVALID_ARGUMENT,
              Text("logits after ", item.logits, " of ", item.token_count, " tokens")};
    }
    BATON_GPU_TRY(
        CheckTokens(limits, item.tokens, item.token_count, [](int32_t token) { return token; }));
    if (BATON_ITEM_HAS(&batch, changes) && item.changes != nullptr) {
      BATON_GPU_TRY(CheckChanges(limits, *item.changes));
    }
    tokens += item.token_count;
  }
  if (tokens > limits.step_tokens_max) {
    return {BATON_INVALID_ARGUMENT,
            Text("a step of ", tokens, " tokens, step_tokens_max is ", limits.step_tokens_max)};
  }
  rows_ = tokens;
  return {};
}

// The allocation that all blocks are of.
Fault StepPlan::FindPool(const Device& device, const baton_llm_batch& batch) {
  const Device::KvMemory pool = device.FindKv(baton_item_at(&batch, 0)->blocks[0]);
  for (int64_t i = 0; i < batch.item_count; ++i) {
    const baton_llm_item& item = *baton_item_at(&batch, i);
    for (int32_t b = 0; b < item.block_count; ++b) {
      const int64_t offset = static_cast<const unsigned char*>(item.blocks[b]) - pool.begin;
      if (pool.begin == nullptr || offset < 0 || offset % kv_.block_bytes != 0 ||
          offset + kv_.block_bytes > pool.bytes) {
        return {BATON_INVALID_ARGUMENT, Text("KV block ", b, " of item ", i,
                                             " is not of the device's memory that the first one's "
                                             "is of")};
      }
    }
  }
  kv_.pool = pool.begin;
  return {};
}

Fault StepPlan::Make(Device& device, const StepLimits& limits, const baton_llm_batch& batch,
                     const Room& room, const Stream& stream) {
  BATON_GPU_TRY(Check(limits, batch));
  const int64_t own_rows = rows_;
  rows_ = std::max(rows_, room.rows);
  const baton_kv_layout& layout = batch.layout;
  kv_ = {.kv_heads = layout.kv_heads,
         .head_dim = layout.head_dim,
         .block_tokens = layout.block_tokens,
         .element = static_cast<cuda::KvElement>(layout.type)};
  kv_.block_bytes = 2 * kv_.plane_bytes() * layout.layers;
  BATON_GPU_TRY(FindPool(device, batch));

  runs_.clear();
  logit_rows_.clear();
  tile_list_.clear();
  table_stride_ = cuda::CeilDiv(int64_t{room.positions}, int64_t{layout.block_tokens});
  single_positions_max_ = room.positions;
  for (int64_t i = 0; i < batch.item_count; ++i) {
    table_stride_ = std::max(table_stride_, Blocks(*baton_item_at(&batch, i), layout.block_tokens));
  }
  int64_t end = 0;
  const auto piece = [&end](int64_t ints) {
    const int64_t begin = end;
    end += cuda::CeilDiv(ints, kPieceInts) * kPieceInts;
    return begin;
  };
  constexpr int64_t kTileInts = sizeof(cuda::PrefillTile) / sizeof(int32_t);
  tokens_ = piece(rows_);
  positions_ = piece(rows_);
  sequences_ = piece(rows_);
  lengths_ = piece(rows_);
  tiles_ = piece(rows_ * kTileInts);
  table_ = piece((batch.item_count + rows_ - own_rows) * table_stride_);
  bytes_ = end * static_cast<int64_t>(sizeof(int32_t));
  if (staging_.bytes() < bytes_ || device_memory_.bytes() < bytes_) {
    BATON_GPU_TRY(stream.Wait());  // what may still read them
    ++moves_;
    BATON_GPU_TRY(device.AllocatePinned("the inputs of a step", bytes_, &staging_));
    BATON_GPU_TRY(device.Allocate("the inputs of a step", bytes_, &device_memory_));
  }

  int64_t row = 0;
  int64_t table_row = 0;
  for (const bool single : {false, true}) {
    if (single) single_row_ = row;
    for (int64_t i = 0; i < batch.item_count; ++i) {
      const baton_llm_item& item = *baton_item_at(&batch, i);
      if ((item.token_count == 1) != single) continue;
      AddItem(batch, i, table_row++, row);
      row += item.token_count;
    }
  }
  Pad(row);
  std::sort(logit_rows_.begin(), logit_rows_.end(), [](const LogitRow& a, const LogitRow& b) {
    return a.item != b.item ? a.item < b.item : a.row < b.row;
  });
  // Those that read most keys first.
  std::sort(tile_list_.begin(), tile_list_.end(), [](const auto& a, const auto& b) {
    return a.position != b.position ? a.position > b.position : a.first_row < b.first_row;
  });
  tile_count_ = static_cast<int64_t>(tile_list_.size());
  if (tile_count_ > 0) {
    std::memcpy(Staged(tiles_), tile_list_.data(), tile_list_.size() * sizeof(tile_list_[0]));
  }
  kv_.block_table = At(table_);
  kv_.table_stride = table_stride_;
  return {};
}

Fault StepPlan::Upload(Device& device, const Stream& stream) const {
  return device.Check(
      cudaMemcpyAsync(device_memory_.data(), staging_.data(), static_cast<size_t>(bytes_),
                      cudaMemcpyHostToDevice, stream.get()),
      "cudaMemcpyAsync");
}

// As kernels know rows that pad: see PlaceQkvArgs, DecodeAttentionArgs.
void StepPlan::Pad(int64_t first_row) {
  for (int64_t row = first_row; row < rows_; ++row) {
    Staged(tokens_)[row] = -1;
    Staged(positions_)[row] = -1;
    Staged(sequences_)[row] = 0;
    Staged(lengths_)[row] = 0;
  }
}

void StepPlan::AddItem(const baton_llm_batch& batch, int64_t index, int64_t table_row,
                       int64_t first_row) {
  const baton_llm_item& item = *baton_item_at(&batch, index);
  int32_t* const table = Staged(table_) + table_row * table_stride_;
  for (int64_t b = 0; b < Blocks(item, kv_.block_tokens); ++b) {
    table[b] = static_cast<int32_t>((static_cast<const unsigned char*>(item.blocks[b]) - kv_.pool) /
                                    kv_.block_bytes);
  }
  for (int32_t t = 0; t < item.token_count; ++t) {
    const int64_t row = first_row + t;
    Staged(tokens_)[row] = item.tokens[t];
    Staged(positions_)[row] = item.position + t;
    Staged(sequences_)[row] = static_cast<int32_t>(table_row);
    Staged(lengths_)[row] = item.position + t + 1;
    if (t >= item.token_count - item.logits) {
      logit_rows_.push_back({row, index, item.logits == 1 ? item.sampling : nullptr});
    }
  }
  const int32_t end = item.position + item.token_count;
  if (item.token_count == 1) {
    single_positions_max_ = std::max(single_positions_max_, end);
    return;
  }
  runs_.push_back({table_row, first_row, item.token_count, end});
  for (int32_t t = 0; t < item.token_count; t += cuda::kPrefillTileRows) {
    tile_list_.push_back({.first_row = static_cast<int32_t>(first_row + t),
                          .rows = std::min(cuda::kPrefillTileRows, item.token_count - t),
                          .position = item.position + t,
                          .sequence = static_cast<int32_t>(table_row)});
  }
}

cuda::PagedKv StepPlan::Kv(int32_t layer) const {
  cuda::PagedKv kv = kv_;
  kv.layer_offset = layer * 2 * kv.plane_bytes();
  return kv;
}

}  // namespace baton::gpu
