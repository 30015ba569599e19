#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <vector>

#include "cuda_kernels/prefill_attention.h"
#include "engine/exec/executor_abi.h"
#include "engine/exec/gpu/plugin/device.h"

namespace baton::gpu {

// What a step of texts must fit.
struct EncoderLimits {
  const char* model;
  int32_t vocabulary;
  int32_t context_tokens;
  int32_t tokens_max;  // of a step
};

// A step's texts one behind the other as rows, and all that kernels read of it, in one copy to the
// device. Its memory is taken at the start. From one thread; the device outlives it.
class EncoderPlan {
 public:
  Fault Start(Device& device, const EncoderLimits& limits);
  // INVALID_ARGUMENT: the batch breaks a limit, which is named. second_offset: what is added to
  // the offsets of tokens of pairs' second texts.
  Fault Make(const baton_encoder_batch& batch, int32_t second_offset);
  Fault Upload(Device& device, const Stream& stream) const;

  int64_t rows() const { return rows_; }
  int64_t texts() const { return texts_; }
  int32_t first_row(int64_t text) const { return Staged(begins_)[text]; }  // of a step of a batch
  int64_t tile_count() const { return tile_count_; }
  // On the device.
  const int32_t* tokens() const { return At(tokens_); }  // [rows]
  // [rows]: their positions, or, of pairs' second texts, so many more.
  const int32_t* offsets() const { return At(offsets_); }
  const int32_t* begins() const { return At(begins_); }    // [texts]: first rows
  const int32_t* firsts() const { return At(firsts_); }    // [texts]: behind the first rows
  const int32_t* ends() const { return At(ends_); }        // [texts]: behind the last rows
  const int32_t* lengths() const { return At(lengths_); }  // [rows]: of a text, at its first row
  const int32_t* numbers() const { return At(numbers_); }  // [rows]: of each row its own
  const cuda::PrefillTile* tiles() const {                 // whose sequences are texts' first rows
    return reinterpret_cast<const cuda::PrefillTile*>(At(tiles_));
  }

 private:
  Fault Check(const baton_encoder_batch& batch);
  const int32_t* At(int64_t offset) const {
    return reinterpret_cast<const int32_t*>(device_memory_.data()) + offset;
  }
  int32_t* Staged(int64_t offset) const {
    return reinterpret_cast<int32_t*>(staging_.data()) + offset;
  }

  EncoderLimits limits_ = {};
  PinnedMemory staging_;
  DeviceMemory device_memory_;
  // In both, in int32.
  int64_t tokens_ = 0;
  int64_t offsets_ = 0;
  int64_t begins_ = 0;
  int64_t firsts_ = 0;
  int64_t ends_ = 0;
  int64_t lengths_ = 0;
  int64_t numbers_ = 0;
  int64_t tiles_ = 0;

  int64_t bytes_ = 0;
  int64_t rows_ = 0;
  int64_t texts_ = 0;
  int64_t tile_count_ = 0;
};

}  // namespace baton::gpu
