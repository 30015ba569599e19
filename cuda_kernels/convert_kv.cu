#include "cuda_kernels/convert_kv.h"

#include "cuda_kernels/launch.h"
#include "cuda_kernels/paged_kv.h"
#include "cuda_kernels/reduce.h"
#include "cuda_kernels/vector_io.h"

namespace baton::cuda {
namespace {

constexpr int kWarps = 8;
constexpr int64_t kHeadDimMax = 512;

// A head's vector within one of a layer's two planes.
struct Vector {
  unsigned char* elements;
  float* scale;  // of int8
};
__device__ __forceinline__ Vector VectorAt(const PagedKv& kv, int64_t layer, int32_t head,
                                           KvPlane plane, int32_t position) {
  PagedKv its = kv;
  its.layer_offset += layer * 2 * kv.plane_bytes();
  const KvHead areas(its, 0, head, plane);
  return {areas.Area(position) + areas.Slot(position) * kv.vector_bytes(), areas.Scale(position)};
}

template <int kVector>
__device__ __forceinline__ void LoadElements(KvElement element, const unsigned char* from, int at,
                                             float scale, float (&x)[kVector]) {
  switch (element) {
    case KvElement::kF32:
      return LoadFloats(reinterpret_cast<const float*>(from) + at, x);
    case KvElement::kF16:
      return LoadFloats(reinterpret_cast<const __half*>(from) + at, x);
    case KvElement::kBF16:
      return LoadFloats(reinterpret_cast<const __nv_bfloat16*>(from) + at, x);
    case KvElement::kInt8:
#pragma unroll
      for (int i = 0; i < kVector; ++i) {
        x[i] = scale * static_cast<float>(reinterpret_cast<const int8_t*>(from)[at + i]);
      }
  }
}
template <int kVector>
__device__ __forceinline__ void StoreElements(KvElement element, const float (&x)[kVector],
                                              float inverse, int at, unsigned char* to) {
  switch (element) {
    case KvElement::kF32:
      return StoreFloats(x, reinterpret_cast<float*>(to) + at);
    case KvElement::kF16:
      return StoreFloats(x, reinterpret_cast<__half*>(to) + at);
    case KvElement::kBF16:
      return StoreFloats(x, reinterpret_cast<__nv_bfloat16*>(to) + at);
    case KvElement::kInt8:
      if constexpr (kVector == 4) {
        uint32_t word = 0;
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          word |= static_cast<uint32_t>(static_cast<uint8_t>(ToInt8(x[i] * inverse))) << (8 * i);
        }
        *reinterpret_cast<uint32_t*>(to + at) = word;
      } else {
        reinterpret_cast<int8_t*>(to)[at] = ToInt8(x[0] * inverse);
      }
  }
}

// Reads the source's bytes once, writes the destination's; a warp to a head's vector, neighbouring
// positions to neighbouring warps. Grid: positions, heads of both planes, layers.
template <int kVector, int kParts>
__global__ void __launch_bounds__(kWarps* kWarpThreads) ConvertKernel(ConvertKvArgs args) {
  const int lane = static_cast<int>(threadIdx.x) % kWarpThreads;
  const int64_t token = static_cast<int64_t>(blockIdx.x) * kWarps + threadIdx.x / kWarpThreads;
  if (token >= args.tokens) return;
  const int head_dim = args.source.head_dim;
  const auto head = static_cast<int32_t>(blockIdx.y) / 2;
  const KvPlane plane = blockIdx.y % 2 == 0 ? KvPlane::kKeys : KvPlane::kValues;
  const int64_t layer = blockIdx.z;
  const auto position = static_cast<int32_t>(token);
  const Vector from = VectorAt(args.source, layer, head, plane, position);
  const Vector to = VectorAt(args.destination, layer, head, plane, position);
  const KvElement element = args.destination.element;
  const bool from_int8 = args.source.element == KvElement::kInt8;

  if (args.source.element == element) {
    for (int64_t i = lane; i < args.source.vector_bytes() / kVector; i += kWarpThreads) {
      if constexpr (kVector == 4) {
        reinterpret_cast<uint32_t*>(to.elements)[i] =
            reinterpret_cast<const uint32_t*>(from.elements)[i];
      } else {
        to.elements[i] = from.elements[i];
      }
    }
    if (from_int8 && lane == 0) *to.scale = *from.scale;
    return;
  }
  const float scale = from_int8 ? *from.scale : 1;
  float x[kParts][kVector] = {};
  uint32_t largest = 0;
#pragma unroll
  for (int part = 0; part < kParts; ++part) {
    const int at = (part * kWarpThreads + lane) * kVector;
    if (at >= head_dim) continue;
    LoadElements(args.source.element, from.elements, at, scale, x[part]);
#pragma unroll
    for (int i = 0; i < kVector; ++i) largest = max(largest, MagnitudeBits(x[part][i]));
  }
  KvScale rounding = {1, 1};
  if (element == KvElement::kInt8) {
    rounding = Int8Scale(WarpMax(largest));
    if (lane == 0) *to.scale = rounding.scale;
  }
#pragma unroll
  for (int part = 0; part < kParts; ++part) {
    const int at = (part * kWarpThreads + lane) * kVector;
    if (at < head_dim) StoreElements(element, x[part], rounding.inverse, at, to.elements);
  }
}

}  // namespace

cudaError_t ConvertKv(const ConvertKvArgs& args, cudaStream_t stream) {
  if (args.tokens == 0 || args.layers == 0) return cudaSuccess;
  const int64_t head_dim = args.source.head_dim;
  if (head_dim > kHeadDimMax || args.destination.head_dim != head_dim ||
      args.destination.kv_heads != args.source.kv_heads || args.layers > kGridYMax) {
    return cudaErrorInvalidValue;
  }
  const LaunchShape shape = {
      dim3(static_cast<unsigned>(CeilDiv(args.tokens, kWarps)),
           static_cast<unsigned>(2 * args.source.kv_heads), static_cast<unsigned>(args.layers)),
      kWarps * kWarpThreads};
  const auto aligned = [](const PagedKv& kv) {
    return kv.head_dim % 4 == 0 && RowsAligned(kv.pool, kv.block_bytes, 16) &&
           kv.layer_offset % 16 == 0 && kv.plane_bytes() % 16 == 0 && kv.area_bytes() % 16 == 0;
  };
  if (!aligned(args.source) || !aligned(args.destination)) {
    return Launch(&ConvertKernel<1, kHeadDimMax / kWarpThreads>, shape, stream, args);
  }
  if (head_dim <= 128) return Launch(&ConvertKernel<4, 1>, shape, stream, args);
  return Launch(&ConvertKernel<4, 4>, shape, stream, args);
}

}  // namespace baton::cuda
