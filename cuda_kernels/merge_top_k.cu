#include "cuda_kernels/merge_top_k.h"

#include <math_constants.h>

#include "cuda_kernels/key_collector.h"
#include "cuda_kernels/launch.h"
#include "cuda_kernels/shared.h"

namespace baton::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kPerRound = 4;  // keys of a thread
constexpr int kRound = kThreads * kPerRound;

// Reads lists * length keys once; one block to a query.
__global__ void __launch_bounds__(kThreads) MergeKernel(MergeTopKArgs args) {
  SharedMemory memory;
  KeyCollector collector(memory, args.k, kRound);
  const int64_t query = blockIdx.x;
  const uint64_t* const keys = args.keys + query * args.query_stride;
  const int64_t count = args.lists * args.length;
  collector.Start();
  for (int64_t first = 0; first < count; first += kRound) {
    for (int part = 0; part < kPerRound; ++part) {
      const int64_t i = first + part * kThreads + threadIdx.x;
      if (i >= count) continue;
      const int64_t list = i / args.length;
      const uint64_t key = keys[list * args.list_stride + i % args.length];
      if (key == kNoKey) continue;
      collector.Offer(args.bases != nullptr ? key + args.bases[list] : key);
    }
    collector.Settle();
  }
  const uint64_t* const best = collector.Finish();
  for (int i = static_cast<int>(threadIdx.x); i < args.k; i += kThreads) {
    const uint64_t key = best[i];
    const int64_t to = query * args.k + i;
    if (args.merged != nullptr) args.merged[to] = key;
    if (args.distances != nullptr) {
      args.distances[to] = key == kNoKey ? CUDART_INF_F : DistanceOf(key);
    }
    if (args.rows != nullptr) args.rows[to] = RowOf(key);
  }
}

}  // namespace

cudaError_t MergeTopK(const MergeTopKArgs& args, cudaStream_t stream) {
  if (args.queries == 0) return cudaSuccess;
  if (args.k < 1 || args.k > kTopKMax) return cudaErrorInvalidValue;
  MergeTopKArgs strided = args;
  if (strided.query_stride == 0) strided.query_stride = args.lists * args.list_stride;
  return Launch(&MergeKernel,
                {dim3(static_cast<unsigned>(args.queries)), kThreads,
                 KeyCollector::SharedBytes(args.k, kRound)},
                stream, strided);
}

}  // namespace baton::cuda
