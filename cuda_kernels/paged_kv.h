#pragma once

// How kernels read and write keys and values in their blocks.

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <cstdint>

#include "cuda_kernels/kv_blocks.h"
#include "cuda_kernels/vector_io.h"

namespace baton::cuda {

// What of a block belongs to one head: its keys, or its values.
enum class KvPlane : int32_t { kKeys, kValues };

// One head's areas of one sequence.
class KvHead {
 public:
  __device__ __forceinline__ KvHead(const PagedKv& kv, int64_t sequence, int32_t kv_head,
                                    KvPlane plane)
      : base_(kv.pool + kv.layer_offset + (plane == KvPlane::kValues ? kv.plane_bytes() : 0) +
              kv_head * kv.area_bytes()),
        table_(kv.block_table + sequence * kv.table_stride),
        block_bytes_(kv.block_bytes),
        scales_(kv.block_tokens * kv.vector_bytes()) {
    shift_ = __ffs(kv.block_tokens) - 1;  // the host's half of nvcc would read an initialiser
  }

  // The area of the block that holds a position, and which of its vectors it is.
  __device__ __forceinline__ unsigned char* Area(int32_t position) const {
    return base_ + table_[position >> shift_] * block_bytes_;
  }
  __device__ __forceinline__ int32_t Slot(int32_t position) const {
    return position & ((1 << shift_) - 1);
  }
  // Of int8: the scale of that vector.
  __device__ __forceinline__ float* Scale(int32_t position) const {
    return reinterpret_cast<float*>(Area(position) + scales_) + Slot(position);
  }

 private:
  unsigned char* base_;
  const int32_t* table_;
  int64_t block_bytes_;
  int64_t scales_;  // bytes before the scales in an area
  int shift_ = 0;
};

// Eight elements of a vector as they are stored, and what they are worth.
template <typename Element>
struct KvEight {
  uint32_t words[2 * sizeof(Element)];

  // from: aligned to its 8 elements, 16 bytes at most.
  __device__ __forceinline__ void Load(const unsigned char* from) { LoadWords(from, words); }
  __device__ __forceinline__ void Unpack(float (&x)[8]) const {
    if constexpr (sizeof(Element) == 1) {
#pragma unroll
      for (int i = 0; i < 8; ++i) {
        x[i] = static_cast<float>(static_cast<int8_t>(words[i / 4] >> (8 * (i % 4))));
      }
    } else if constexpr (sizeof(Element) == 2) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        UnpackPair(words[i], static_cast<const Element*>(nullptr), x[2 * i], x[2 * i + 1]);
      }
    } else {
#pragma unroll
      for (int i = 0; i < 8; ++i) x[i] = __uint_as_float(words[i]);
    }
  }
};

// How a vector is stored as int8, of the bits of its largest magnitude (infinity and NaN are above
// all others): engine/kv/kv_type.h. Below 2^-100 it is as good as zero; what is not finite makes
// the whole vector NaN.
struct KvScale {
  float inverse;  // q = round(v * inverse)
  float scale;
};
__device__ __forceinline__ KvScale Int8Scale(uint32_t largest_bits) {
  constexpr uint32_t kInfinityBits = 0x7f800000u;
  constexpr uint32_t kNanBits = 0x7fc00000u;
  if (largest_bits >= kInfinityBits) return {0, __uint_as_float(kNanBits)};
  const float largest = __uint_as_float(largest_bits);
  if (largest < 0x1p-100f) return {0, 0};
  return {127.0f / largest, largest / 127.0f};
}
__device__ __forceinline__ uint32_t MagnitudeBits(float x) {
  return __float_as_uint(x) & 0x7fffffffu;
}
// x: an element times KvScale::inverse.
__device__ __forceinline__ int8_t ToInt8(float x) { return static_cast<int8_t>(__float2int_rn(x)); }

// Head dimensions that attention reads 8 of in one access.
inline bool KvVectorsAligned(const PagedKv& kv) {
  return kv.head_dim % 8 == 0 && RowsAligned(kv.pool, kv.block_bytes, 16) &&
         kv.layer_offset % 16 == 0;
}

}  // namespace baton::cuda
