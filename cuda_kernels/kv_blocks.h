#pragma once

// Where keys and values lie: blocks of engine/kv/kv_layout.h in one pool, a table of them to each
// sequence. For launchers' callers, too; what kernels do with it is in paged_kv.h.

#include <cuda_runtime.h>

#include <cstdint>

namespace baton::cuda {

enum class KvElement : int32_t { kF32, kF16, kBF16, kInt8 };

struct KvInt8 {
  int8_t q;  // with the f32 scale of its head's vector: value = scale * q
};

// One layer of them. A block: [layers][2 (k, v)][kv_heads] areas, each [block_tokens][head_dim]
// elements, then of int8 [block_tokens] f32 scales.
struct PagedKv {
  unsigned char* pool;         // [blocks][block_bytes], aligned to 16 bytes
  const int32_t* block_table;  // [sequences, table_stride]: blocks in the order of positions
  int64_t table_stride;        // elements
  int64_t block_bytes;         // a multiple of 16
  int64_t layer_offset;        // bytes before this layer in a block, a multiple of 16
  int32_t kv_heads;
  int32_t head_dim;
  // A power of two, 8 to 64. Or 1: a block is a row of a product for queries, keys and values, as
  // attention over whole texts reads it.
  int32_t block_tokens;
  KvElement element;

  __host__ __device__ int64_t vector_bytes() const {
    return static_cast<int64_t>(head_dim) * (element == KvElement::kF32    ? 4
                                             : element == KvElement::kInt8 ? 1
                                                                           : 2);
  }
  __host__ __device__ int64_t area_bytes() const {
    return block_tokens * (vector_bytes() + (element == KvElement::kInt8 ? 4 : 0));
  }
  __host__ __device__ int64_t plane_bytes() const { return area_bytes() * kv_heads; }
};

}  // namespace baton::cuda
