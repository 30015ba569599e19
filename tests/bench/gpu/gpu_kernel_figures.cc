// Each kernel alone, on the shapes of an 8B model or of a million vectors: bytes read and written
// once, over its time, beside the device's bandwidth. What attention and search reach is measured
// in files of their own.

#include <cuda_bf16.h>

#include <cstdint>
#include <string>
#include <vector>

#include "cuda_kernels/add_bias.h"
#include "cuda_kernels/cap_logits.h"
#include "cuda_kernels/dequantise_weights.h"
#include "cuda_kernels/embedding.h"
#include "cuda_kernels/float_gemv.h"
#include "cuda_kernels/gate.h"
#include "cuda_kernels/kmeans.h"
#include "cuda_kernels/layer_norm.h"
#include "cuda_kernels/logprobs.h"
#include "cuda_kernels/pack_vectors.h"
#include "cuda_kernels/penalties.h"
#include "cuda_kernels/pool_rows.h"
#include "cuda_kernels/quant_gemv.h"
#include "cuda_kernels/quant_planes.h"
#include "cuda_kernels/quantise_rows.h"
#include "cuda_kernels/rms_norm.h"
#include "cuda_kernels/sample.h"
#include "tests/bench/gpu/gpu_bench.h"
#include "tests/bench/gpu/gpu_memory.h"

namespace baton::gpu_bench {
namespace {

using Bf16 = __nv_bfloat16;

// What to launch, and the bytes that it moves at least.
struct Prepared {
  Bench::Work work;
  int64_t bytes = 0;
};
struct KernelFigure {
  const char* name;
  Prepared (*prepare)(const Bench& bench, RandomMemory& pool);
};

Prepared PrepareRmsNorm(const Bench& bench, RandomMemory& pool) {
  const int64_t rows = bench.Size(16384, 3);
  const int64_t dim = bench.Size(4096, 64);
  const cuda::RmsNormArgs<Bf16> args = {.x = pool.Floats(rows * dim),
                                        .branch = pool.Bf16s(rows * dim),
                                        .branch_weight = nullptr,
                                        .weight = pool.Floats(dim),
                                        .y = pool.Bf16s(rows * dim),
                                        .rows = rows,
                                        .dim = dim,
                                        .epsilon = 1e-5f};
  return {[=, &bench] { return cuda::RmsNorm(args, bench.stream); }, rows * dim * (4 + 4 + 2 + 2)};
}

Prepared PrepareGate(const Bench& bench, RandomMemory& pool) {
  const int64_t rows = bench.Size(16384, 3);
  const int64_t dim = bench.Size(14336, 64);
  Bf16* const both = pool.Bf16s(rows * 2 * dim);
  const cuda::GateArgs<Bf16> args = {.gate = both,
                                     .up = both + dim,
                                     .y = pool.Bf16s(rows * dim),
                                     .rows = rows,
                                     .dim = dim,
                                     .stride = 2 * dim,
                                     .y_stride = dim,
                                     .kind = cuda::GateKind::kSilu};
  return {[=, &bench] { return cuda::Gate(args, bench.stream); }, rows * dim * 6};
}

Prepared PrepareEmbedding(const Bench& bench, RandomMemory& pool) {
  const int64_t rows = bench.Size(16384, 3);
  const int64_t dim = bench.Size(4096, 64);
  const int64_t vocabulary = bench.Size(128256, 100);
  std::vector<int32_t> tokens(static_cast<size_t>(rows));
  for (int64_t i = 0; i < rows; ++i) tokens[i] = static_cast<int32_t>(i * 7919 % vocabulary);
  const cuda::EmbeddingArgs<Bf16> args = {.tokens = pool.Copied(tokens),
                                          .table = pool.Bf16s(vocabulary * dim),
                                          .y = pool.Floats(rows * dim),
                                          .rows = rows,
                                          .dim = dim,
                                          .vocabulary = vocabulary,
                                          .scale = 1};
  return {[=, &bench] { return cuda::Embedding(args, bench.stream); }, rows * dim * 6};
}

Prepared PrepareQuantiseRows(const Bench& bench, RandomMemory& pool) {
  const int64_t rows = bench.Size(16384, 3);
  const int64_t cols = bench.Size(4096, 64);
  const cuda::QuantiseRowsArgs<Bf16> args = {.x = pool.Bf16s(rows * cols),
                                             .quants = pool.Words<int8_t>(rows * cols),
                                             .scales = pool.Words<float2>(rows * cols / 32),
                                             .rows = rows,
                                             .cols = cols,
                                             .stride = cols};
  return {[=, &bench] { return cuda::QuantiseRows(args, bench.stream); },
          rows * cols * 3 + rows * cols / 32 * 8};
}

// Several matrices one after another, more than a cache holds.
template <cuda::QuantFormat kFormat>
Prepared PrepareQuantGemv(const Bench& bench, RandomMemory& pool) {
  const cuda::QuantShape shape = {
      .format = kFormat, .rows = bench.Size(28672 * 8, 20), .cols = bench.Size(4096, 256)};
  const cuda::QuantGemvArgs<Bf16> args = QuantGemvInput(pool, shape);
  return {[=, &bench] { return cuda::QuantGemv(args, bench.stream); }, cuda::LayOut(shape).bytes};
}

Prepared PrepareFloatGemv(const Bench& bench, RandomMemory& pool) {
  const int64_t rows = bench.Size(28672 * 4, 20);
  const int64_t cols = bench.Size(4096, 64);
  const cuda::FloatGemvArgs<Bf16, Bf16> args = {.x = pool.Bf16s(cols),
                                                .weights = pool.Bf16s(rows * cols),
                                                .y = pool.Bf16s(rows),
                                                .tokens = 1,
                                                .rows = rows,
                                                .cols = cols,
                                                .x_stride = cols,
                                                .weight_stride = cols,
                                                .y_stride = rows};
  return {[=, &bench] { return cuda::FloatGemv(args, bench.stream); }, rows * cols * 2};
}

Prepared PrepareDequantise(const Bench& bench, RandomMemory& pool) {
  const cuda::QuantShape shape = {.format = cuda::QuantFormat::kQ4_0,
                                  .rows = bench.Size(28672 * 4, 20),
                                  .cols = bench.Size(4096, 64)};
  const cuda::DequantiseWeightsArgs<Bf16> args = {.weights = pool.Planes(shape),
                                                  .shape = shape,
                                                  .first_row = 0,
                                                  .rows = shape.rows,
                                                  .y = pool.Bf16s(shape.rows * shape.cols)};
  return {[=, &bench] { return cuda::DequantiseWeights(args, bench.stream); },
          cuda::LayOut(shape).bytes + shape.rows * shape.cols * 2};
}

Prepared PrepareSample(const Bench& bench, RandomMemory& pool) {
  const int64_t rows = bench.Size(256, 2);
  const int64_t vocabulary = bench.Size(128256, 100);
  std::vector<int32_t> slots;
  std::vector<cuda::SampleParams> params;
  for (int32_t row = 0; row < rows; ++row) {
    slots.push_back(row);
    params.push_back({.temperature = 0.8f, .top_k = 40, .top_p = 0.95f, .min_p = 0});
  }
  const cuda::SampleArgs args = {.logits = pool.Floats(rows * vocabulary),
                                 .params = pool.Copied(params),
                                 .states = pool.Words<uint64_t>(rows),
                                 .slots = pool.Copied(slots),
                                 .tokens = pool.Words<int32_t>(rows),
                                 .rows = rows,
                                 .vocabulary = vocabulary,
                                 .stride = vocabulary};
  return {[=, &bench] { return cuda::Sample(args, bench.stream); }, rows * vocabulary * 4};
}

Prepared PrepareCapLogits(const Bench& bench, RandomMemory& pool) {
  const int64_t count = bench.Size(256 * 128256, 200);
  const cuda::CapLogitsArgs args = {.x = pool.Floats(count), .count = count, .cap = 30};
  return {[=, &bench] { return cuda::CapLogits(args, bench.stream); }, count * 8};
}

// Half of them under the repetition penalty, the others under the two of what was chosen.
Prepared PreparePenalties(const Bench& bench, RandomMemory& pool) {
  const int64_t rows = bench.Size(256, 2);
  const int64_t vocabulary = bench.Size(128256, 100);
  const auto tokens = static_cast<int32_t>(bench.Size(2048, 10));  // of a row
  std::vector<int32_t> slots;
  std::vector<cuda::PenaltyParams> params;
  std::vector<cuda::TokenValue> lists;
  for (int32_t row = 0; row < rows; ++row) {
    slots.push_back(row);
    params.push_back({.repetition = 1.1f,
                      .begin = static_cast<int32_t>(lists.size()),
                      .repeated = tokens / 2,
                      .penalties = tokens - tokens / 2});
    for (int32_t i = 0; i < tokens; ++i) {
      lists.push_back({static_cast<int32_t>((i * int64_t{7919} + row) % vocabulary), 0.01f});
    }
  }
  const cuda::PenaltyArgs args = {.logits = pool.Floats(rows * vocabulary),
                                  .params = pool.Copied(params),
                                  .lists = pool.Copied(lists),
                                  .slots = pool.Copied(slots),
                                  .rows = rows,
                                  .stride = vocabulary};
  return {[=, &bench] { return cuda::Penalise(args, bench.stream); }, rows * tokens * 16};
}

Prepared PrepareLogprobs(const Bench& bench, RandomMemory& pool) {
  const int64_t rows = bench.Size(256, 2);
  const int64_t vocabulary = bench.Size(128256, 100);
  std::vector<int32_t> slots;
  for (int32_t row = 0; row < rows; ++row) slots.push_back(row);
  const cuda::LogprobArgs args = {
      .logits = pool.Floats(rows * vocabulary),
      .slots = pool.Copied(slots),
      .wanted = pool.Copied(std::vector<int32_t>(static_cast<size_t>(rows), 5)),
      .tokens = pool.Copied(slots),
      .chosen = pool.Floats(rows),
      .top_tokens = pool.Words<int32_t>(rows * cuda::kLogprobsMax),
      .top_logprobs = pool.Floats(rows * cuda::kLogprobsMax),
      .rows = rows,
      .vocabulary = vocabulary,
      .stride = vocabulary,
      .top = cuda::kLogprobsMax};
  return {[=, &bench] { return cuda::Logprobs(args, bench.stream); }, rows * vocabulary * 4};
}

// Of an encoder of 768 dimensions, as are the next two.
Prepared PrepareLayerNorm(const Bench& bench, RandomMemory& pool) {
  const int64_t rows = bench.Size(65536, 3);
  const int64_t dim = bench.Size(768, 64);
  const cuda::LayerNormArgs<Bf16> args = {.x = pool.Floats(rows * dim),
                                          .branch = pool.Bf16s(rows * dim),
                                          .branch_bias = pool.Floats(dim),
                                          .weight = pool.Floats(dim),
                                          .bias = pool.Floats(dim),
                                          .y = pool.Bf16s(rows * dim),
                                          .rows = rows,
                                          .dim = dim,
                                          .epsilon = 1e-12f,
                                          .post_norm = true};
  return {[=, &bench] { return cuda::LayerNorm(args, bench.stream); },
          rows * dim * (4 + 4 + 2 + 2)};
}

Prepared PrepareAddBias(const Bench& bench, RandomMemory& pool) {
  const int64_t rows = bench.Size(65536, 3);
  const int64_t dim = bench.Size(3072, 64);
  const cuda::AddBiasArgs<Bf16> args = {.x = pool.Bf16s(rows * dim),
                                        .bias = pool.Floats(dim),
                                        .rows = rows,
                                        .dim = dim,
                                        .then = cuda::BiasThen::kGelu};
  return {[=, &bench] { return cuda::AddBias(args, bench.stream); }, rows * dim * 4};
}

Prepared PreparePoolRows(const Bench& bench, RandomMemory& pool) {
  const int64_t pools = bench.Size(512, 3);
  const auto rows = static_cast<int32_t>(bench.Size(256, 4));  // of each
  const int64_t dim = bench.Size(768, 64);
  std::vector<int32_t> begins;
  std::vector<int32_t> ends;
  for (int32_t i = 0; i < pools; ++i) {
    begins.push_back(i * rows);
    ends.push_back((i + 1) * rows);
  }
  const cuda::PoolRowsArgs args = {.x = pool.Floats(pools * rows * dim),
                                   .begins = pool.Copied(begins),
                                   .ends = pool.Copied(ends),
                                   .y = pool.Floats(pools * dim),
                                   .pools = pools,
                                   .dim = dim};
  return {[=, &bench] { return cuda::PoolRows(args, bench.stream); }, pools * rows * dim * 4};
}

Prepared PreparePackVectors(const Bench& bench, RandomMemory& pool) {
  const int64_t rows = bench.Size(1'000'000, 10);
  const int64_t dimension = bench.Size(768, 24);
  const cuda::PackVectorsArgs args = {.vectors = pool.Floats(rows * dimension),
                                      .packed = pool.Bf16s(rows * dimension),
                                      .terms = pool.Floats(rows),
                                      .rows = rows,
                                      .dimension = dimension,
                                      .metric = cuda::VectorMetric::kL2};
  return {[=, &bench] { return cuda::PackVectors(args, bench.stream); },
          rows * (dimension * 6 + 4)};
}

constexpr KernelFigure kFigures[] = {
    {"kernel.embedding", PrepareEmbedding},
    {"kernel.rms_norm", PrepareRmsNorm},
    {"kernel.gate", PrepareGate},
    {"kernel.quantise_rows", PrepareQuantiseRows},
    {"kernel.quant_gemv.q8_0", PrepareQuantGemv<cuda::QuantFormat::kQ8_0>},
    {"kernel.quant_gemv.q4_0", PrepareQuantGemv<cuda::QuantFormat::kQ4_0>},
    {"kernel.quant_gemv.q4_k", PrepareQuantGemv<cuda::QuantFormat::kQ4K>},
    {"kernel.quant_gemv.q6_k", PrepareQuantGemv<cuda::QuantFormat::kQ6K>},
    {"kernel.float_gemv", PrepareFloatGemv},
    {"kernel.dequantise_weights", PrepareDequantise},
    {"kernel.sample", PrepareSample},
    {"kernel.cap_logits", PrepareCapLogits},
    {"kernel.penalties", PreparePenalties},
    {"kernel.logprobs", PrepareLogprobs},
    {"kernel.layer_norm", PrepareLayerNorm},
    {"kernel.add_bias", PrepareAddBias},
    {"kernel.pool_rows", PreparePoolRows},
    {"kernel.pack_vectors", PreparePackVectors},
};

// Distances are computed one by one: arithmetic is its limit.
Error MeasureKmeans(const Bench& bench) {
  RandomMemory pool(bench);
  const int64_t rows = bench.Size(1 << 18, 10);
  const int64_t dimension = bench.Size(128, 8);
  const int64_t centroids = bench.Size(1024, 3);
  const cuda::KmeansAssignArgs args = {.vectors = pool.Floats(rows * dimension),
                                       .centroids = pool.Floats(centroids * dimension),
                                       .nearest = pool.Words<uint32_t>(rows),
                                       .distances = nullptr,
                                       .rows = rows,
                                       .dimension = dimension,
                                       .centroid_count = centroids,
                                       .spherical = false};
  GPU_BENCH_TRY(pool.error());
  Sustained measured;
  GPU_BENCH_TRY(bench.Time([&] { return cuda::KmeansAssign(args, bench.stream); }, &measured));
  bench.report->Add(
      "kernel.kmeans_assign",
      3e-12 * static_cast<double>(rows * dimension * centroids) / measured.call_seconds, "TFLOP/s",
      CeilingOf::kNone, measured.spread);
  return "";
}

}  // namespace

Error MeasureKernels(Bench& bench) {
  for (const KernelFigure& figure : kFigures) {
    RandomMemory pool(bench);
    const Prepared prepared = figure.prepare(bench, pool);
    Error error = pool.error();
    Sustained measured;
    if (error.empty()) error = bench.Time(prepared.work, &measured);
    if (!error.empty()) {
      bench.report->Absent(figure.name, error);
      GPU_BENCH_TRY(ErrorOf(cudaDeviceSynchronize(), "the device is lost"));
      continue;
    }
    bench.report->Add(figure.name,
                      static_cast<double>(prepared.bytes) / measured.call_seconds * 1e-9, "GB/s",
                      CeilingOf::kBandwidth, measured.spread);
  }
  return MeasureKmeans(bench);
}

}  // namespace baton::gpu_bench
