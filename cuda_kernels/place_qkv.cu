#include "cuda_kernels/place_qkv.h"

#include "cuda_kernels/arch/grid_order.h"
#include "cuda_kernels/launch.h"
#include "cuda_kernels/paged_kv.h"
#include "cuda_kernels/reduce.h"
#include "cuda_kernels/vector_io.h"

namespace baton::cuda {
namespace {

constexpr int kHeadsPerBlock = 4;  // a warp to each

// The two dimensions of a head that a lane holds together.
struct Pair {
  int a;
  int b;
};
template <typename T>
__device__ __forceinline__ Pair PairAt(const PlaceQkvArgs<T>& args, int index, bool rotates) {
  const int turning = rotates ? args.rope_dims / 2 : 0;
  if (index >= turning || args.rope == RopeKind::kAdjacent) return {2 * index, 2 * index + 1};
  return {index, index + turning};
}

// Stores kPairs of them to a position of one head.
template <int kPairs>
__device__ __forceinline__ void StoreKv(const PagedKv& kv, const KvHead& head, int32_t position,
                                        const Pair (&at)[kPairs], const float2 (&x)[kPairs]) {
  unsigned char* const area = head.Area(position);
  const int64_t offset = static_cast<int64_t>(head.Slot(position)) * kv.head_dim;
  if (kv.element == KvElement::kInt8) {
    uint32_t largest = 0;
#pragma unroll
    for (int i = 0; i < kPairs; ++i) {
      largest = max(largest, max(MagnitudeBits(x[i].x), MagnitudeBits(x[i].y)));
    }
    const KvScale scale = Int8Scale(WarpMax(largest));
    int8_t* const to = reinterpret_cast<int8_t*>(area) + offset;
#pragma unroll
    for (int i = 0; i < kPairs; ++i) {
      if (at[i].b >= kv.head_dim) continue;
      to[at[i].a] = ToInt8(x[i].x * scale.inverse);
      to[at[i].b] = ToInt8(x[i].y * scale.inverse);
    }
    if (threadIdx.x % kWarpThreads == 0) *head.Scale(position) = scale.scale;
    return;
  }
  const auto store = [&](auto* elements) {
#pragma unroll
    for (int i = 0; i < kPairs; ++i) {
      if (at[i].b >= kv.head_dim) continue;
      FromFloat(x[i].x, elements[offset + at[i].a]);
      FromFloat(x[i].y, elements[offset + at[i].b]);
    }
  };
  switch (kv.element) {
    case KvElement::kF32:
      return store(reinterpret_cast<float*>(area));
    case KvElement::kF16:
      return store(reinterpret_cast<__half*>(area));
    default:
      return store(reinterpret_cast<__nv_bfloat16*>(area));
  }
}

// Reads rows * stride * sizeof(T), writes as much to q and blocks; one warp to a head of a row.
template <typename T, int kPairs>
__global__ void __launch_bounds__(kHeadsPerBlock* kWarpThreads)
    PlaceQkvKernel(PlaceQkvArgs<T> args) {
  AwaitEarlierKernels();
  const int64_t row = blockIdx.x;
  const int warp = static_cast<int>(threadIdx.x) / kWarpThreads;
  const int lane = static_cast<int>(threadIdx.x) % kWarpThreads;
  const int head = static_cast<int>(blockIdx.y) * kHeadsPerBlock + warp;
  const int32_t position = args.positions[row];
  if (head >= args.heads + 2 * args.kv.kv_heads || position < 0) return;
  const int head_dim = args.kv.head_dim;
  const bool is_query = head < args.heads;
  const bool is_value = head >= args.heads + args.kv.kv_heads;
  const float* const norm = is_query ? args.query_norm : is_value ? nullptr : args.key_norm;

  const int64_t first = static_cast<int64_t>(head) * head_dim;
  const T* const from = args.qkv + row * args.stride + first;
  Pair at[kPairs];
  float2 x[kPairs];
  float squares = 0;
#pragma unroll
  for (int i = 0; i < kPairs; ++i) {
    at[i] = PairAt(args, lane + i * kWarpThreads, !is_value);
    x[i] = make_float2(0, 0);
    if (at[i].b >= head_dim) continue;
    x[i] = make_float2(ToFloat(from[at[i].a]), ToFloat(from[at[i].b]));
    if (args.bias != nullptr) {
      x[i].x += args.bias[first + at[i].a];
      x[i].y += args.bias[first + at[i].b];
    }
    squares += x[i].x * x[i].x + x[i].y * x[i].y;
  }
  if (norm != nullptr) {
    const float mean = WarpSum(squares) / static_cast<float>(head_dim);
    const float scale = rsqrtf(mean + args.epsilon);
#pragma unroll
    for (int i = 0; i < kPairs; ++i) {
      if (at[i].b >= head_dim) continue;
      x[i].x *= scale * norm[at[i].a];
      x[i].y *= scale * norm[at[i].b];
    }
  }
  if (!is_value) {
    const int turning = args.rope_dims / 2;
#pragma unroll
    for (int i = 0; i < kPairs; ++i) {
      const int pair = lane + i * kWarpThreads;
      if (pair >= turning) continue;
      const float2 turn = args.rotations[static_cast<int64_t>(position) * turning + pair];
      x[i] = make_float2(x[i].x * turn.x - x[i].y * turn.y, x[i].x * turn.y + x[i].y * turn.x);
    }
  }
  if (is_query) {
    T* const to = args.q + row * args.q_stride + first;
#pragma unroll
    for (int i = 0; i < kPairs; ++i) {
      if (at[i].b >= head_dim) continue;
      FromFloat(x[i].x, to[at[i].a]);
      FromFloat(x[i].y, to[at[i].b]);
    }
    return;
  }
  const int32_t kv_head = head - args.heads - (is_value ? args.kv.kv_heads : 0);
  const KvHead kv_areas(args.kv, args.sequences[row], kv_head,
                        is_value ? KvPlane::kValues : KvPlane::kKeys);
  StoreKv(args.kv, kv_areas, position, at, x);
}

}  // namespace

template <typename T>
cudaError_t PlaceQkv(const PlaceQkvArgs<T>& args, const LaunchStream& stream) {
  if (args.rows == 0) return cudaSuccess;
  const int32_t head_dim = args.kv.head_dim;
  if (head_dim % 2 != 0 || args.rope_dims % 2 != 0 || args.rope_dims > head_dim) {
    return cudaErrorInvalidValue;
  }
  const int64_t heads = CeilDiv(args.heads + 2 * args.kv.kv_heads, kHeadsPerBlock);
  const LaunchShape shape = {dim3(static_cast<unsigned>(args.rows), static_cast<unsigned>(heads)),
                             kHeadsPerBlock * kWarpThreads};
  if (head_dim <= 64) return Launch(&PlaceQkvKernel<T, 1>, shape, stream, args);
  if (head_dim <= 128) return Launch(&PlaceQkvKernel<T, 2>, shape, stream, args);
  if (head_dim <= 256) return Launch(&PlaceQkvKernel<T, 4>, shape, stream, args);
  if (head_dim <= 512) return Launch(&PlaceQkvKernel<T, 8>, shape, stream, args);
  return cudaErrorInvalidValue;
}

template cudaError_t PlaceQkv(const PlaceQkvArgs<float>&, const LaunchStream&);
template cudaError_t PlaceQkv(const PlaceQkvArgs<__nv_bfloat16>&, const LaunchStream&);

}  // namespace baton::cuda
