#pragma once

#include <cstdint>

#include "cuda_kernels/decode_attention.h"
#include "cuda_kernels/kv_blocks.h"
#include "cuda_kernels/prefill_attention.h"
#include "tests/bench/gpu/gpu_bench.h"

namespace baton::gpu_bench {

struct AttentionShape {
  int32_t sequences;
  int32_t positions;  // of each
  int32_t heads;
  int32_t kv_heads;
  int32_t head_dim;
};

// Random keys and values, bf16, in blocks of 16 positions that are not in order.
class AttentionKv {
 public:
  Error Make(const Bench& bench, const AttentionShape& shape);
  const cuda::PagedKv& kv() const { return kv_; }

 private:
  Buffer pool_;
  Buffer table_;
  cuda::PagedKv kv_ = {};
};

// All rows of whole prompts.
class PrefillInput {
 public:
  Error Make(const Bench& bench, const AttentionShape& shape);
  const cuda::PrefillAttentionArgs& args() const { return args_; }
  double flops() const { return flops_; }  // of the causal half

 private:
  AttentionKv kv_;
  Buffer q_;
  Buffer out_;
  Buffer tiles_;
  cuda::PrefillAttentionArgs args_ = {};
  double flops_ = 0;
};

// One query to a sequence.
class DecodeInput {
 public:
  Error Make(const Bench& bench, const AttentionShape& shape);
  const cuda::DecodeAttentionArgs& args() const { return args_; }
  double bytes() const { return bytes_; }  // of keys and values

 private:
  AttentionKv kv_;
  Buffer q_;
  Buffer out_;
  Buffer lengths_;
  Buffer workspace_;
  cuda::DecodeAttentionArgs args_ = {};
  double bytes_ = 0;
};

}  // namespace baton::gpu_bench
