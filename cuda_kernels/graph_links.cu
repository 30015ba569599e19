#include "cuda_kernels/graph_links.h"

#include "cuda_kernels/key_collector.h"
#include "cuda_kernels/launch.h"
#include "cuda_kernels/merge_top_k.h"
#include "cuda_kernels/reduce.h"
#include "cuda_kernels/shared.h"

namespace baton::cuda {
namespace {

constexpr int kThreads = 128;
constexpr int kWarps = kThreads / kWarpThreads;

// By a warp, to all its lanes: the same bits whichever of the two comes first.
__device__ __forceinline__ float DistanceBetween(const PruneLinksArgs& args, int64_t a, int64_t b) {
  const float* const x = args.vectors + a * args.dimension;
  const float* const y = args.vectors + b * args.dimension;
  float sum = 0;
  for (int64_t i = threadIdx.x % kWarpThreads; i < args.dimension; i += kWarpThreads) {
    const float difference = x[i] - y[i];
    sum = args.metric == VectorMetric::kL2 ? fmaf(difference, difference, sum)
                                           : fmaf(-x[i], y[i], sum);
  }
  return WarpSum(sum);
}

// 3 * dimension FLOP to each candidate, and to each pair of a kept one and one that is left; one
// block to a node, a warp to a distance.
__global__ void __launch_bounds__(kThreads) PruneKernel(PruneLinksArgs args, int size) {
  SharedMemory memory;
  uint64_t* const keys = memory.Shared<uint64_t>(static_cast<size_t>(size));
  int* const out = memory.Shared<int>(static_cast<size_t>(size));
  int* const total = memory.Shared<int>(1);
  const int warp = static_cast<int>(threadIdx.x) / kWarpThreads;
  const int lane = static_cast<int>(threadIdx.x) % kWarpThreads;
  const int64_t index = blockIdx.x;
  const int64_t node = args.first_node + index;

  if (threadIdx.x == 0) *total = 0;
  for (int i = warp; i < size; i += kWarps) {
    uint64_t key = kNoKey;
    if (i < args.candidate_count) {
      key = args.candidates[index * args.candidate_count + i];
    } else if (i < args.candidate_count + args.other_count) {
      key = args.others[index * args.other_count + i - args.candidate_count];
    }
    if (key != kNoKey && RowOf(key) == node) key = kNoKey;
    if (key != kNoKey) key = KeyOf(DistanceBetween(args, node, RowOf(key)), RowOf(key));
    if (lane == 0) keys[i] = key;
  }
  __syncthreads();  // all keys are there
  SortKeys(keys, size);
  for (int i = static_cast<int>(threadIdx.x); i < size; i += kThreads) {
    out[i] = keys[i] == kNoKey || (i > 0 && keys[i - 1] == keys[i]) ? 1 : 0;
    if (out[i] == 0) atomicAdd(total, 1);
  }
  __syncthreads();  // which of them count, and how many

  const bool all = *total < args.wanted;
  const auto keep = [&](int place, uint64_t key) {
    if (threadIdx.x != 0) return;
    if (args.kept != nullptr) args.kept[index * args.wanted + place] = key;
    if (args.links != nullptr) args.links[index * args.wanted + place] = RowOf(key);
  };
  int kept = 0;
  for (int i = 0; i < size && kept < args.wanted; ++i) {
    if (out[i] != 0) continue;
    keep(kept++, keys[i]);
    if (all) continue;
    for (int j = i + 1 + warp; j < size; j += kWarps) {
      if (out[j] != 0) continue;
      const float apart = DistanceBetween(args, RowOf(keys[i]), RowOf(keys[j]));
      if (lane == 0 && apart < DistanceOf(keys[j])) out[j] = 1;
    }
    __syncthreads();  // what is nearer to this one is out
  }
  for (; kept < args.wanted; ++kept) keep(kept, kNoKey);
}

__global__ void __launch_bounds__(kThreads) ClearKernel(ReverseLinksArgs args) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i < args.nodes * args.room) args.reverse[i] = kNoKey;
}

// Reads the links once, with an atomic of 8 bytes to each.
__global__ void __launch_bounds__(kThreads) ReverseKernel(ReverseLinksArgs args) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i >= args.nodes * args.wanted) return;
  const uint64_t key = args.kept[i];
  if (key == kNoKey) return;
  const auto from = static_cast<uint32_t>(i / args.wanted);
  const int64_t at = static_cast<int64_t>(RowOf(key)) * args.room + from % args.room;
  atomicMin(reinterpret_cast<unsigned long long*>(args.reverse + at),
            static_cast<unsigned long long>(KeyOf(DistanceOf(key), from)));
}

}  // namespace

cudaError_t PruneLinks(const PruneLinksArgs& args, cudaStream_t stream) {
  if (args.nodes == 0) return cudaSuccess;
  const int count = args.candidate_count + args.other_count;
  if (args.wanted < 1 || args.candidate_count < 0 || args.other_count < 0 ||
      count > kPruneCandidatesMax || args.metric == VectorMetric::kCosine) {
    return cudaErrorInvalidValue;
  }
  int size = 2;
  while (size < count) size *= 2;
  const size_t keys = static_cast<size_t>(size);
  const size_t shared = SharedPiece(keys * sizeof(uint64_t)) + SharedPiece(keys * sizeof(int)) +
                        SharedPiece(sizeof(int));
  return Launch(&PruneKernel, {dim3(static_cast<unsigned>(args.nodes)), kThreads, shared}, stream,
                args, size);
}

cudaError_t ReverseLinks(const ReverseLinksArgs& args, cudaStream_t stream) {
  if (args.nodes == 0) return cudaSuccess;
  if (args.wanted < 1 || args.room < 1) return cudaErrorInvalidValue;
  const cudaError_t cleared =
      Launch(&ClearKernel,
             {dim3(static_cast<unsigned>(CeilDiv(args.nodes * args.room, kThreads))), kThreads},
             stream, args);
  if (cleared != cudaSuccess) return cleared;
  return Launch(
      &ReverseKernel,
      {dim3(static_cast<unsigned>(CeilDiv(args.nodes * args.wanted, kThreads))), kThreads}, stream,
      args);
}

}  // namespace baton::cuda
