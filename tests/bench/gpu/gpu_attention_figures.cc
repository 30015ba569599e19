// Attention alone: one long prompt, and decoding.

#include <cuda_bf16.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "cuda_kernels/decode_attention.h"
#include "cuda_kernels/prefill_attention.h"
#include "tests/bench/gpu/bench_kernels.h"
#include "tests/bench/gpu/gpu_attention.h"

namespace baton::gpu_bench {

// ---- Keys and values in blocks

Error AttentionKv::Make(const Bench& bench, const AttentionShape& shape) {
  constexpr int32_t kBlockTokens = 16;
  const int64_t per_sequence = (shape.positions + kBlockTokens - 1) / kBlockTokens;
  kv_ = {.pool = nullptr,
         .block_table = nullptr,
         .table_stride = per_sequence,
         .block_bytes = int64_t{2} * shape.kv_heads * kBlockTokens * shape.head_dim * 2,
         .layer_offset = 0,
         .kv_heads = shape.kv_heads,
         .head_dim = shape.head_dim,
         .block_tokens = kBlockTokens,
         .element = cuda::KvElement::kBF16};
  const int64_t blocks = shape.sequences * per_sequence;
  GPU_BENCH_TRY(pool_.Allocate(blocks * kv_.block_bytes));
  GPU_BENCH_TRY(
      ErrorOf(Fill(pool_.as<__nv_bfloat16>(),
                   FillUniform{blocks * kv_.block_bytes / 2, 1, bench.seed}, bench.stream),
              "filling"));
  // A prime step: no two neighbours in a sequence lie side by side, as in a pool that is used.
  std::vector<int32_t> table(static_cast<size_t>(blocks));
  constexpr int64_t kStep = 1'000'003;
  for (int64_t i = 0; i < blocks; ++i) table[i] = static_cast<int32_t>(i * kStep % blocks);
  std::vector<int32_t> used(table);
  std::sort(used.begin(), used.end());
  if (std::adjacent_find(used.begin(), used.end()) != used.end()) {
    for (int64_t i = 0; i < blocks; ++i) table[i] = static_cast<int32_t>(i);
  }
  GPU_BENCH_TRY(table_.Allocate(blocks * 4));
  GPU_BENCH_TRY(
      ErrorOf(cudaMemcpy(table_.as<void>(), table.data(), table.size() * 4, cudaMemcpyHostToDevice),
              "copying the block table"));
  kv_.pool = pool_.as<unsigned char>();
  kv_.block_table = table_.as<int32_t>();
  return "";
}

Error PrefillInput::Make(const Bench& bench, const AttentionShape& shape) {
  GPU_BENCH_TRY(kv_.Make(bench, shape));
  const int64_t rows = shape.sequences * shape.positions;
  const int64_t count = rows * shape.heads * shape.head_dim;
  GPU_BENCH_TRY(q_.Allocate(count * 2));
  GPU_BENCH_TRY(out_.Allocate(count * 2));
  GPU_BENCH_TRY(
      ErrorOf(Fill(q_.as<__nv_bfloat16>(), FillUniform{count, 1, bench.seed + 1}, bench.stream),
              "filling"));
  std::vector<cuda::PrefillTile> tiles;
  for (int32_t sequence = 0; sequence < shape.sequences; ++sequence) {
    for (int32_t row = 0; row < shape.positions; row += cuda::kPrefillTileRows) {
      tiles.push_back({.first_row = sequence * shape.positions + row,
                       .rows = std::min(cuda::kPrefillTileRows, shape.positions - row),
                       .position = row,
                       .sequence = sequence});
    }
  }
  std::sort(tiles.begin(), tiles.end(), [](const auto& a, const auto& b) {
    // Those with most to do first.
    return a.position != b.position ? a.position > b.position : a.sequence < b.sequence;
  });
  const auto bytes = tiles.size() * sizeof(tiles[0]);
  GPU_BENCH_TRY(tiles_.Allocate(static_cast<int64_t>(bytes)));
  GPU_BENCH_TRY(ErrorOf(cudaMemcpy(tiles_.as<void>(), tiles.data(), bytes, cudaMemcpyHostToDevice),
                        "copying tiles"));
  args_ = {.q = q_.as<__nv_bfloat16>(),
           .out = out_.as<__nv_bfloat16>(),
           .tiles = tiles_.as<cuda::PrefillTile>(),
           .kv = kv_.kv(),
           .tile_count = static_cast<int64_t>(tiles.size()),
           .q_stride = int64_t{shape.heads} * shape.head_dim,
           .heads = shape.heads,
           .window = 0,
           .scale = 1 / std::sqrt(static_cast<float>(shape.head_dim)),
           .score_cap = 0};
  // Two products of head_dim to each pair of a row and a position that it sees.
  const double positions = shape.positions;
  flops_ = static_cast<double>(shape.sequences) * shape.heads * 4.0 * shape.head_dim * positions *
           (positions + 1) / 2;
  return "";
}

Error DecodeInput::Make(const Bench& bench, const AttentionShape& shape) {
  GPU_BENCH_TRY(kv_.Make(bench, shape));
  const int64_t count = int64_t{shape.sequences} * shape.heads * shape.head_dim;
  GPU_BENCH_TRY(q_.Allocate(count * 2));
  GPU_BENCH_TRY(out_.Allocate(count * 2));
  GPU_BENCH_TRY(
      ErrorOf(Fill(q_.as<__nv_bfloat16>(), FillUniform{count, 1, bench.seed + 1}, bench.stream),
              "filling"));
  const std::vector<int32_t> lengths(static_cast<size_t>(shape.sequences), shape.positions);
  GPU_BENCH_TRY(lengths_.Allocate(int64_t{shape.sequences} * 4));
  GPU_BENCH_TRY(ErrorOf(
      cudaMemcpy(lengths_.as<void>(), lengths.data(), lengths.size() * 4, cudaMemcpyHostToDevice),
      "copying lengths"));
  const int32_t splits = cuda::DecodeAttentionSplits({.sequences = shape.sequences,
                                                      .kv_heads = shape.kv_heads,
                                                      .positions_max = shape.positions,
                                                      .multiprocessors = bench.multiprocessors});
  GPU_BENCH_TRY(
      workspace_.Allocate(16 + cuda::DecodeAttentionWorkspaceBytes({.sequences = shape.sequences,
                                                                    .heads = shape.heads,
                                                                    .head_dim = shape.head_dim,
                                                                    .splits = splits})));
  args_ = {.q = q_.as<void>(),
           .out = out_.as<void>(),
           .element = cuda::ActivationElement::kBF16,
           .lengths = lengths_.as<int32_t>(),
           .kv = kv_.kv(),
           .workspace = workspace_.as<float>(),
           .sequences = shape.sequences,
           .q_stride = int64_t{shape.heads} * shape.head_dim,
           .heads = shape.heads,
           .splits = splits,
           .window = 0,
           .scale = 1 / std::sqrt(static_cast<float>(shape.head_dim)),
           .score_cap = 0};
  bytes_ = static_cast<double>(shape.sequences) * shape.positions * 2 * shape.kv_heads *
           shape.head_dim * 2;
  return "";
}

// ---- Figures

Error MeasureAttention(Bench& bench) {
  const int32_t by = bench.tiny ? 8 : 1;
  const AttentionShape prompt = {.sequences = 1,
                                 .positions = bench.tiny ? 70 : 16384,
                                 .heads = 32 / by,
                                 .kv_heads = 8 / by,
                                 .head_dim = 128};
  {
    PrefillInput input;
    GPU_BENCH_TRY(input.Make(bench, prompt));
    Sustained measured;
    GPU_BENCH_TRY(
        bench.Time([&] { return cuda::PrefillAttention(input.args(), bench.stream); }, &measured));
    bench.report->Add("attention.causal_16k", input.flops() / measured.call_seconds * 1e-12,
                      "TFLOP/s", CeilingOf::kGemm, measured.spread);
  }
  struct Case {
    const char* name;
    int32_t sequences;
    int32_t positions;
  };
  for (const Case& its :
       {Case{"attention.decode.b64_512", 64, 512}, Case{"attention.decode.b64_8k", 64, 8192},
        Case{"attention.decode.b1_16k", 1, 16384}}) {
    AttentionShape shape = prompt;
    shape.sequences = bench.tiny ? 2 : its.sequences;
    shape.positions = bench.tiny ? 40 : its.positions;
    DecodeInput input;
    GPU_BENCH_TRY(input.Make(bench, shape));
    Sustained measured;
    GPU_BENCH_TRY(
        bench.Time([&] { return cuda::DecodeAttention(input.args(), bench.stream); }, &measured));
    bench.report->Add(its.name, input.bytes() / measured.call_seconds * 1e-9, "GB/s",
                      CeilingOf::kBandwidth, measured.spread);
  }
  return "";
}

}  // namespace baton::gpu_bench
