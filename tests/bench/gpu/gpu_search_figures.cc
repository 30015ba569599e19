// Exact search: distances and the k nearest in one kernel.

#include <cuda_bf16.h>

#include <string>

#include "cuda_kernels/distance_top_k.h"
#include "cuda_kernels/pack_vectors.h"
#include "tests/bench/gpu/bench_kernels.h"
#include "tests/bench/gpu/gpu_search.h"

namespace baton::gpu_bench {
namespace {

struct PackedShape {
  int64_t rows;
  int64_t dimension;
  uint64_t seed;
};

// Random vectors as searches take them.
Error Pack(const Bench& bench, const PackedShape& shape, const Buffer& packed,
           const Buffer& terms) {
  Buffer vectors;
  const int64_t count = shape.rows * shape.dimension;
  GPU_BENCH_TRY(vectors.Allocate(count * 4));
  GPU_BENCH_TRY(ErrorOf(Fill(vectors.as<float>(), FillUniform{count, 1, shape.seed}, bench.stream),
                        "filling"));
  GPU_BENCH_TRY(ErrorOf(cuda::PackVectors({.vectors = vectors.as<float>(),
                                           .packed = packed.as<__nv_bfloat16>(),
                                           .terms = terms.as<float>(),
                                           .rows = shape.rows,
                                           .dimension = shape.dimension,
                                           .metric = cuda::VectorMetric::kL2},
                                          bench.stream),
                        "packing"));
  return ErrorOf(cudaStreamSynchronize(bench.stream), "packing");
}

}  // namespace

Error SearchInput::Make(const Bench& bench, const SearchShape& shape) {
  const int64_t cols = cuda::PackedColumns(shape.dimension);
  GPU_BENCH_TRY(rows_.Allocate(shape.rows * cols * 2));
  GPU_BENCH_TRY(row_terms_.Allocate(shape.rows * 4));
  GPU_BENCH_TRY(queries_.Allocate(shape.queries * cols * 2));
  GPU_BENCH_TRY(query_terms_.Allocate(shape.queries * 4));
  GPU_BENCH_TRY(distances_.Allocate(shape.queries * shape.k * 4));
  GPU_BENCH_TRY(nearest_.Allocate(shape.queries * shape.k * 4));
  const int32_t splits = cuda::DistanceTopKSplits({.query_count = shape.queries,
                                                   .row_count = shape.rows,
                                                   .multiprocessors = bench.multiprocessors});
  GPU_BENCH_TRY(workspace_.Allocate(cuda::DistanceTopKWorkspaceBytes(
      {.query_count = shape.queries, .k = shape.k, .splits = splits})));
  const PackedShape packed_rows = {shape.rows, shape.dimension, bench.seed};
  GPU_BENCH_TRY(Pack(bench, packed_rows, rows_, row_terms_));
  const PackedShape packed_queries = {shape.queries, shape.dimension, bench.seed + 1};
  GPU_BENCH_TRY(Pack(bench, packed_queries, queries_, query_terms_));
  args_ = {.queries = queries_.as<__nv_bfloat16>(),
           .query_terms = query_terms_.as<float>(),
           .rows = rows_.as<__nv_bfloat16>(),
           .row_terms = row_terms_.as<float>(),
           .live = nullptr,
           .live_stride = 0,
           .keys = nullptr,
           .distances = distances_.as<float>(),
           .nearest = nearest_.as<uint32_t>(),
           .workspace = workspace_.as<void>(),
           .query_count = shape.queries,
           .row_count = shape.rows,
           .cols = cols,
           .metric = cuda::VectorMetric::kL2,
           .k = shape.k,
           .splits = splits};
  flops_ = 2.0 * static_cast<double>(shape.rows) * static_cast<double>(shape.dimension) *
           static_cast<double>(shape.queries);
  return "";
}

namespace {

// How long one batch takes.
Error TimeSearch(const Bench& bench, const SearchShape& shape, Sustained* measured, double* flops) {
  SearchInput input;
  GPU_BENCH_TRY(input.Make(bench, shape));
  *flops = input.flops();
  return bench.Time([&] { return cuda::DistanceTopK(input.args(), bench.stream); }, measured);
}

}  // namespace

Error MeasureSearch(Bench& bench) {
  const SearchShape wide = {bench.Size(1'000'000, 300), bench.Size(768, 24), bench.Size(1024, 20),
                            10};
  Sustained measured;
  double flops = 0;
  GPU_BENCH_TRY(TimeSearch(bench, wide, &measured, &flops));
  bench.report->Add("search.1m_768.b1024", flops / measured.call_seconds * 1e-12, "TFLOP/s",
                    CeilingOf::kGemm, measured.spread);
  bench.report->Add("search.1m_768.b1024.rate",
                    static_cast<double>(wide.queries) / measured.call_seconds, "queries/s");
  const SearchShape many = {bench.Size(10'000'000, 500), bench.Size(128, 16), bench.Size(1000, 20),
                            10};
  GPU_BENCH_TRY(TimeSearch(bench, many, &measured, &flops));
  bench.report->Add("search.10m_128.b1000",
                    static_cast<double>(many.queries) / measured.call_seconds, "queries/s",
                    CeilingOf::kNone, measured.spread);
  bench.report->Add("search.10m_128.b1000.gemm", flops / measured.call_seconds * 1e-12, "TFLOP/s",
                    CeilingOf::kGemm);
  // One query alone reads all rows: bandwidth is its limit.
  const SearchShape single = {wide.rows, wide.dimension, 1, 10};
  GPU_BENCH_TRY(TimeSearch(bench, single, &measured, &flops));
  bench.report->Add(
      "search.1m_768.b1",
      static_cast<double>(single.rows * single.dimension * 2) / measured.call_seconds * 1e-9,
      "GB/s", CeilingOf::kBandwidth, measured.spread);
  return "";
}

}  // namespace baton::gpu_bench
