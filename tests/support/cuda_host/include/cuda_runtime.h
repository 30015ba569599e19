#pragma once

// Stands in for the toolkit's header of this name when g++ compiles kernels for the host runtime:
// what the kernels use of it, no more. See tests/support/cuda_host/cuda_host.h.

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <source_location>
#include <tuple>
#include <utility>

#include <cuda_runtime_api.h>
#include <vector_types.h>
#include "tests/support/cuda_host/block.h"

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __grid_constant__

namespace baton::cuda_host {

inline cudaError_t ErrorOf(LaunchResult result) {
  switch (result) {
    case LaunchResult::kDone:
      return cudaSuccess;
    case LaunchResult::kInvalidConfiguration:
      return cudaErrorInvalidConfiguration;
    case LaunchResult::kInvalidValue:
      return cudaErrorInvalidValue;
    case LaunchResult::kFailed:
      break;
  }
  return cudaErrorLaunchFailure;
}

}  // namespace baton::cuda_host

// ---- the host's side
// -----------------------------------------------------------------------------

enum cudaFuncAttribute { cudaFuncAttributeMaxDynamicSharedMemorySize = 8 };
template <typename Kernel>
cudaError_t cudaFuncSetAttribute(Kernel* kernel, cudaFuncAttribute, int value) {
  return baton::cuda_host::AllowShared(reinterpret_cast<const void*>(kernel), value)
             ? cudaSuccess
             : cudaErrorInvalidValue;
}

enum cudaLaunchAttributeID { cudaLaunchAttributeProgrammaticStreamSerialization = 6 };
union cudaLaunchAttributeValue {
  int programmaticStreamSerializationAllowed;
};
struct cudaLaunchAttribute {
  cudaLaunchAttributeID id;
  cudaLaunchAttributeValue val;
};
struct cudaLaunchConfig_t {
  dim3 gridDim;
  dim3 blockDim;
  size_t dynamicSmemBytes = 0;
  cudaStream_t stream = nullptr;
  cudaLaunchAttribute* attrs = nullptr;
  unsigned numAttrs = 0;
};

namespace baton::cuda_host {
inline bool IsEarly(const cudaLaunchConfig_t& config) {
  for (unsigned i = 0; i < config.numAttrs; ++i) {
    if (config.attrs[i].id == cudaLaunchAttributeProgrammaticStreamSerialization &&
        config.attrs[i].val.programmaticStreamSerializationAllowed != 0) {
      return true;
    }
  }
  return false;
}
}  // namespace baton::cuda_host

// Runs at once, or is kept with these arguments: see Submit.
template <typename... Parameters, typename... Arguments>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t* config, void (*kernel)(Parameters...),
                               Arguments&&... arguments) {
  struct Call {
    void (*kernel)(Parameters...);
    std::tuple<Parameters...> arguments;
  };
  const Call asked = {kernel, {std::forward<Arguments>(arguments)...}};
  const baton::cuda_host::LaunchShape shape = {
      .grid = {config->gridDim.x, config->gridDim.y, config->gridDim.z},
      .block = {config->blockDim.x, config->blockDim.y, config->blockDim.z},
      .shared_bytes = config->dynamicSmemBytes,
      .argument_bytes = sizeof(std::tuple<Parameters...>),
      .kernel = reinterpret_cast<const void*>(kernel),
      .early = baton::cuda_host::IsEarly(*config)};
  return baton::cuda_host::Submit("cudaLaunchKernelEx", config->stream, [asked, shape] {
    Call call = asked;
    return baton::cuda_host::ErrorOf(baton::cuda_host::Launch(
        shape,
        [](void* of) {
          auto* const its = static_cast<Call*>(of);
          std::apply(its->kernel, its->arguments);
        },
        &call));
  });
}

// ---- the device's side
// ---------------------------------------------------------------------------

extern uint3 threadIdx;
extern uint3 blockIdx;
extern dim3 blockDim;
extern dim3 gridDim;

inline void __syncthreads(const std::source_location& where = std::source_location::current()) {
  baton::cuda_host::BlockBarrier(where);
}
inline void __syncwarp(unsigned mask = 0xffffffffu,
                       const std::source_location& where = std::source_location::current()) {
  baton::cuda_host::WarpBarrier(mask, where);
}

namespace baton::cuda_host {

template <typename T>
struct Shuffle {
  T value;
  int source;  // lane
  T result;
};

// Every lane gets what lane `source` brought; a lane outside the mask has nothing to give.
template <typename T>
T ShuffleFrom(const char* what, unsigned mask, T value, int source) {
  if ((mask >> source & 1) == 0)
    Fail("%s from lane %d, which is not in 0x%08x", what, source, mask);
  Shuffle<T> mine = {value, source, value};
  WarpExchange(what, mask, &mine, [](void* const lanes[kWarpThreads]) {
    for (unsigned i = 0; i < kWarpThreads; ++i) {
      if (lanes[i] == nullptr) continue;
      auto* const lane = static_cast<Shuffle<T>*>(lanes[i]);
      lane->result = static_cast<Shuffle<T>*>(lanes[lane->source])->value;
    }
  });
  return mine.result;
}

}  // namespace baton::cuda_host

// Only whole warps as groups (width 32).
template <typename T>
T __shfl_sync(unsigned mask, T value, int source) {
  return baton::cuda_host::ShuffleFrom("__shfl_sync", mask, value, source & 31);
}
template <typename T>
T __shfl_xor_sync(unsigned mask, T value, int lanes) {
  const int lane = static_cast<int>(baton::cuda_host::LaneIndex());
  return baton::cuda_host::ShuffleFrom("__shfl_xor_sync", mask, value, lane ^ (lanes & 31));
}
template <typename T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta) {
  const unsigned lane = baton::cuda_host::LaneIndex();
  const unsigned source = lane + delta < 32 ? lane + delta : lane;
  return baton::cuda_host::ShuffleFrom("__shfl_down_sync", mask, value, static_cast<int>(source));
}
template <typename T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta) {
  const unsigned lane = baton::cuda_host::LaneIndex();
  const unsigned source = lane >= delta ? lane - delta : lane;
  return baton::cuda_host::ShuffleFrom("__shfl_up_sync", mask, value, static_cast<int>(source));
}
inline unsigned __ballot_sync(unsigned mask, int predicate) {
  struct Vote {
    unsigned mine;
    unsigned all;
  } vote = {predicate != 0, 0};
  baton::cuda_host::WarpExchange("__ballot_sync", mask, &vote, [](void* const lanes[32]) {
    unsigned all = 0;
    for (unsigned i = 0; i < 32; ++i) {
      if (lanes[i] != nullptr && static_cast<Vote*>(lanes[i])->mine != 0) all |= 1U << i;
    }
    for (unsigned i = 0; i < 32; ++i) {
      if (lanes[i] != nullptr) static_cast<Vote*>(lanes[i])->all = all;
    }
  });
  return vote.all;
}
inline int __any_sync(unsigned mask, int predicate) { return __ballot_sync(mask, predicate) != 0; }
inline int __all_sync(unsigned mask, int predicate) {
  return __ballot_sync(mask, predicate) == mask;
}

// Blocks and threads take turns, so plain reads and writes are atomic.
template <typename T>
T atomicAdd(T* address, T value) {
  const T old = *address;
  *address = old + value;
  return old;
}
template <typename T>
T atomicMax(T* address, T value) {
  const T old = *address;
  if (value > old) *address = value;
  return old;
}
template <typename T>
T atomicMin(T* address, T value) {
  const T old = *address;
  if (value < old) *address = value;
  return old;
}
inline void __threadfence() {}

template <typename T>
T __ldg(const T* address) {
  return *address;
}
// Rounded by themselves, whatever the compiler would contract.
inline float __fadd_rn(float x, float y) { return x + y; }
inline float __fsub_rn(float x, float y) { return x - y; }
inline float __fmul_rn(float x, float y) { return x * y; }
inline float rsqrtf(float x) { return 1.0f / std::sqrt(x); }
inline float __expf(float x) { return std::exp(x); }
inline float __logf(float x) { return std::log(x); }
inline float __fdividef(float x, float y) { return x / y; }
inline int __float2int_rn(float x) {  // saturates, NaN is 0
  if (std::isnan(x)) return 0;
  if (x >= 0x1p31f) return INT32_MAX;
  return x < -0x1p31f ? INT32_MIN : static_cast<int>(std::nearbyint(x));
}
inline unsigned __float_as_uint(float x) {
  unsigned bits;
  std::memcpy(&bits, &x, sizeof(bits));
  return bits;
}
inline float __uint_as_float(unsigned bits) {
  float x;
  std::memcpy(&x, &bits, sizeof(x));
  return x;
}
inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline int __clz(int x) { return x == 0 ? 32 : __builtin_clz(static_cast<unsigned>(x)); }

template <typename T>
constexpr T min(T a, T b) {
  return b < a ? b : a;
}
template <typename T>
constexpr T max(T a, T b) {
  return a < b ? b : a;
}
