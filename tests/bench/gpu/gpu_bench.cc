// bench gpu: what the kernels and the executor's steps reach on a device, beside what the same
// device was seen to do in the same run: reading, copying, and GEMMs of the shapes that an 8B model
// has, each for two seconds or more and on random data. Shares are of those.
//
//   --parts LIST   of kernels, attention, models, search, graph; the ceilings are always measured
//   --tune FILE    times every compiled tile variant instead, into FILE (gpu_tune.h)
//   --describe     prints the device as JSON and ends; 77 where there is none, and why
//
// Every part writes the JSON that there is so far. Exit codes: 0 every bar is met; 1 one is missed;
// 2 wrong flags; 3 the run is void or a figure is absent; 77 no device.

#include "tests/bench/gpu/gpu_bench.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <nlohmann/json.hpp>
#include <string_view>
#include <utility>

#include "engine/exec/gpu/plugin/gemm.h"
#include "engine/exec/plugin_loader.h"
#include "tests/bench/gpu/gpu_tune.h"
#include "tests/support/bench_report.h"

namespace baton::gpu_bench {
namespace {

constexpr int kNoDevice = 77;

struct Part {
  const char* name;
  Error (*measure)(Bench&);
};
constexpr Part kParts[] = {{"kernels", MeasureKernels},
                           {"attention", MeasureAttention},
                           {"models", MeasureModels},
                           {"search", MeasureSearch},
                           {"graph", MeasureGraph}};

bool Wanted(const std::string& list, const char* part) {
  return list.empty() || ("," + list + ",").find(std::string(",") + part + ",") != list.npos;
}

bool IsKnown(std::string_view list) {
  while (!list.empty()) {
    const std::string_view name = list.substr(0, list.find(','));
    list.remove_prefix(std::min(list.size(), name.size() + 1));
    if (std::none_of(std::begin(kParts), std::end(kParts),
                     [&](const Part& part) { return name == part.name; })) {
      return false;
    }
  }
  return true;
}

Error FindMachine(GpuMachine* machine) {
  int devices = 0;
  GPU_BENCH_TRY(ErrorOf(cudaGetDeviceCount(&devices), "looking for a device"));
  if (devices == 0) return "there is none";
  cudaDeviceProp properties;
  GPU_BENCH_TRY(ErrorOf(cudaGetDeviceProperties(&properties, 0), "asking the device what it is"));
  int driver = 0;
  cudaDriverGetVersion(&driver);
  char detail[256];
  std::snprintf(detail, sizeof(detail),
                "compute capability %d.%d, %d multiprocessors, driver %d.%d", properties.major,
                properties.minor, properties.multiProcessorCount, driver / 1000,
                driver % 1000 / 10);
  *machine = {.device = properties.name,
              .detail = detail,
              .memory_bytes = static_cast<int64_t>(properties.totalGlobalMem),
              .emulated = gpu::Emulated()};
  return "";
}

int Describe(const GpuMachine& machine) {
  const nlohmann::json described = {{"device", machine.device},
                                    {"detail", machine.detail},
                                    {"memory_bytes", machine.memory_bytes},
                                    {"emulated", machine.emulated}};
  std::printf("%s\n", described.dump().c_str());
  return 0;
}

Error RunParts(Bench& bench, const std::string& parts) {
  GPU_BENCH_TRY(MeasureCeilings(bench));
  for (const Part& part : kParts) {
    if (!Wanted(parts, part.name)) continue;
    std::printf("-- %s\n", part.name);
    const auto begin = std::chrono::steady_clock::now();
    const Error error = part.measure(bench);
    const double seconds =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    std::printf("-- %s: %.1f s%s%s\n", part.name, seconds,
                error.empty() ? "" : ", ended by: ", error.c_str());
    if (!error.empty()) bench.report->Absent(std::string(part.name) + ".rest", error);
    if (!bench.report->Flush()) return "cannot write the JSON";
    GPU_BENCH_TRY(ErrorOf(cudaDeviceSynchronize(), "the device is lost"));
  }
  return "";
}

int Main(int argc, char** argv) {
  std::string parts;
  std::string tune_path;
  bool describe = false;
  const auto end = std::remove_if(argv + 1, argv + argc, [&](const char* flag) {
    return std::strcmp(flag, "--describe") == 0 && (describe = true);
  });
  const BenchArgs args =
      ParseBenchArgs(static_cast<int>(end - argv), argv,
                     {{"--parts", "LIST", &parts}, {"--tune", "FILE", &tune_path}});
  if (!IsKnown(parts)) {
    std::fprintf(stderr, "--parts takes kernels, attention, models, search, graph; not %s\n",
                 parts.c_str());
    return 2;
  }
  GpuMachine machine;
  if (const Error error = FindMachine(&machine); !error.empty()) {
    std::printf("no device: %s\n", error.c_str());
    return kNoDevice;
  }
  if (describe) return Describe(machine);
  if (machine.emulated && !args.tiny) {
    std::fprintf(stderr, "an emulation has no figures: only --tiny runs on it\n");
    return 2;
  }
  GpuReport report(machine, args.json_path, args.commit, /*judged=*/!args.tiny);
  const baton_device_options options = {.struct_size = sizeof(baton_device_options),
                                        .index = 0,
                                        .activations = BATON_ACTIVATIONS_BF16,
                                        .step_tokens_max = args.tiny ? 64 : 16384};
  std::unique_ptr<gpu::Device> device;
  if (const gpu::Fault fault = gpu::Device::Open(PluginHost(), options, &device); fault.failed()) {
    std::printf("no device: %s\n", fault.message().c_str());
    return kNoDevice;
  }
  gpu::Stream stream;
  if (const gpu::Fault fault = stream.Create(*device); fault.failed()) {
    std::printf("no device: %s\n", fault.message().c_str());
    return kNoDevice;
  }
  Bench bench = {.tiny = args.tiny,
                 .seed = args.seed,
                 .report = &report,
                 .device = device.get(),
                 .host = &PluginHost(),
                 .stream = stream.get(),
                 .goal = args.tiny ? SustainedGoal{0, 0, 1} : SustainedGoal{0.3, 0.02, 5},
                 .multiprocessors = device->multiprocessors()};
  if (!tune_path.empty()) {
    const Error error = Tune(bench, tune_path);
    if (!error.empty()) std::fprintf(stderr, "%s\n", error.c_str());
    return error.empty() ? 0 : 1;
  }
  const Error error = RunParts(bench, parts);
  if (!error.empty()) report.Absent("rest", error);
  const bool written = report.Flush();
  std::printf("\n%s", report.Table().c_str());
  if (!written) std::fprintf(stderr, "cannot write %s\n", args.json_path.c_str());
  if (!written || (args.tiny && !error.empty())) return 1;
  return report.ExitCode();
}

}  // namespace

Error ErrorOf(cudaError_t status, const char* what) {
  if (status == cudaSuccess) return "";
  return std::string(what) + ": " + cudaGetErrorString(status);
}

Error ErrorOf(int32_t code, const baton_error& error) {
  return code == BATON_OK ? "" : error.message;
}

Error Buffer::Allocate(int64_t bytes) {
  cudaFree(std::exchange(data_, nullptr));
  return ErrorOf(cudaMalloc(&data_, static_cast<size_t>(bytes)),
                 ("allocating " + std::to_string(bytes) + " bytes").c_str());
}

Error Bench::Time(const Work& work, Sustained* measured) const {
  return Time(goal, work, measured);
}

Error Bench::Time(const SustainedGoal& its_goal, const Work& work, Sustained* measured) const {
  Error error;
  *measured = MeasureSustained(its_goal, [&](int64_t calls) {
    const auto begin = std::chrono::steady_clock::now();
    for (int64_t i = 0; i < calls && error.empty(); ++i) error = ErrorOf(work(), "launching");
    if (error.empty()) error = ErrorOf(cudaStreamSynchronize(stream), "running");
    // What failed took long enough to be no more asked for.
    if (!error.empty()) return its_goal.seconds_min + 1;
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  });
  return error;
}

}  // namespace baton::gpu_bench

int main(int argc, char** argv) { return baton::gpu_bench::Main(argc, argv); }
