#include "cuda_kernels/decode_attention.h"

#include <math_constants.h>

#include "cuda_kernels/arch/grid_order.h"
#include "cuda_kernels/arch/math.h"
#include "cuda_kernels/launch.h"
#include "cuda_kernels/paged_kv.h"
#include "cuda_kernels/reduce.h"
#include "cuda_kernels/shared.h"
#include "cuda_kernels/vector_io.h"

namespace baton::cuda {
namespace {

// Warps of a block; vectors of keys, and of values, that a lane has under way.
template <int kOfWarps, int kOfUnroll>
struct Tile {
  static constexpr int kWarps = kOfWarps;
  static constexpr int kUnroll = kOfUnroll;
};
using UsualTile = Tile<4, 4>;
constexpr int kCombineThreads = 128;
constexpr float kLog2E = 1.4426950408889634f;

// Exponents are to the base 2; a maximum of -inf is that of nothing.
__device__ __forceinline__ float Rescale(float from, float to) {
  return from == -CUDART_INF_F ? 0 : Exp2(from - to);
}

__device__ __forceinline__ void LoadActivations(ActivationElement element, const void* from,
                                                int64_t index, float (&x)[8]) {
  if (element == ActivationElement::kF32) {
    LoadFloats(static_cast<const float*>(from) + index, x);
  } else {
    LoadFloats(static_cast<const __nv_bfloat16*>(from) + index, x);
  }
}
__device__ __forceinline__ void StoreActivation(ActivationElement element, float x, void* to,
                                                int64_t index) {
  if (element == ActivationElement::kF32) {
    static_cast<float*>(to)[index] = x;
  } else {
    FromFloat(x, static_cast<__nv_bfloat16*>(to)[index]);
  }
}

// The workspace: values [sequences, heads, splits, head_dim], then (maximum, sum) [sequences,
// heads, splits]; both f32.
__device__ __forceinline__ float2* Sums(const DecodeAttentionArgs& args) {
  return reinterpret_cast<float2*>(args.workspace +
                                   args.sequences * args.heads * args.splits * args.kv.head_dim);
}

// Reads 2 * head_dim elements to each position and kv head, computes 4 * head_dim FLOPs to each
// position and head. kLanes of a warp hold a key together, 8 dimensions each, against kGroup
// queries; grid: splits, groups of heads that share a kv head, sequences.
template <typename Element, int kLanes, int kGroup, typename Of>
__global__ void __launch_bounds__(Of::kWarps* kWarpThreads)
    DecodeAttentionKernel(DecodeAttentionArgs args) {
  AwaitEarlierKernels();
  constexpr int kWarps = Of::kWarps;
  constexpr int kUnroll = Of::kUnroll;
  constexpr int kPositions = kWarpThreads / kLanes;  // side by side in a warp
  constexpr int kTile = kPositions * kUnroll;        // of a warp at a time
  const int head_dim = args.kv.head_dim;
  SharedMemory memory;
  float* const warp_values = memory.Shared<float>(kWarps * kGroup * head_dim);
  float2* const warp_sums = memory.Shared<float2>(kWarps * kGroup);

  const int warp = static_cast<int>(threadIdx.x) / kWarpThreads;
  const int lane = static_cast<int>(threadIdx.x) % kWarpThreads;
  const int dim = lane % kLanes * 8;
  const bool has_dim = dim < head_dim;
  const int side = lane / kLanes;
  const int64_t sequence = blockIdx.z;
  const int heads_per_kv = args.heads / args.kv.kv_heads;
  const int groups = (heads_per_kv + kGroup - 1) / kGroup;
  const int kv_head = static_cast<int>(blockIdx.y) / groups;
  const int group_begin = static_cast<int>(blockIdx.y) % groups * kGroup;
  const int group_size = min(kGroup, heads_per_kv - group_begin);
  const int first_head = kv_head * heads_per_kv + group_begin;

  const int length = max(0, args.lengths[sequence]);
  const int start = args.window > 0 ? max(0, length - args.window) : 0;
  const int split_tile = kWarps * kTile;
  const int chunk =
      static_cast<int>(CeilDiv(CeilDiv(length - start, args.splits), split_tile) * split_tile);
  const int begin = start + static_cast<int>(blockIdx.x) * chunk;
  const int end = min(length, begin + chunk);

  const bool capped = args.score_cap > 0;
  const float query_scale = capped ? args.scale : args.scale * kLog2E;
  float q[kGroup][8];
  float values[kGroup][8];
  float maximum[kGroup];
  float sum[kGroup];
#pragma unroll
  for (int g = 0; g < kGroup; ++g) {
    maximum[g] = -CUDART_INF_F;
    sum[g] = 0;
#pragma unroll
    for (int i = 0; i < 8; ++i) q[g][i] = values[g][i] = 0;
    if (g < group_size && has_dim) {
      LoadActivations(
          args.element, args.q,
          sequence * args.q_stride + static_cast<int64_t>(first_head + g) * head_dim + dim, q[g]);
#pragma unroll
      for (int i = 0; i < 8; ++i) q[g][i] *= query_scale;
    }
  }

  const KvHead keys(args.kv, sequence, kv_head, KvPlane::kKeys);
  const KvHead kv_values(args.kv, sequence, kv_head, KvPlane::kValues);
  for (int base = begin + warp * kTile; base < end; base += kWarps * kTile) {
    KvEight<Element> key_words[kUnroll];
    KvEight<Element> value_words[kUnroll];
    float key_scale[kUnroll];
    float value_scale[kUnroll];
#pragma unroll
    for (int u = 0; u < kUnroll; ++u) {
      const int position = base + u * kPositions + side;
      key_words[u] = {};
      value_words[u] = {};
      key_scale[u] = value_scale[u] = 0;
      if (position >= end || !has_dim) continue;
      const int64_t offset =
          (static_cast<int64_t>(keys.Slot(position)) * head_dim + dim) * sizeof(Element);
      key_words[u].Load(keys.Area(position) + offset);
      value_words[u].Load(kv_values.Area(position) + offset);
      if constexpr (sizeof(Element) == 1) {
        key_scale[u] = *keys.Scale(position);
        value_scale[u] = *kv_values.Scale(position);
      }
    }
    float scores[kUnroll][kGroup];
#pragma unroll
    for (int u = 0; u < kUnroll; ++u) {
      float key[8];
      key_words[u].Unpack(key);
#pragma unroll
      for (int g = 0; g < kGroup; ++g) {
        float dot = 0;
#pragma unroll
        for (int i = 0; i < 8; ++i) dot += q[g][i] * key[i];
        if constexpr (sizeof(Element) == 1) dot *= key_scale[u];
#pragma unroll
        for (int lanes = kLanes / 2; lanes > 0; lanes /= 2) {
          dot += __shfl_xor_sync(kAllLanes, dot, lanes);
        }
        if (capped) dot = args.score_cap * tanhf(dot / args.score_cap) * kLog2E;
        scores[u][g] = base + u * kPositions + side < end ? dot : -CUDART_INF_F;
      }
    }
#pragma unroll
    for (int g = 0; g < kGroup; ++g) {
      float highest = maximum[g];
#pragma unroll
      for (int u = 0; u < kUnroll; ++u) highest = fmaxf(highest, scores[u][g]);
      const float rescale = Rescale(maximum[g], highest);
      maximum[g] = highest;
      sum[g] *= rescale;
#pragma unroll
      for (int i = 0; i < 8; ++i) values[g][i] *= rescale;
#pragma unroll
      for (int u = 0; u < kUnroll; ++u) {
        scores[u][g] = Rescale(scores[u][g], highest);
        sum[g] += scores[u][g];
      }
    }
#pragma unroll
    for (int u = 0; u < kUnroll; ++u) {
      float value[8];
      value_words[u].Unpack(value);
#pragma unroll
      for (int g = 0; g < kGroup; ++g) {
        const float weight = sizeof(Element) == 1 ? scores[u][g] * value_scale[u] : scores[u][g];
#pragma unroll
        for (int i = 0; i < 8; ++i) values[g][i] += weight * value[i];
      }
    }
  }

  // The sides of a warp, then the warps, become one.
#pragma unroll
  for (int lanes = kLanes; lanes < kWarpThreads; lanes *= 2) {
#pragma unroll
    for (int g = 0; g < kGroup; ++g) {
      const float other = __shfl_xor_sync(kAllLanes, maximum[g], lanes);
      const float highest = fmaxf(maximum[g], other);
      const float rescale = Rescale(maximum[g], highest);
      maximum[g] = highest;
      sum[g] *= rescale;
      sum[g] += __shfl_xor_sync(kAllLanes, sum[g], lanes);
#pragma unroll
      for (int i = 0; i < 8; ++i) {
        values[g][i] *= rescale;
        values[g][i] += __shfl_xor_sync(kAllLanes, values[g][i], lanes);
      }
    }
  }
#pragma unroll
  for (int g = 0; g < kGroup; ++g) {
    if (side == 0 && has_dim) {
      StoreFloats(values[g], warp_values + (warp * kGroup + g) * head_dim + dim);
    }
    if (lane == 0) warp_sums[warp * kGroup + g] = make_float2(maximum[g], sum[g]);
  }
  __syncthreads();
  for (int i = static_cast<int>(threadIdx.x); i < group_size * head_dim;
       i += kWarps * kWarpThreads) {
    const int g = i / head_dim;
    const int d = i % head_dim;
    float highest = -CUDART_INF_F;
#pragma unroll
    for (int w = 0; w < kWarps; ++w) highest = fmaxf(highest, warp_sums[w * kGroup + g].x);
    float value = 0;
    float total = 0;
#pragma unroll
    for (int w = 0; w < kWarps; ++w) {
      const float2 its = warp_sums[w * kGroup + g];
      const float rescale = Rescale(its.x, highest);
      total += its.y * rescale;
      value += warp_values[(w * kGroup + g) * head_dim + d] * rescale;
    }
    const int64_t head = sequence * args.heads + first_head + g;
    if (args.splits == 1) {
      StoreActivation(args.element, total > 0 ? value / total : 0, args.out, head * head_dim + d);
    } else {
      const int64_t part = head * args.splits + blockIdx.x;
      args.workspace[part * head_dim + d] = value;
      if (d == 0) Sums(args)[part] = make_float2(highest, total);
    }
  }
}

// Reads sequences * heads * splits * head_dim * 4 bytes; one block to a head of a sequence.
__global__ void __launch_bounds__(kCombineThreads) CombineKernel(DecodeAttentionArgs args) {
  AwaitEarlierKernels();
  const int64_t head = blockIdx.x;
  const int head_dim = args.kv.head_dim;
  const float2* const sums = Sums(args) + head * args.splits;
  float highest = -CUDART_INF_F;
  for (int split = 0; split < args.splits; ++split) highest = fmaxf(highest, sums[split].x);
  float total = 0;
  for (int split = 0; split < args.splits; ++split) {
    total += sums[split].y * Rescale(sums[split].x, highest);
  }
  for (int d = static_cast<int>(threadIdx.x); d < head_dim; d += kCombineThreads) {
    float value = 0;
    for (int split = 0; split < args.splits; ++split) {
      value += args.workspace[(head * args.splits + split) * head_dim + d] *
               Rescale(sums[split].x, highest);
    }
    StoreActivation(args.element, total > 0 ? value / total : 0, args.out, head * head_dim + d);
  }
}

template <typename Element, int kLanes, int kGroup, typename Of = UsualTile>
cudaError_t LaunchGroup(const DecodeAttentionArgs& args, const LaunchStream& stream) {
  constexpr int kWarps = Of::kWarps;
  const int64_t groups = args.kv.kv_heads * CeilDiv(args.heads / args.kv.kv_heads, kGroup);
  if (groups > kGridYMax || args.sequences > kGridYMax) return cudaErrorInvalidValue;
  const LaunchShape shape = {
      dim3(static_cast<unsigned>(args.splits), static_cast<unsigned>(groups),
           static_cast<unsigned>(args.sequences)),
      kWarps * kWarpThreads,
      SharedPiece(sizeof(float) * kWarps * kGroup * static_cast<size_t>(args.kv.head_dim)) +
          SharedPiece(sizeof(float2) * kWarps * kGroup)};
  return Launch(&DecodeAttentionKernel<Element, kLanes, kGroup, Of>, shape, stream, args);
}

template <typename Element, int kLanes>
cudaError_t LaunchLanes(const DecodeAttentionArgs& args, const LaunchStream& stream) {
  // f32 is for comparison with other engines: one kernel, which reads keys once to each head.
  if constexpr (sizeof(Element) == 4) {
    return LaunchGroup<Element, kLanes, 1>(args, stream);
  } else {
    const int32_t group = args.heads / args.kv.kv_heads;
    if (group == 1) return LaunchGroup<Element, kLanes, 1>(args, stream);
    if (group <= 4) return LaunchGroup<Element, kLanes, 4>(args, stream);
    return LaunchGroup<Element, kLanes, 8>(args, stream);
  }
}

template <typename Element>
cudaError_t LaunchElement(const DecodeAttentionArgs& args, const LaunchStream& stream) {
  if (args.kv.head_dim <= 64) return LaunchLanes<Element, 8>(args, stream);
  if (args.kv.head_dim <= 128) return LaunchLanes<Element, 16>(args, stream);
  return LaunchLanes<Element, 32>(args, stream);
}

cudaError_t LaunchAll(const DecodeAttentionArgs& args, const LaunchStream& stream) {
  switch (args.kv.element) {
    case KvElement::kF32:
      return LaunchElement<float>(args, stream);
    case KvElement::kF16:
      return LaunchElement<__half>(args, stream);
    case KvElement::kBF16:
      return LaunchElement<__nv_bfloat16>(args, stream);
    case KvElement::kInt8:
      return LaunchElement<KvInt8>(args, stream);
  }
  return cudaErrorInvalidValue;
}

cudaError_t LaunchVariant(const DecodeAttentionArgs& args, int32_t variant,
                          const LaunchStream& stream) {
  switch (variant) {
    case 0:
      return LaunchGroup<__nv_bfloat16, 16, 4>(args, stream);
    case 1:
      return LaunchGroup<__nv_bfloat16, 16, 4, Tile<4, 2>>(args, stream);
    case 2:
      return LaunchGroup<__nv_bfloat16, 16, 4, Tile<4, 8>>(args, stream);
    case 3:
      return LaunchGroup<__nv_bfloat16, 16, 4, Tile<8, 4>>(args, stream);
    default:
      return cudaErrorInvalidValue;
  }
}

cudaError_t Combine(const DecodeAttentionArgs& args, const LaunchStream& stream) {
  if (args.splits == 1) return cudaSuccess;
  return Launch(&CombineKernel,
                {dim3(static_cast<unsigned>(args.sequences * args.heads)), kCombineThreads}, stream,
                args);
}

}  // namespace

int32_t DecodeAttentionSplits(const DecodeAttentionShape& shape) {
  // Two blocks of each multiprocessor's share, but no part below 128 positions, where merging would
  // cost more than it brings.
  constexpr int64_t kBlocksPerMultiprocessor = 2;
  constexpr int64_t kPositionsMin = 128;
  const int64_t blocks = shape.sequences * shape.kv_heads;
  if (blocks == 0) return 1;
  const int64_t wanted = CeilDiv(kBlocksPerMultiprocessor * shape.multiprocessors, blocks);
  const int64_t useful = CeilDiv(shape.positions_max, kPositionsMin);
  const int64_t splits = wanted < useful ? wanted : useful;
  if (splits < 1) return 1;
  return static_cast<int32_t>(splits < kDecodeSplitsMax ? splits : kDecodeSplitsMax);
}

int64_t DecodeAttentionWorkspaceBytes(const DecodeWorkspaceShape& shape) {
  if (shape.splits == 1) return 0;
  return shape.sequences * shape.heads * shape.splits * (shape.head_dim + 2) *
         static_cast<int64_t>(sizeof(float));
}

bool CanRun(const DecodeAttentionArgs& args) {
  return KvVectorsAligned(args.kv) && args.kv.head_dim <= 256 &&
         args.heads % args.kv.kv_heads == 0 && args.splits >= 1 &&
         args.splits <= kDecodeSplitsMax && reinterpret_cast<uintptr_t>(args.q) % 16 == 0 &&
         args.q_stride % 8 == 0 && RowsAligned(args.workspace, 0, 16);
}

cudaError_t DecodeAttention(const DecodeAttentionArgs& args, const LaunchStream& stream) {
  if (args.sequences == 0) return cudaSuccess;
  if (!CanRun(args)) return cudaErrorInvalidValue;
  const cudaError_t status = LaunchAll(args, stream);
  return status == cudaSuccess ? Combine(args, stream) : status;
}

cudaError_t DecodeAttentionVariant(const DecodeAttentionArgs& args, int32_t variant,
                                   const LaunchStream& stream) {
  if (args.sequences == 0) return cudaSuccess;
  const bool can_run = CanRun(args) && args.kv.element == KvElement::kBF16 &&
                       args.kv.head_dim > 64 && args.kv.head_dim <= 128 &&
                       args.heads / args.kv.kv_heads <= 4;
  if (!can_run) return cudaErrorInvalidValue;
  const cudaError_t status = LaunchVariant(args, variant, stream);
  return status == cudaSuccess ? Combine(args, stream) : status;
}

}  // namespace baton::cuda
