#include "tests/support/cuda_host/cuda_host.h"

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <catch2/catch.hpp>
#include <cmath>
#include <cstring>
#include <functional>
#include <numeric>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "cuda_kernels/arch/copy_async.h"
#include "cuda_kernels/arch/grid_order.h"
#include "cuda_kernels/arch/math.h"
#include "cuda_kernels/arch/mma.h"
#include "cuda_kernels/arch/named_barrier.h"
#include "cuda_kernels/launch.h"
#include "cuda_kernels/shared.h"
#include "tests/support/cuda_host/asan.h"
#include "tests/support/cuda_host/child.h"

namespace baton::cuda {
namespace {

using cuda_host::LastError;
using cuda_host::Order;
using cuda_host::OrderKind;

std::vector<Order> Orders() {
  return {{OrderKind::kAscending}, {OrderKind::kDescending}, {OrderKind::kRandom, 3}};
}

bool Says(const std::string& part) { return LastError().find(part) != std::string::npos; }

// What a test changes comes back at its end.
struct Defaults {
  ~Defaults() {
    cuda_host::SetOrder({});
    cuda_host::SkipSite("");
    cuda_host::ForgetSites();
  }
};

__global__ void Reverse(const int* in, int* out, bool with_barrier) {
  SharedMemory memory;
  int* const values = memory.Shared<int>(blockDim.x);
  values[threadIdx.x] = in[blockIdx.x * blockDim.x + threadIdx.x];
  if (with_barrier) __syncthreads();
  out[blockIdx.x * blockDim.x + threadIdx.x] = values[blockDim.x - 1 - threadIdx.x];
}

bool Reverses(bool with_barrier) {
  constexpr int kBlock = 96;
  constexpr int kBlocks = 3;
  std::vector<int> in(kBlock * kBlocks);
  std::iota(in.begin(), in.end(), 0);
  std::vector<int> out(in.size());
  const cudaError_t status = Launch(&Reverse, {kBlocks, kBlock, kBlock * sizeof(int)}, nullptr,
                                    in.data(), out.data(), with_barrier);
  INFO(LastError());
  CHECK(status == cudaSuccess);
  for (int i = 0; i < kBlock * kBlocks; ++i) {
    if (out[i] != i / kBlock * kBlock + kBlock - 1 - i % kBlock) return false;
  }
  return true;
}

TEST_CASE("a kernel that lacks its barrier is wrong in every order") {
  const Defaults defaults;
  for (const Order& order : Orders()) {
    cuda_host::SetOrder(order);
    INFO(Name(order));
    CHECK(Reverses(/*with_barrier=*/true));
    CHECK_FALSE(Reverses(/*with_barrier=*/false));
  }
}

TEST_CASE("a barrier that is skipped is as if it were not there") {
  const Defaults defaults;
  cuda_host::ForgetSites();
  REQUIRE(Reverses(true));
  const std::vector<std::string> sites = cuda_host::Sites();
  REQUIRE(sites.size() == 1);
  CHECK(sites[0].find("cuda_host_test.cc:") == 0);
  cuda_host::SkipSite(sites[0]);
  CHECK_FALSE(Reverses(true));
  cuda_host::SkipSite("");
  CHECK(Reverses(true));
}

__global__ void LeaveEarly(int stays) {
  if (static_cast<int>(threadIdx.x) >= stays) return;
  __syncthreads();
}

TEST_CASE("a deadlock names block thread and barrier") {
  CHECK(Launch(&LeaveEarly, {1, 64}, nullptr, 64) == cudaSuccess);
  CHECK(Launch(&LeaveEarly, {dim3(1, 2), 64}, nullptr, 40) == cudaErrorLaunchFailure);
  INFO(LastError());
  CHECK(Says("block (0, 0, 0): deadlock"));
  CHECK(Says("thread (0, 0, 0) waits at __syncthreads at cuda_host_test.cc:"));
  CHECK(Says("40 of 64 threads are at"));
  CHECK(Says("24 have returned, thread (40, 0, 0) first"));
}

__global__ void Diverge() {
  if (threadIdx.x < 32) {
    __syncthreads();
  } else {
    __syncthreads();
  }
}

TEST_CASE("threads of a block must meet at the same barrier") {
  CHECK(Launch(&Diverge, {1, 32}, nullptr) == cudaSuccess);
  CHECK(Launch(&Diverge, {1, 64}, nullptr) == cudaErrorLaunchFailure);
  INFO(LastError());
  CHECK(Says("threads of a block are at different barriers"));
}

// The second half of the block fills, the first half reads.
__global__ void Produce(int* out, int threads_named) {
  SharedMemory memory;
  int* const values = memory.Shared<int>(64);
  if (threadIdx.x >= 64) {
    values[threadIdx.x - 64] = static_cast<int>(threadIdx.x);
    NamedBarrierArrive(1, threads_named);
  } else {
    NamedBarrierWait(1, threads_named);
    out[threadIdx.x] = values[63 - threadIdx.x];
  }
}

TEST_CASE("named barriers join those that wait and those that only arrive") {
  const Defaults defaults;
  std::vector<int> out(64);
  for (const Order& order : Orders()) {
    cuda_host::SetOrder(order);
    INFO(Name(order) << " " << LastError());
    REQUIRE(Launch(&Produce, {1, 128, 256}, nullptr, out.data(), 128) == cudaSuccess);
    for (int i = 0; i < 64; ++i) CHECK(out[i] == 127 - i);
  }
  CHECK(Launch(&Produce, {1, 128, 256}, nullptr, out.data(), 48) == cudaErrorLaunchFailure);
  CHECK(Says("must be a multiple of 32"));
  // Nobody else comes: whoever waits is stuck.
  CHECK(Launch(&Produce, {1, 64, 256}, nullptr, out.data(), 64) == cudaSuccess);
  CHECK(Launch(&Produce, {1, 96, 256}, nullptr, out.data(), 96) == cudaSuccess);
  CHECK(Launch(&LeaveEarly, {1, 32}, nullptr, 1) == cudaErrorLaunchFailure);
}

__global__ void TouchShared(int taken, int index, bool write, int* out) {
  SharedMemory memory;
  int* const values = memory.Shared<int>(taken);
  if (threadIdx.x != 0) return;
  if (write) values[index] = 7;
  out[0] = values[index];
}

TEST_CASE("shared memory ends where its piece ends") {
  int out = 0;
  CHECK(Launch(&TouchShared, {1, 32, 64}, nullptr, 16, 15, true, &out) == cudaSuccess);
  CHECK(out == 7);
  const auto touch = [&](int index, bool write) {
    return Launch(&TouchShared, {1, 32, 64}, nullptr, 16, index, write, &out) == cudaSuccess;
  };
  CHECK(cuda_host::SucceedsInChild([&] { return touch(0, true); }));
  CHECK_FALSE(cuda_host::SucceedsInChild([&] { return touch(16, true); }));
  CHECK_FALSE(cuda_host::SucceedsInChild([&] { return touch(-1, true); }));
  if (cuda_host::kAsan) {  // it ends the process, for reads as well
    CHECK_FALSE(cuda_host::SucceedsInChild([&] { return touch(16, false); }));
  } else {
    CHECK_FALSE(touch(16, true));
    CHECK(Says("wrote outside its piece 0 of shared memory, of 64 bytes"));
  }
  // More than the launch gave.
  CHECK(Launch(&TouchShared, {1, 32, 64}, nullptr, 17, 0, true, &out) == cudaErrorLaunchFailure);
  CHECK(Says("takes 68 bytes of shared memory, the launch gave 64"));
}

__global__ void TakeUneven() {
  SharedMemory memory;
  memory.Shared<int>(threadIdx.x == 5 ? 8 : 16);
}

TEST_CASE("all threads take the same pieces of shared memory") {
  CHECK(Launch(&TakeUneven, {1, 32, 64}, nullptr) == cudaErrorLaunchFailure);
  CHECK(Says("thread (5, 0, 0): piece 0 of shared memory is 32 bytes here and 64"));
}

TEST_CASE("shared memory that was not written holds other bytes in each order") {
  const Defaults defaults;
  std::vector<int> seen;
  for (const Order& order : Orders()) {
    cuda_host::SetOrder(order);
    int out = 0;
    REQUIRE(Launch(&TouchShared, {1, 32, 64}, nullptr, 16, 3, false, &out) == cudaSuccess);
    seen.push_back(out);
  }
  CHECK(seen[0] != seen[1]);
  CHECK(seen[1] != seen[2]);
  CHECK(seen[0] != seen[2]);
}

__global__ void Nothing() {}

TEST_CASE("launches beyond a limit are refused with field and limit") {
  CHECK(Launch(&Nothing, {1, 1024}, nullptr) == cudaSuccess);
  CHECK(Launch(&Nothing, {1, 1056}, nullptr) == cudaErrorInvalidConfiguration);
  CHECK(Says("block.x is 1056, limit 1024"));
  CHECK(Launch(&Nothing, {1, dim3(1024, 2)}, nullptr) == cudaErrorInvalidConfiguration);
  CHECK(Says("threads of a block is 2048, limit 1024"));
  CHECK(Launch(&Nothing, {0, 32}, nullptr) == cudaErrorInvalidConfiguration);
  CHECK(Says("grid.x is 0"));
  CHECK(Launch(&Nothing, {dim3(1, 65536), 32}, nullptr) == cudaErrorInvalidConfiguration);
  CHECK(Says("grid.y is 65536, limit 65535"));
  CHECK(Launch(&Nothing, {1, 33}, nullptr) == cudaErrorInvalidConfiguration);
  CHECK(Says("whole warps"));
  CHECK(Launch(&Nothing, {1, 32, 227 << 10}, nullptr) == cudaSuccess);
  CHECK(Launch(&Nothing, {1, 32, (227 << 10) + 1}, nullptr) == cudaErrorInvalidValue);
  CHECK(Says("limit 232448"));
  cudaLaunchConfig_t unasked = {};
  unasked.blockDim = 32;
  unasked.dynamicSmemBytes = (48 << 10) + 1;
  CHECK(cudaLaunchKernelEx(&unasked, &TakeUneven) == cudaErrorInvalidValue);
  CHECK(Says("limit 49152"));
}

__global__ void Stage(const int* in, int* out, bool waits) {
  SharedMemory memory;
  int* const tile = memory.Shared<int>(32 * 8);
  int* const mine = tile + threadIdx.x * 8;
  CopyAsync16(mine, in + threadIdx.x * 4);
  CopyAsyncCommit();
  CopyAsync16(mine + 4, in, /*valid=*/false);
  CopyAsyncCommit();
  if (waits) CopyAsyncWait<1>();
  if (!cuda_host::kAsan || waits) out[threadIdx.x] = mine[threadIdx.x % 4];
  CopyAsyncWait<0>();
  if (waits) out[32 + threadIdx.x] = mine[4 + threadIdx.x % 4];
}

TEST_CASE("copies land at their wait and not before") {
  std::vector<int> in(128);
  std::iota(in.begin(), in.end(), 0);
  std::vector<int> out(64, -5);
  REQUIRE(Launch(&Stage, {1, 32, 1024}, nullptr, in.data(), out.data(), true) == cudaSuccess);
  for (int i = 0; i < 32; ++i) {
    CHECK(out[i] == i * 4 + i % 4);
    CHECK(out[32 + i] == 0);
  }
  REQUIRE(Launch(&Stage, {1, 32, 1024}, nullptr, in.data(), out.data(), false) == cudaSuccess);
  if (!cuda_host::kAsan) CHECK(out[9] == -1);  // the pattern
  CHECK(Launch(&Stage, {1, 32, 1024}, nullptr, in.data() + 1, out.data(), true) ==
        cudaErrorLaunchFailure);
  CHECK(Says("cp.async of 16 bytes"));
}

__global__ void NeverWaits(const int* in) {
  SharedMemory memory;
  CopyAsync16(memory.Shared<int>(4 * 32) + 4 * threadIdx.x, in);
}

TEST_CASE("a kernel that returns before its copies have landed is an error") {
  alignas(16) int in[4] = {};
  CHECK(Launch(&NeverWaits, {1, 32, 512}, nullptr, &in[0]) == cudaErrorLaunchFailure);
  CHECK(Says("nothing has waited for"));
}

__global__ void Exchange(int* out) {
  const int lane = static_cast<int>(threadIdx.x % 32);
  int sum = lane;
  for (int step = 16; step > 0; step /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, step);
  int prefix = lane;
  for (unsigned step = 1; step < 32; step *= 2) {
    const int left = __shfl_up_sync(0xffffffffu, prefix, step);
    if (lane >= static_cast<int>(step)) prefix += left;
  }
  int* const mine = out + threadIdx.x * 5;
  mine[0] = sum;
  mine[1] = prefix;
  mine[2] = __shfl_sync(0xffffffffu, lane * lane, 7);
  mine[3] = __shfl_down_sync(0xffffffffu, lane, 3);
  mine[4] = static_cast<int>(__ballot_sync(0xffffffffu, lane % 3 == 0));
}

TEST_CASE("lanes of a warp exchange values") {
  const Defaults defaults;
  for (const Order& order : Orders()) {
    cuda_host::SetOrder(order);
    std::vector<int> out(64 * 5);
    REQUIRE(Launch(&Exchange, {1, 64}, nullptr, out.data()) == cudaSuccess);
    for (int i = 0; i < 64; ++i) {
      const int lane = i % 32;
      CHECK(out[i * 5] == 496);
      CHECK(out[i * 5 + 1] == lane * (lane + 1) / 2);
      CHECK(out[i * 5 + 2] == 49);
      CHECK(out[i * 5 + 3] == (lane + 3 < 32 ? lane + 3 : lane));
      CHECK(static_cast<unsigned>(out[i * 5 + 4]) == 0x49249249u);
    }
  }
}

__global__ void ExchangeAmiss(int kind) {
  const int lane = static_cast<int>(threadIdx.x);
  if (kind == 0 && lane == 3) return;
  if (kind == 1 && lane == 3) {
    __syncwarp();
  } else {
    __shfl_xor_sync(kind == 2 ? 0xfffffff0u : 0xffffffffu, lane, 1);
  }
}

TEST_CASE("lanes that do not come together are an error") {
  CHECK(Launch(&ExchangeAmiss, {1, 32}, nullptr, 0) == cudaErrorLaunchFailure);
  CHECK(Says("deadlock"));
  CHECK(Says("__shfl_xor_sync of lanes 0xffffffff"));
  CHECK(Launch(&ExchangeAmiss, {1, 32}, nullptr, 1) == cudaErrorLaunchFailure);
  CHECK(Says("different operations"));
  CHECK(Launch(&ExchangeAmiss, {1, 32}, nullptr, 2) == cudaErrorLaunchFailure);
  CHECK(Says("which is not in 0xfffffff0"));
}

// out: [16, 8] = a: [16, 16] * b: [16, 8], both by rows in memory.
__global__ void Multiply(const __nv_bfloat16* a, const __nv_bfloat16* b, float* out) {
  SharedMemory memory;
  auto* const a_tile = memory.Shared<__nv_bfloat16>(16 * 16);
  auto* const b_tile = memory.Shared<__nv_bfloat16>(16 * 8);
  const unsigned lane = threadIdx.x;
  for (unsigned i = lane; i < 256; i += 32) a_tile[i] = a[i];
  for (unsigned i = lane; i < 128; i += 32) b_tile[i] = b[i];
  __syncwarp();
  uint32_t a_parts[4];
  LoadMatrices(a_parts, a_tile + lane % 16 * 16 + lane / 16 * 8);
  uint32_t b_parts[4];
  LoadMatricesTransposed(b_parts, b_tile + lane % 16 * 8);
  float sums[4] = {};
  const uint32_t b_pair[2] = {b_parts[0], b_parts[1]};
  MmaBf16(sums, a_parts, b_pair);
  for (unsigned i = 0; i < 4; ++i) {
    out[(lane / 4 + 8 * (i / 2)) * 8 + 2 * (lane % 4) + i % 2] = sums[i];
  }
}

TEST_CASE("matrix fragments multiply") {
  std::mt19937 random(11);
  std::uniform_int_distribution<int> values(-8, 8);
  alignas(16) __nv_bfloat16 a[256];
  alignas(16) __nv_bfloat16 b[128];
  for (auto& x : a) x = __float2bfloat16_rn(static_cast<float>(values(random)));
  for (auto& x : b) x = __float2bfloat16_rn(static_cast<float>(values(random)));
  float out[128];
  REQUIRE(Launch(&Multiply, {1, 32, 768}, nullptr, &a[0], &b[0], &out[0]) == cudaSuccess);
  for (int row = 0; row < 16; ++row) {
    for (int column = 0; column < 8; ++column) {
      float sum = 0;
      for (int k = 0; k < 16; ++k) {
        sum += __bfloat162float(a[row * 16 + k]) * __bfloat162float(b[k * 8 + column]);
      }
      CHECK(out[row * 8 + column] == sum);
    }
  }
}

__global__ void WriteAt(int* out, int index) {
  if (threadIdx.x == 0) out[index] = 1;
}

TEST_CASE("a write outside a device allocation is found when it is freed") {
  void* memory = nullptr;
  REQUIRE(cudaMalloc(&memory, 20) == cudaSuccess);
  CHECK(reinterpret_cast<uintptr_t>(memory) % 256 == 0);
  REQUIRE(Launch(&WriteAt, {1, 32}, nullptr, static_cast<int*>(memory), 4) == cudaSuccess);
  CHECK(cudaFree(memory) == cudaSuccess);
  if (!cuda_host::kAsan) {
    REQUIRE(cudaMalloc(&memory, 20) == cudaSuccess);
    REQUIRE(Launch(&WriteAt, {1, 32}, nullptr, static_cast<int*>(memory), 5) == cudaSuccess);
    CHECK(cudaFree(memory) == cudaErrorIllegalAddress);
    CHECK(Says("outside a device allocation of 20 bytes"));
  }
  CHECK(cudaFree(&memory) == cudaErrorIllegalAddress);
}

TEST_CASE("16 bit numbers round to nearest with ties to even") {
  const auto half = [](float x) { return __float2half_rn(x).bits; };
  CHECK(half(1.0f) == 0x3C00);
  CHECK(half(-2.0f) == 0xC000);
  CHECK(half(65504.0f) == 0x7BFF);
  CHECK(half(65519.0f) == 0x7BFF);
  CHECK(half(65520.0f) == 0x7C00);
  CHECK(half(0x1p-24f) == 1);
  CHECK(half(0x1p-25f) == 0);
  CHECK(half(0x1.8p-24f) == 2);
  CHECK(half(2047.0f / 2048.0f) == 0x3BFE + 1);
  CHECK(half(1 + 0x1p-11f) == 0x3C00);
  CHECK(half(1 + 0x3p-11f) == 0x3C02);
  CHECK(half(0x1.ffep-15f) == 0x0400);
  for (unsigned bits = 0; bits < 0x7C00; ++bits) {
    const __half value = {static_cast<uint16_t>(bits)};
    if (half(__half2float(value)) != bits) FAIL("half " << bits);
  }
  const auto bf16 = [](float x) { return __float2bfloat16_rn(x).bits; };
  CHECK(bf16(1.0f) == 0x3F80);
  CHECK(bf16(1 + 0x1p-8f) == 0x3F80);
  CHECK(bf16(1 + 0x3p-8f) == 0x3F82);
  CHECK(std::isnan(__bfloat162float(__float2bfloat16_rn(NAN))));
  CHECK(DotInt8(0x01FF807F, 0x02020202, 5) == 5 + 2 - 2 - 256 + 254);
}

TEST_CASE("calls of the runtime fail as they are told to") {
  cuda_host::InjectFailure({.call = "cudaMalloc", .after = 1, .error = cudaErrorMemoryAllocation});
  void* first = nullptr;
  void* second = nullptr;
  CHECK(cudaMalloc(&first, 8) == cudaSuccess);
  CHECK(cudaMalloc(&second, 8) == cudaErrorMemoryAllocation);
  CHECK(second == nullptr);
  CHECK(cudaMalloc(&second, 8) == cudaSuccess);  // once

  cuda_host::InjectFailure(
      {.call = "cudaStreamSynchronize", .error = cudaErrorIllegalAddress, .sticky = true});
  CHECK(cudaDeviceSynchronize() == cudaSuccess);
  CHECK(cudaStreamSynchronize(nullptr) == cudaErrorIllegalAddress);
  CHECK(cudaDeviceSynchronize() == cudaErrorIllegalAddress);
  CHECK(cudaGetLastError() == cudaErrorIllegalAddress);
  cuda_host::ForgetFailures();
  CHECK(cudaDeviceSynchronize() == cudaSuccess);
  CHECK(cudaFree(first) == cudaSuccess);
  CHECK(cudaFree(second) == cudaSuccess);
}

struct Added {
  const int* step;  // read when the kernel runs
  int by;           // as it was when the launch was captured
  int* to;
};
__global__ void Add(Added args) {
  if (threadIdx.x == 0) *args.to += *args.step * args.by;
}
cudaError_t LaunchAdd(const Added& args, cudaStream_t stream) {
  return Launch(&Add, {1, 32}, stream, args);
}

TEST_CASE("a captured launch keeps its arguments and reads memory as it is when it is launched") {
  cudaStream_t stream = nullptr;
  REQUIRE(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking) == cudaSuccess);
  int step = 1;
  int total = 0;
  int copied = -1;
  Added args = {&step, 10, &total};
  const int64_t alive = cuda_host::LiveGraphs();
  REQUIRE(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal) == cudaSuccess);
  REQUIRE(LaunchAdd(args, stream) == cudaSuccess);
  REQUIRE(cudaMemcpyAsync(&copied, &total, sizeof(total), cudaMemcpyDeviceToHost, stream) ==
          cudaSuccess);
  CHECK(total == 0);  // nothing has run
  CHECK(copied == -1);
  cudaGraph_t graph = nullptr;
  REQUIRE(cudaStreamEndCapture(stream, &graph) == cudaSuccess);
  cudaGraphExec_t exec = nullptr;
  REQUIRE(cudaGraphInstantiate(&exec, graph, 0) == cudaSuccess);
  CHECK(cuda_host::LiveGraphs() == alive + 2);
  CHECK(cudaGraphDestroy(graph) == cudaSuccess);

  const int64_t launches = cuda_host::GraphLaunches();
  const int64_t submissions = cuda_host::Submissions();
  CHECK(cudaGraphLaunch(exec, stream) == cudaSuccess);
  CHECK(copied == 10);
  args.by = 1000;  // too late
  step = 3;
  CHECK(cudaGraphLaunch(exec, stream) == cudaSuccess);
  CHECK(copied == 40);
  CHECK(cuda_host::GraphLaunches() == launches + 2);
  CHECK(cuda_host::Submissions() == submissions + 2);
  CHECK(cudaGraphExecDestroy(exec) == cudaSuccess);
  CHECK(cuda_host::LiveGraphs() == alive);
  CHECK(cudaStreamDestroy(stream) == cudaSuccess);
}

__global__ void AddInOrder(Added args) {
  AwaitEarlierKernels();
  if (threadIdx.x == 0) *args.to += *args.step * args.by;
}
__global__ void AddByHalf(Added) {
  if (threadIdx.x < 16) AwaitEarlierKernels();
}

TEST_CASE("a kernel that is launched early has to wait for earlier ones in every thread") {
  int step = 2;
  int total = 0;
  const Added args = {&step, 10, &total};
  LaunchStream stream = nullptr;
  CHECK(Launch(&AddInOrder, {1, 32}, stream, args) == cudaSuccess);
  stream.early = true;
  const int64_t launches = cuda_host::EarlyLaunches();
  CHECK(Launch(&AddInOrder, {1, 32}, stream, args) == cudaSuccess);
  CHECK(total == 40);
  CHECK(Launch(&Add, {1, 32}, stream, args) == cudaErrorLaunchFailure);
  CHECK_THAT(cuda_host::LastError(),
             Catch::EndsWith("is launched early and returns without having waited for earlier "
                             "kernels"));
  CHECK(Launch(&AddByHalf, {1, 32}, stream, args) == cudaErrorLaunchFailure);
  CHECK_THAT(cuda_host::LastError(), Catch::Contains("thread (16, 0, 0)"));
  CHECK(cuda_host::EarlyLaunches() == launches + 3);
}

TEST_CASE("what cannot be captured ends the capture") {
  cudaStream_t stream = nullptr;
  REQUIRE(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking) == cudaSuccess);
  int step = 1;
  int total = 0;
  const Added args = {&step, 1, &total};
  cudaGraph_t graph = nullptr;
  CHECK(cudaStreamEndCapture(stream, &graph) == cudaErrorIllegalState);
  CHECK(cudaStreamBeginCapture(nullptr, cudaStreamCaptureModeThreadLocal) ==
        cudaErrorStreamCaptureUnsupported);
  void* memory = nullptr;
  const std::pair<const char*, std::function<cudaError_t()>> calls[] = {
      {"wait", [&] { return cudaStreamSynchronize(stream); }},
      {"allocation", [&] { return cudaMalloc(&memory, 8); }},
      {"copy", [&] { return cudaMemcpy(&total, &step, sizeof(step), cudaMemcpyHostToDevice); }},
      {"device", [&] { return cudaDeviceSynchronize(); }}};
  for (const auto& [name, call] : calls) {
    CAPTURE(name);
    REQUIRE(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal) == cudaSuccess);
    CHECK(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal) ==
          cudaErrorIllegalState);
    CHECK(call() == cudaErrorStreamCaptureUnsupported);
    CHECK(LaunchAdd(args, stream) == cudaErrorStreamCaptureInvalidated);
    CHECK(cudaStreamEndCapture(stream, &graph) == cudaErrorStreamCaptureInvalidated);
    CHECK(graph == nullptr);
    CHECK(call() == cudaSuccess);
  }
  CHECK(cudaFree(memory) == cudaSuccess);

  // Another thread's calls are its own affair; its end of the capture is not.
  REQUIRE(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal) == cudaSuccess);
  std::thread([&] {
    CHECK(cudaMalloc(&memory, 8) == cudaSuccess);
    CHECK(cudaFree(memory) == cudaSuccess);
    CHECK(cudaStreamEndCapture(stream, &graph) == cudaErrorStreamCaptureWrongThread);
  }).join();
  CHECK(cudaStreamEndCapture(stream, &graph) == cudaSuccess);
  CHECK(cudaGraphDestroy(graph) == cudaSuccess);
  CHECK(cudaStreamDestroy(stream) == cudaSuccess);
}

TEST_CASE("the device has as much memory as it is said to have") {
  cuda_host::SetDeviceMemory(cuda_host::DeviceBytes() + 1000);
  void* memory = nullptr;
  CHECK(cudaMalloc(&memory, 1001) == cudaErrorMemoryAllocation);
  REQUIRE(cudaMalloc(&memory, 600) == cudaSuccess);
  size_t free_bytes = 0;
  size_t total_bytes = 0;
  REQUIRE(cudaMemGetInfo(&free_bytes, &total_bytes) == cudaSuccess);
  CHECK(free_bytes == 400);
  CHECK(cudaFree(memory) == cudaSuccess);
  cuda_host::SetDeviceMemory(0);
}

}  // namespace
}  // namespace baton::cuda
