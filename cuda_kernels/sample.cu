#include "cuda_kernels/sample.h"

#include <math_constants.h>

#include "cuda_kernels/arch/math.h"
#include "cuda_kernels/launch.h"
#include "cuda_kernels/reduce.h"
#include "cuda_kernels/shared.h"

namespace baton::cuda {
namespace {

constexpr int kThreads = 1024;
constexpr int kWarps = kThreads / kWarpThreads;
constexpr int kDigitBits = 11;  // of a key in one pass
constexpr int kDigits = 1 << kDigitBits;
constexpr int kPasses = 6;  // of 64 bits
// Logits are close to one another: of a warp's 32, some 4 to 10 have the same first digit. So lanes
// count in copies, which lie in different banks of shared memory.
constexpr int kCopies = 4;
constexpr int kCopyStride = kDigits + kWarpThreads / 2 / kCopies;
constexpr float kOne = 0x1p40f;  // a weight of 1; 2^24 of them still fit 64 bits
constexpr uint64_t kSeedStep = 0x9e3779b97f4a7c15u;

// Greater is better: the higher logit, then the lower id.
__device__ __forceinline__ uint64_t KeyOf(float logit, uint32_t id) {
  const uint32_t bits = __float_as_uint(logit + 0.0f);  // -0 is 0
  const uint32_t ordered = bits ^ (bits >> 31 != 0 ? 0xffffffffu : 0x80000000u);
  return static_cast<uint64_t>(ordered) << 32 | (0xffffffffu - id);
}
__device__ __forceinline__ uint32_t IdOf(uint64_t key) {
  return 0xffffffffu - static_cast<uint32_t>(key);
}

struct Selection {
  unsigned long long* weights;  // [kCopies, kCopyStride], shared
  uint64_t* found;              // [2], shared: the digit, and the weight before it
};

// Takes the row's elements by falling key until their weights reach `target`: the last key taken,
// or 0 where all of them do not reach it. entry(i, key, weight) says what element i is; weight 0:
// not there. A key's digits are found from the highest on, by histograms of integers, so that the
// threads' order does not matter.
template <typename Entry>
__device__ uint64_t Select(const Selection& shared, int64_t count, uint64_t target, Entry entry) {
  uint64_t prefix = 0;
  for (int pass = 0; pass < kPasses; ++pass) {
    const int shift = max(0, 64 - kDigitBits * (pass + 1));
    const int width = pass + 1 < kPasses ? kDigitBits : 64 - kDigitBits * (kPasses - 1);
    for (int i = static_cast<int>(threadIdx.x); i < kCopies * kCopyStride; i += kThreads) {
      shared.weights[i] = 0;
    }
    __syncthreads();  // the histogram is empty
    unsigned long long* const copy = shared.weights + threadIdx.x % kCopies * kCopyStride;
    for (int64_t i = threadIdx.x; i < count; i += kThreads) {
      uint64_t key = 0;
      uint64_t weight = 0;
      entry(i, key, weight);
      if (weight == 0 || (pass > 0 && key >> (shift + width) != prefix)) continue;
      atomicAdd(&copy[key >> shift & ((1 << width) - 1)], static_cast<unsigned long long>(weight));
    }
    __syncthreads();  // all copies are complete
    for (int i = static_cast<int>(threadIdx.x); i < kDigits; i += kThreads) {
#pragma unroll
      for (int other = 1; other < kCopies; ++other) {
        shared.weights[i] += shared.weights[other * kCopyStride + i];
      }
    }
    __syncthreads();  // and now it is whole
    if (threadIdx.x < kWarpThreads) {
      // Each lane adds up its share of the digits, the highest of all in lane 0.
      constexpr int kShare = kDigits / kWarpThreads;
      const int lane = static_cast<int>(threadIdx.x);
      const int top = kDigits - 1 - lane * kShare;
      uint64_t sum = 0;
      for (int i = 0; i < kShare; ++i) sum += shared.weights[top - i];
      uint64_t before = sum;
#pragma unroll
      for (unsigned lanes = 1; lanes < kWarpThreads; lanes *= 2) {
        const uint64_t left = __shfl_up_sync(kAllLanes, before, lanes);
        if (lane >= static_cast<int>(lanes)) before += left;
      }
      const unsigned reached = __ballot_sync(kAllLanes, before >= target);
      before -= sum;
      if (reached == 0) {
        if (lane == 0) shared.found[0] = kDigits;
      } else if (lane == __ffs(static_cast<int>(reached)) - 1) {
        int digit = top;
        while (before + shared.weights[digit] < target) before += shared.weights[digit--];
        shared.found[0] = static_cast<uint64_t>(digit);
        shared.found[1] = before;
      }
    }
    __syncthreads();  // the digit is found
    const uint64_t digit = shared.found[0];
    if (digit == kDigits) return 0;
    prefix = prefix << width | digit;
    target -= shared.found[1];
  }
  return prefix;
}

// The weights of a thread's entries.
template <typename Entry>
__device__ __forceinline__ uint64_t OwnSum(int64_t count, const Entry& entry) {
  uint64_t sum = 0;
  for (int64_t i = threadIdx.x; i < count; i += kThreads) {
    uint64_t key = 0;
    uint64_t its = 0;
    entry(i, key, its);
    sum += its;
  }
  return sum;
}

__device__ __forceinline__ uint64_t Mix(uint64_t z) {
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

// Reads the row once for a greedy choice, six times more for each of top_k, top_p and the draw; one
// block to a row.
__global__ void __launch_bounds__(kThreads) SampleKernel(SampleArgs args) {
  SharedMemory memory;
  const Selection selection = {memory.Shared<unsigned long long>(kCopies * kCopyStride),
                               memory.Shared<uint64_t>(2)};
  uint64_t* const best_parts = memory.Shared<uint64_t>(kWarps);
  uint64_t* const count_parts = memory.Shared<uint64_t>(kWarps);
  uint64_t* const total_parts = memory.Shared<uint64_t>(kWarps);
  uint64_t* const kept_parts = memory.Shared<uint64_t>(kWarps);

  const int64_t row = blockIdx.x;
  const int32_t slot = args.slots[row];
  if (slot < 0) return;
  const SampleParams params = args.params[slot];
  const float* const logits = args.logits + row * args.stride;
  const int64_t count = args.vocabulary;
  // Logits that are NaN may leave no token to draw.
  const auto choose = [&](int32_t token) {
    args.tokens[slot] = token;
    if (args.chosen == nullptr) return;
    args.chosen[slot] = token >= 0 && token < count ? logits[token] : CUDART_NAN_F;
  };

  uint64_t best_key = 0;
  uint64_t candidates = 0;
  for (int64_t i = threadIdx.x; i < count; i += kThreads) {
    const float logit = logits[i];
    best_key = max(best_key, KeyOf(logit, static_cast<uint32_t>(i)));
    if (logit > -CUDART_INF_F) ++candidates;
  }
  best_key = BlockMax(best_key, best_parts);
  candidates = BlockSum(candidates, count_parts);
  if (params.temperature == 0 || candidates == 0) {
    if (threadIdx.x == 0) choose(static_cast<int32_t>(IdOf(best_key)));
    return;
  }
  const float best = logits[IdOf(best_key)];
  const auto weight = [&](float logit, float temperature) {
    return __expf((logit - best) / temperature);
  };
  const auto fixed = [](float of) { return static_cast<uint64_t>(of * kOne); };

  uint64_t lowest = 0;  // key of what is kept
  const bool by_rank = params.top_k > 0 && static_cast<uint64_t>(params.top_k) < candidates;
  if (by_rank) {
    lowest = Select(selection, count, static_cast<uint64_t>(params.top_k),
                    [&](int64_t i, uint64_t& key, uint64_t& its) {
                      key = KeyOf(logits[i], static_cast<uint32_t>(i));
                      its = logits[i] > -CUDART_INF_F ? 1 : 0;
                    });
  }
  const bool by_share = params.top_p < 1;
  if (by_share) {
    const auto entry = [&](int64_t i, uint64_t& key, uint64_t& its) {
      key = KeyOf(logits[i], static_cast<uint32_t>(i));
      its = key >= lowest ? fixed(weight(logits[i], 1)) : 0;
    };
    const uint64_t total = BlockSum(OwnSum(count, entry), total_parts);
    const double share = static_cast<double>(params.top_p) * static_cast<double>(total);
    const uint64_t target = max(static_cast<uint64_t>(1), static_cast<uint64_t>(ceil(share)));
    lowest = max(lowest, Select(selection, count, target, entry));
  }

  // The draw: by rank from the best, by share from the worst, else by id.
  const auto entry = [&](int64_t i, uint64_t& key, uint64_t& its) {
    key = KeyOf(logits[i], static_cast<uint32_t>(i));
    const bool kept = key >= lowest && weight(logits[i], 1) >= params.min_p;
    its = kept ? fixed(weight(logits[i], params.temperature)) : 0;
    if (by_share) {
      key = ~key;
    } else if (!by_rank) {
      key = static_cast<uint64_t>(0xffffffffu - static_cast<uint32_t>(i)) << 32;
    }
  };
  const uint64_t total = BlockSum(OwnSum(count, entry), kept_parts);
  const uint64_t state = args.states[slot] + kSeedStep;
  // (53 random bits) / 2^53 * total, of which the next integer is to be reached.
  const uint64_t target = MultiplyHigh(Mix(state) >> 11 << 11, total) + 1;
  const uint64_t key = Select(selection, count, target, entry);
  if (threadIdx.x == 0) {
    const uint64_t of_id = by_share ? ~key : by_rank ? key : key >> 32;
    choose(static_cast<int32_t>(IdOf(of_id)));
    args.states[slot] = state;
  }
}

}  // namespace

cudaError_t Sample(const SampleArgs& args, cudaStream_t stream) {
  if (args.rows == 0) return cudaSuccess;
  if (args.vocabulary < 1 || args.vocabulary >= 1 << 24) return cudaErrorInvalidValue;
  constexpr size_t kShared = SharedPiece(kCopies * kCopyStride * sizeof(uint64_t)) +
                             SharedPiece(2 * sizeof(uint64_t)) +
                             4 * SharedPiece(kWarps * sizeof(uint64_t));
  return Launch(&SampleKernel, {dim3(static_cast<unsigned>(args.rows)), kThreads, kShared}, stream,
                args);
}

}  // namespace baton::cuda
