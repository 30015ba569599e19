#pragma once

// The k smallest of many keys, as a block or a warp meets them: what comes behind the k-th so far
// is not kept, the rest is appended, and thinned out when there is no more room (the order in which
// threads append does not matter to what remains).

#include <cuda_runtime.h>

#include <cstdint>

#include "cuda_kernels/launch.h"
#include "cuda_kernels/reduce.h"
#include "cuda_kernels/shared.h"

namespace baton::cuda {

// A distance and whose it is as one number: smaller is nearer, then the lower row. NaN is behind
// infinity.
inline constexpr uint64_t kNoKey = ~uint64_t{0};  // behind all others
__device__ __forceinline__ uint64_t KeyOf(float distance, uint32_t row) {
  const uint32_t bits = __float_as_uint(distance + 0.0f);  // -0 is 0
  const uint32_t ordered = bits ^ (bits >> 31 != 0 ? 0xffffffffu : 0x80000000u);
  return static_cast<uint64_t>(ordered) << 32 | row;
}
__device__ __forceinline__ float DistanceOf(uint64_t key) {
  const auto ordered = static_cast<uint32_t>(key >> 32);
  return __uint_as_float(ordered ^ (ordered >> 31 != 0 ? 0x80000000u : 0xffffffffu));
}
__device__ __forceinline__ uint32_t RowOf(uint64_t key) { return static_cast<uint32_t>(key); }

inline constexpr int kKeyDigits = 256;

struct KeptKeys {
  int count;
  uint64_t last;  // no key that is left out is smaller or the same
};
// Moves the k smallest of `count` different keys to the front, in no order. By a warp, all of whose
// lanes see the keys; others see what it did after a barrier. k: 1 to count; histogram:
// [kKeyDigits], shared, the warp's own.
__device__ __forceinline__ KeptKeys KeepSmallest(uint64_t* keys, int count, int k,
                                                 unsigned* histogram) {
  constexpr int kShare = kKeyDigits / kWarpThreads;
  const int lane = static_cast<int>(threadIdx.x) % kWarpThreads;
  uint64_t prefix = 0;
  int left = k;
  int shift = 64;
  for (bool exact = false; !exact && shift > 0;) {
    shift -= 8;
    // Digit d is counted at [d % kShare][d / kShare]: a lane's digits follow one another, and lie
    // in its own bank.
#pragma unroll
    for (int i = 0; i < kShare; ++i) histogram[i * kWarpThreads + lane] = 0;
    __syncwarp();  // the histogram is empty
    for (int i = lane; i < count; i += kWarpThreads) {
      const uint64_t key = keys[i];
      if (shift < 56 && key >> (shift + 8) != prefix) continue;
      const auto digit = static_cast<unsigned>(key >> shift & (kKeyDigits - 1));
      atomicAdd(&histogram[digit % kShare * kWarpThreads + digit / kShare], 1u);
    }
    __syncwarp();  // and now it is whole
    int mine[kShare];
    int sum = 0;
#pragma unroll
    for (int i = 0; i < kShare; ++i) {
      mine[i] = static_cast<int>(histogram[i * kWarpThreads + lane]);
      sum += mine[i];
    }
    int before = sum;
#pragma unroll
    for (unsigned lanes = 1; lanes < kWarpThreads; lanes *= 2) {
      const int lower = __shfl_up_sync(kAllLanes, before, lanes);
      if (lane >= static_cast<int>(lanes)) before += lower;
    }
    const int owner = __ffs(static_cast<int>(__ballot_sync(kAllLanes, before >= left))) - 1;
    before -= sum;
    int digit = 0;
    int its = 0;
    for (int i = 0; i < kShare; ++i) {
      digit = lane * kShare + i;
      its = mine[i];
      if (before + its >= left) break;
      before += its;
    }
    prefix = prefix << 8 | static_cast<uint64_t>(__shfl_sync(kAllLanes, digit, owner));
    left -= __shfl_sync(kAllLanes, before, owner);
    // Whether all keys of this prefix are among the k: at the last digit there is but one.
    exact = __shfl_sync(kAllLanes, its, owner) == left;
  }
  int kept = 0;
  for (int first = 0; first < count; first += kWarpThreads) {
    const bool there = first + lane < count;
    const uint64_t key = there ? keys[first + lane] : kNoKey;
    const bool keep = there && key >> shift <= prefix;
    const unsigned keeping = __ballot_sync(kAllLanes, keep);
    if (keep) keys[kept + __popc(keeping & ((1u << lane) - 1))] = key;
    kept += __popc(keeping);
  }
  return {kept, prefix << shift | ((uint64_t{1} << shift) - 1)};
}

// Batcher's bitonic sort of `size` keys, a power of two, by a block that sees them and, behind it,
// their order.
__device__ __forceinline__ void SortKeys(uint64_t* keys, int size) {
  for (int run = 2; run <= size; run *= 2) {
    for (int apart = run / 2; apart > 0; apart /= 2) {
      for (int i = static_cast<int>(threadIdx.x); i < size / 2; i += static_cast<int>(blockDim.x)) {
        const int a = i / apart * 2 * apart + i % apart;
        const int b = a + apart;
        const uint64_t first = keys[a];
        const uint64_t second = keys[b];
        if ((first > second) == ((a & run) == 0)) {
          keys[a] = second;
          keys[b] = first;
        }
      }
      __syncthreads();  // all pairs at this distance are in order
    }
  }
}

// Of a block. Its threads offer keys, all different; at most `round` in all between one of Start
// and Settle, which all threads call, and the next.
class KeyCollector {
 public:
  static int Room(int k, int round) { return static_cast<int>(CeilDiv(k, 32)) * 32 + 2 * round; }
  static size_t SharedBytes(int k, int round) {
    return SharedPiece(static_cast<size_t>(Room(k, round)) * sizeof(uint64_t)) +
           SharedPiece(kKeyDigits * sizeof(unsigned)) + SharedPiece(sizeof(uint64_t)) +
           SharedPiece(sizeof(unsigned));
  }

  // k: 1 to 1,024, which round is no less than half of.
  __device__ __forceinline__ KeyCollector(SharedMemory& memory, int k, int round)
      : k_(k), full_((k + 31) / 32 * 32 + round) {
    keys_ = memory.Shared<uint64_t>(static_cast<size_t>(full_ + round));
    histogram_ = memory.Shared<unsigned>(kKeyDigits);
    last_ = memory.Shared<uint64_t>(1);
    count_ = memory.Shared<unsigned>(1);
  }

  __device__ __forceinline__ void Start() {
    if (threadIdx.x == 0) {
      *last_ = kNoKey - 1;
      *count_ = 0;
    }
    __syncthreads();  // it is empty
  }
  __device__ __forceinline__ void Offer(uint64_t key) {
    if (key <= *last_) keys_[atomicAdd(count_, 1u)] = key;
  }
  __device__ __forceinline__ void Settle() {
    __syncthreads();  // what was offered is there
    const bool first_warp = threadIdx.x < kWarpThreads;
    if (first_warp && static_cast<int>(*count_) > full_) Thin(static_cast<int>(*count_));
    __syncthreads();  // there is room for another round
  }
  // After a Settle, or none offered. The keys in their order, kNoKey behind the last of them up to
  // k.
  __device__ __forceinline__ const uint64_t* Finish() {
    int size = 1;
    while (size < k_) size *= 2;
    if (threadIdx.x < kWarpThreads) {
      int count = static_cast<int>(*count_);
      if (count > k_) count = Thin(count);
      for (int i = count + static_cast<int>(threadIdx.x); i < size; i += kWarpThreads) {
        keys_[i] = kNoKey;
      }
    }
    __syncthreads();  // a power of two of them
    SortKeys(keys_, size);
    return keys_;
  }

 private:
  // The first warp. How many are left.
  __device__ __forceinline__ int Thin(int count) {
    const KeptKeys kept = KeepSmallest(keys_, count, k_, histogram_);
    if (threadIdx.x == 0) {
      *last_ = kept.last;
      *count_ = static_cast<unsigned>(kept.count);
    }
    return kept.count;
  }

  int k_;
  int full_;  // beyond, a further round might not fit
  uint64_t* keys_;
  unsigned* histogram_;
  uint64_t* last_;
  unsigned* count_;
};

}  // namespace baton::cuda
