// What the device does at best: what all shares are of.

#include <cuda_bf16.h>

#include <algorithm>
#include <string>

#include "engine/exec/gpu/plugin/gemm.h"
#include "tests/bench/gpu/bench_kernels.h"
#include "tests/bench/gpu/gpu_bench.h"

namespace baton::gpu_bench {
namespace {

Error MeasureMemory(const Bench& bench, const SustainedGoal& goal, Ceilings* ceilings) {
  const int64_t bytes = bench.Size(int64_t{4} << 30, 1 << 16);  // many times the second-level cache
  Buffer from;
  Buffer to;
  Buffer sinks;
  GPU_BENCH_TRY(from.Allocate(bytes));
  GPU_BENCH_TRY(to.Allocate(bytes));
  GPU_BENCH_TRY(sinks.Allocate(kReadSinks * static_cast<int64_t>(sizeof(uint64_t))));
  GPU_BENCH_TRY(
      ErrorOf(FillWords(from.as<uint32_t>(), bytes / 4, bench.seed, bench.stream), "filling"));
  Sustained reading;
  GPU_BENCH_TRY(bench.Time(
      goal, [&] { return ReadBytes(from.as<void>(), bytes, sinks.as<uint64_t>(), bench.stream); },
      &reading));
  Sustained copying;
  GPU_BENCH_TRY(bench.Time(
      goal,
      [&] {
        return cudaMemcpyAsync(to.as<void>(), from.as<void>(), static_cast<size_t>(bytes),
                               cudaMemcpyDeviceToDevice, bench.stream);
      },
      &copying));
  ceilings->read_gbps = static_cast<double>(bytes) / reading.call_seconds * 1e-9;
  ceilings->copy_gbps = 2 * static_cast<double>(bytes) / copying.call_seconds * 1e-9;
  return "";
}

Error MeasurePinned(const Bench& bench, const SustainedGoal& goal, Ceilings* ceilings) {
  const int64_t bytes = bench.Size(256 << 20, 1 << 12);
  Buffer from;
  GPU_BENCH_TRY(from.Allocate(bytes));
  GPU_BENCH_TRY(
      ErrorOf(FillWords(from.as<uint32_t>(), bytes / 4, bench.seed, bench.stream), "filling"));
  void* to = nullptr;
  GPU_BENCH_TRY(ErrorOf(cudaHostAlloc(&to, static_cast<size_t>(bytes), cudaHostAllocDefault),
                        "allocating pinned memory"));
  Sustained copying;
  const Error error = bench.Time(
      goal,
      [&] {
        return cudaMemcpyAsync(to, from.as<void>(), static_cast<size_t>(bytes),
                               cudaMemcpyDeviceToHost, bench.stream);
      },
      &copying);
  cudaFreeHost(to);
  ceilings->pinned_gbps = static_cast<double>(bytes) / copying.call_seconds * 1e-9;
  return error;
}

struct GemmShape {
  const char* name;
  int64_t m, n, k;
};

Error MeasureGemm(const Bench& bench, const SustainedGoal& goal, const GemmShape& shape,
                  double* tflops) {
  Buffer x;
  Buffer w;
  Buffer y;
  GPU_BENCH_TRY(x.Allocate(shape.m * shape.k * 2));
  GPU_BENCH_TRY(w.Allocate(shape.n * shape.k * 2));
  GPU_BENCH_TRY(y.Allocate(shape.m * shape.n * 2));
  GPU_BENCH_TRY(ErrorOf(
      Fill(x.as<__nv_bfloat16>(), {shape.m * shape.k, 1, bench.seed}, bench.stream), "filling"));
  GPU_BENCH_TRY(
      ErrorOf(Fill(w.as<__nv_bfloat16>(), {shape.n * shape.k, 0.03f, bench.seed + 1}, bench.stream),
              "filling"));
  const gpu::GemmArgs args = {.x = x.as<void>(),
                              .w = w.as<void>(),
                              .y = y.as<void>(),
                              .m = shape.m,
                              .n = shape.n,
                              .k = shape.k,
                              .x_stride = shape.k,
                              .y_stride = shape.n,
                              .in = gpu::Element::kBF16,
                              .out = gpu::Element::kBF16};
  gpu::Fault fault;
  Sustained measured;
  const Error error = bench.Time(
      goal,
      [&] {
        fault = bench.device->gemm().Multiply(args, bench.stream);
        return fault.failed() ? cudaErrorLaunchFailure : cudaSuccess;
      },
      &measured);
  if (fault.failed()) return fault.message();
  GPU_BENCH_TRY(error);
  *tflops = 2e-12 * static_cast<double>(shape.m) * static_cast<double>(shape.n) *
            static_cast<double>(shape.k) / measured.call_seconds;
  bench.report->Add(std::string("gemm.") + shape.name, *tflops, "TFLOP/s", CeilingOf::kNone,
                    measured.spread);
  return "";
}

}  // namespace

Error MeasureCeilings(Bench& bench) {
  // Long enough for clocks and heat to settle.
  const SustainedGoal goal = bench.tiny ? bench.goal : SustainedGoal{2, 0.02, 10};
  Ceilings ceilings;
  GPU_BENCH_TRY(MeasureMemory(bench, goal, &ceilings));
  GPU_BENCH_TRY(MeasurePinned(bench, goal, &ceilings));
  const int64_t m = bench.Size(8192, 8);
  const int64_t by = bench.Size(1, 256);  // tiny: so much smaller
  const GemmShape shapes[] = {{"qkv", m, 6144 / by, 4096 / by},
                              {"attention_out", m, 4096 / by, 4096 / by},
                              {"gate_up", m, 28672 / by, 4096 / by},
                              {"down", m, 4096 / by, 14336 / by}};
  for (const GemmShape& shape : shapes) {
    double tflops = 0;
    GPU_BENCH_TRY(MeasureGemm(bench, goal, shape, &tflops));
    ceilings.gemm_tflops = std::max(ceilings.gemm_tflops, tflops);
  }
  bench.report->SetCeilings(ceilings);
  bench.report->Add("ceiling.read", ceilings.read_gbps, "GB/s");
  bench.report->Add("ceiling.copy", ceilings.copy_gbps, "GB/s");
  bench.report->Add("ceiling.pinned", ceilings.pinned_gbps, "GB/s");
  bench.report->Add("ceiling.gemm", ceilings.gemm_tflops, "TFLOP/s");
  return "";
}

}  // namespace baton::gpu_bench
