#include "tests/bench/gpu/gpu_tune.h"

#include <cstdio>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "cuda_kernels/distance_top_k.h"
#include "cuda_kernels/distance_top_k_sm90a.h"
#include "cuda_kernels/prefill_attention_sm90a.h"
#include "cuda_kernels/quant_gemv.h"
#include "tests/bench/gpu/gpu_attention.h"
#include "tests/bench/gpu/gpu_memory.h"
#include "tests/bench/gpu/gpu_search.h"

namespace baton::gpu_bench {
namespace {

// The compiled tiles, and behind them the kernel for compute capability 9.0 alone.
constexpr const char* kWarpgroups = "warpgroups";
template <size_t kCount>
std::vector<const char*> WithWarpgroups(const char* const (&variants)[kCount]) {
  std::vector<const char*> all(variants, variants + kCount);
  all.push_back(kWarpgroups);
  return all;
}
template <size_t kCount>
std::vector<const char*> All(const char* const (&variants)[kCount]) {
  return {variants, variants + kCount};
}

class TuneTable {
 public:
  TuneTable(const Bench& bench, std::string path) : bench_(bench), path_(std::move(path)) {}

  struct Shape {
    std::string name;
    double work;  // in `unit` and seconds, of one call
    const char* unit;
    std::vector<const char*> variants;  // the usual one first
  };
  // launch(variant). A variant that cannot run such a shape has no figure.
  Error Add(const Shape& shape, const std::function<cudaError_t(int32_t)>& launch) {
    double best = 0;
    nlohmann::json& table = tables_[shape.name];
    table = {
        {"unit", shape.unit}, {"variants", nlohmann::json::object()}, {"usual", shape.variants[0]}};
    std::printf("%s\n", shape.name.c_str());
    for (int32_t variant = 0; variant < std::ssize(shape.variants); ++variant) {
      const char* const name = shape.variants[static_cast<size_t>(variant)];
      if (const cudaError_t status = launch(variant); status == cudaErrorInvalidValue) {
        std::printf("  %-28s cannot run it\n", name);
        table["variants"][name] = nullptr;
        cudaGetLastError();
        continue;
      }
      Sustained measured;
      GPU_BENCH_TRY(bench_.Time([&] { return launch(variant); }, &measured));
      const double figure = shape.work / measured.call_seconds;
      table["variants"][name] = figure;
      std::printf("  %-28s %10.2f %s, spread %.1f %%%s\n", name, figure, shape.unit,
                  100 * measured.spread, figure > best ? "  *" : "");
      std::fflush(stdout);
      if (figure > best) {
        best = figure;
        table["best"] = name;
      }
    }
    std::ofstream file(path_);
    file << tables_.dump(2) << "\n";
    return file.flush() ? "" : "cannot write " + path_;
  }

 private:
  const Bench& bench_;
  const std::string path_;
  nlohmann::json tables_ = nlohmann::json::object();
};

Error TunePrefill(const Bench& bench, TuneTable& table) {
  for (const int32_t positions : {512, 2048, 16384}) {
    const AttentionShape shape = {.sequences = bench.tiny ? 1 : 16384 / positions,
                                  .positions = bench.tiny ? 70 : positions,
                                  .heads = bench.tiny ? 4 : 32,
                                  .kv_heads = bench.tiny ? 1 : 8,
                                  .head_dim = 128};
    PrefillInput input;
    GPU_BENCH_TRY(input.Make(bench, shape));
    GPU_BENCH_TRY(
        table.Add({"prefill_attention " + std::to_string(positions), input.flops() * 1e-12,
                   "TFLOP/s", WithWarpgroups(cuda::kPrefillVariants)},
                  [&](int32_t variant) {
                    if (variant == std::ssize(cuda::kPrefillVariants)) {
                      return cuda::PrefillAttentionSm90a(input.args(), bench.stream);
                    }
                    return cuda::PrefillAttentionVariant(input.args(), variant, bench.stream);
                  }));
  }
  return "";
}

Error TuneDecode(const Bench& bench, TuneTable& table) {
  struct Case {
    int32_t sequences;
    int32_t positions;
  };
  for (const Case& its : {Case{1, 512}, Case{1, 16384}, Case{64, 512}, Case{64, 8192}}) {
    const AttentionShape shape = {.sequences = bench.tiny ? 2 : its.sequences,
                                  .positions = bench.tiny ? 40 : its.positions,
                                  .heads = bench.tiny ? 4 : 32,
                                  .kv_heads = bench.tiny ? 1 : 8,
                                  .head_dim = 128};
    DecodeInput input;
    GPU_BENCH_TRY(input.Make(bench, shape));
    GPU_BENCH_TRY(table.Add({"decode_attention " + std::to_string(its.sequences) + " x " +
                                 std::to_string(its.positions),
                             input.bytes() * 1e-9, "GB/s", All(cuda::kDecodeVariants)},
                            [&](int32_t variant) {
                              return cuda::DecodeAttentionVariant(input.args(), variant,
                                                                  bench.stream);
                            }));
  }
  return "";
}

Error TuneGemv(const Bench& bench, TuneTable& table) {
  struct Case {
    const char* name;
    cuda::QuantFormat format;
  };
  for (const Case& its :
       {Case{"q8_0", cuda::QuantFormat::kQ8_0}, Case{"q4_0", cuda::QuantFormat::kQ4_0},
        Case{"q4_k", cuda::QuantFormat::kQ4K}, Case{"q6_k", cuda::QuantFormat::kQ6K}}) {
    const cuda::QuantShape shape = {
        .format = its.format, .rows = bench.Size(28672 * 8, 20), .cols = bench.Size(4096, 256)};
    RandomMemory memory(bench);
    const cuda::QuantGemvArgs<__nv_bfloat16> args = QuantGemvInput(memory, shape);
    GPU_BENCH_TRY(memory.error());
    GPU_BENCH_TRY(table.Add(
        {std::string("quant_gemv ") + its.name,
         static_cast<double>(cuda::LayOut(shape).bytes) * 1e-9, "GB/s",
         All(cuda::kQuantGemvVariants)},
        [&](int32_t variant) { return cuda::QuantGemvVariant(args, variant, bench.stream); }));
  }
  return "";
}

Error TuneDistance(const Bench& bench, TuneTable& table) {
  for (const int64_t dimension : {128, 768}) {
    const SearchShape shape = {bench.Size(1'000'000, 300), bench.tiny ? 24 : dimension,
                               bench.Size(1024, 20), 10};
    SearchInput input;
    GPU_BENCH_TRY(input.Make(bench, shape));
    GPU_BENCH_TRY(
        table.Add({"distance_top_k 1m x " + std::to_string(dimension), input.flops() * 1e-12,
                   "TFLOP/s", WithWarpgroups(cuda::kDistanceVariants)},
                  [&](int32_t variant) {
                    if (variant == std::ssize(cuda::kDistanceVariants)) {
                      return cuda::DistanceTopKSm90a(input.args(), bench.stream);
                    }
                    return cuda::DistanceTopKVariant(input.args(), variant, bench.stream);
                  }));
  }
  return "";
}

}  // namespace

Error Tune(const Bench& bench, const std::string& json_path) {
  TuneTable table(bench, json_path);
  GPU_BENCH_TRY(TunePrefill(bench, table));
  GPU_BENCH_TRY(TuneDecode(bench, table));
  GPU_BENCH_TRY(TuneGemv(bench, table));
  return TuneDistance(bench, table);
}

}  // namespace baton::gpu_bench
