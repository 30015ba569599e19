#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <vector>

#include "cuda_kernels/kv_blocks.h"
#include "cuda_kernels/prefill_attention.h"
#include "engine/exec/executor_abi.h"
#include "engine/exec/gpu/plugin/device.h"

namespace baton::gpu {

// What a step must fit.
struct StepLimits {
  const char* model;
  int32_t layers;
  int32_t kv_heads;
  int32_t head_dim;
  int32_t vocabulary;
  int32_t context_tokens;
  int32_t step_tokens_max;
};

// A step's tokens as rows, and all that kernels read of it, in one copy to the device. Items of
// several tokens come first, then those of one, so that each kind's rows lie together. Its memory
// grows with the largest step. From one thread; the device outlives it.
class StepPlan {
 public:
  // An item of several tokens.
  struct Run {
    int64_t table_row;
    int64_t first_row;
    int64_t rows;
    int32_t positions_max;  // of its last token
  };
  // A row whose logits are wanted.
  struct LogitRow {
    int64_t row;
    int64_t item;
    const baton_sampling* sampling;
  };

  // What a step is laid out for, where that is more than it has. Rows behind its own pad it: their
  // tokens, positions and lengths are those of nobody, and nothing comes of them. Of a step whose
  // items all have one token.
  struct Room {
    int64_t rows = 0;
    int32_t positions = 0;
  };

  // INVALID_ARGUMENT: the batch breaks a limit, which is named.
  Fault Make(Device& device, const StepLimits& limits, const baton_llm_batch& batch,
             const Room& room, const Stream& stream);
  // Brings it to the device. What is copied, and where to, depends on the layout alone.
  Fault Upload(Device& device, const Stream& stream) const;
  // How often what is on the device has moved to another place.
  uint64_t moves() const { return moves_; }

  int64_t rows() const { return rows_; }
  // On the device.
  const int32_t* tokens() const { return At(tokens_); }        // [rows]
  const int32_t* positions() const { return At(positions_); }  // [rows]
  const int32_t* sequences() const { return At(sequences_); }  // [rows], of the KV's tables
  const int32_t* lengths() const { return At(lengths_); }      // [rows]: position + 1
  const cuda::PrefillTile* tiles() const {
    return reinterpret_cast<const cuda::PrefillTile*>(At(tiles_));
  }
  int64_t tile_count() const { return tile_count_; }
  const std::vector<Run>& runs() const { return runs_; }
  // Items of one token: the last rows, and the last rows of the table.
  int64_t single_count() const { return rows_ - single_row_; }
  int64_t single_row() const { return single_row_; }
  int64_t single_table_row() const { return static_cast<int64_t>(runs_.size()); }
  int32_t single_positions_max() const { return single_positions_max_; }
  const std::vector<LogitRow>& logit_rows() const { return logit_rows_; }  // by item
  const cuda::PagedKv& kv() const { return kv_; }                          // without a layer
  // One layer of the step's keys and values.
  cuda::PagedKv Kv(int32_t layer) const;

 private:
  Fault Check(const StepLimits& limits, const baton_llm_batch& batch);
  void Pad(int64_t first_row);
  Fault FindPool(const Device& device, const baton_llm_batch& batch);
  void AddItem(const baton_llm_batch& batch, int64_t item, int64_t table_row, int64_t first_row);
  const int32_t* At(int64_t offset) const {
    return reinterpret_cast<const int32_t*>(device_memory_.data()) + offset;
  }
  int32_t* Staged(int64_t offset) const {
    return reinterpret_cast<int32_t*>(staging_.data()) + offset;
  }

  PinnedMemory staging_;
  DeviceMemory device_memory_;
  cuda::PagedKv kv_ = {};
  // In both, in int32.
  int64_t tokens_ = 0;
  int64_t positions_ = 0;
  int64_t sequences_ = 0;
  int64_t lengths_ = 0;
  int64_t tiles_ = 0;
  int64_t table_ = 0;

  uint64_t moves_ = 0;
  int64_t bytes_ = 0;
  int64_t rows_ = 0;
  int64_t single_row_ = 0;
  int32_t single_positions_max_ = 0;
  int64_t tile_count_ = 0;
  int64_t table_stride_ = 0;
  std::vector<Run> runs_;
  std::vector<LogitRow> logit_rows_;
  std::vector<cuda::PrefillTile> tile_list_;
};

}  // namespace baton::gpu
