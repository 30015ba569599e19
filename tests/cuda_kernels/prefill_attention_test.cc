#include "cuda_kernels/prefill_attention.h"

#include <catch2/catch.hpp>
#include <cmath>

#include "cuda_kernels/launch.h"
#include "tests/cuda_kernels/kernel_suite.h"
#include "tests/cuda_kernels/naive_attention.h"
#include "tests/cuda_kernels/paged_fixture.h"

namespace baton::cuda {
namespace {

// Of a sequence, `rows` from `position` on are prefilled.
struct Part {
  int32_t position;
  int32_t rows;
};
struct Shape {
  KvType type = KvType::kBF16;
  int32_t heads = 2;
  int32_t kv_heads = 1;
  int32_t head_dim = 64;
  int32_t window = 0;
  float score_cap = 0;
  std::vector<Part> parts = {{0, 5}, {3, 70}};
};
constexpr int32_t kLayer = 1;

std::string RunPrefillAttention(const Shape& s) {
  const auto sequences = static_cast<int64_t>(s.parts.size());
  const int64_t q_stride = int64_t{s.heads} * s.head_dim + 8;
  int32_t positions_max = 1;
  int32_t rows = 0;
  std::vector<PrefillTile> tiles;
  std::vector<int32_t> lengths;
  for (int32_t sequence = 0; sequence < sequences; ++sequence) {
    const Part& part = s.parts[sequence];
    for (int32_t row = 0; row < part.rows; row += kPrefillTileRows) {
      tiles.push_back({.first_row = rows + row,
                       .rows = std::min(kPrefillTileRows, part.rows - row),
                       .position = part.position + row,
                       .sequence = sequence});
    }
    rows += part.rows;
    lengths.push_back(part.position + part.rows);
    positions_max = std::max(positions_max, lengths.back());
  }
  PagedFixture fixture({.layers = 2,
                        .kv_heads = s.kv_heads,
                        .head_dim = s.head_dim,
                        .block_tokens = 16,
                        .type = s.type},
                       std::max<int64_t>(1, sequences), positions_max);
  fixture.StoreRandom(lengths, kLayer, /*seed=*/200);
  const std::vector<__nv_bfloat16> q =
      RandomElements<__nv_bfloat16>(static_cast<size_t>(rows * q_stride), 19);
  const float scale = 3 / std::sqrt(static_cast<float>(s.head_dim));
  std::vector<float> want;
  int64_t q_row = 0;
  for (int64_t sequence = 0; sequence < sequences; ++sequence) {
    for (int32_t row = 0; row < s.parts[sequence].rows; ++row, ++q_row) {
      const int32_t position = s.parts[sequence].position + row;
      for (int32_t head = 0; head < s.heads; ++head) {
        std::vector<float> query(static_cast<size_t>(s.head_dim));
        for (int32_t d = 0; d < s.head_dim; ++d) {
          query[d] = ToFloat(q[q_row * q_stride + head * s.head_dim + d]);
        }
        const std::vector<float> out =
            NaiveAttention(fixture, query,
                           {.sequence = sequence,
                            .kv_head = head / (s.heads / s.kv_heads),
                            .layer = kLayer,
                            .begin = s.window > 0 ? std::max(0, position + 1 - s.window) : 0,
                            .end = position + 1,
                            .scale = scale,
                            .score_cap = s.score_cap});
        want.insert(want.end(), out.begin(), out.end());
      }
    }
  }
  const DeviceArray<__nv_bfloat16> device_q(q);
  const DeviceArray<__nv_bfloat16> out(want.size());
  const DeviceArray<PrefillTile> device_tiles(tiles);
  const DeviceArray<uint8_t> pool(fixture.pool());
  const DeviceArray<int32_t> table(fixture.table());
  const std::string failure =
      Failure(PrefillAttention({.q = device_q.data(),
                                .out = out.data(),
                                .tiles = device_tiles.data(),
                                .kv = fixture.Device(pool.data(), table.data(), kLayer),
                                .tile_count = static_cast<int64_t>(tiles.size()),
                                .q_stride = q_stride,
                                .heads = s.heads,
                                .window = s.window,
                                .scale = scale,
                                .score_cap = s.score_cap},
                               nullptr));
  // Weights, keys and values are rounded to bf16: 2^-9 of values below 1, averaged.
  return failure.empty()
             ? Difference("out", Floats(out.Read()), want, {6e-3, kRounding<__nv_bfloat16>})
             : failure;
}

TEST_CASE("rows of prompts attend to what stands before them") {
  std::vector<KernelCase> cases;
  const auto with = [&](const std::string& name, const Shape& shape) {
    cases.push_back({name, [=] { return RunPrefillAttention(shape); }});
  };
  with("bf16", {});
  with("f16", {.type = KvType::kF16});
  with("int8", {.type = KvType::kInt8});
  with("head_dim 128, several tiles", {.head_dim = 128, .parts = {{0, 130}, {67, 1}}});
  with("tiny heads", {.heads = 3, .kv_heads = 3, .head_dim = 8});
  with("ragged heads", {.head_dim = 72, .parts = {{60, 9}}});
  with("head_dim 256", {.heads = 1, .head_dim = 256, .parts = {{1, 66}}});
  with("a window", {.window = 10, .parts = {{90, 80}}});
  with("capped scores", {.score_cap = 2, .parts = {{0, 20}}});
  with("no rows", {.parts = {}});
  CheckKernel(cases, Barriers::kAll);
}

TEST_CASE("what prefill cannot run is refused") {
  alignas(16) unsigned char pool[16];
  PrefillAttentionArgs args = {};
  args.kv = {.pool = pool,
             .block_bytes = 1024,
             .kv_heads = 2,
             .head_dim = 64,
             .block_tokens = 8,
             .element = KvElement::kBF16};
  args.heads = 4;
  args.q_stride = 256;
  args.tile_count = 1;
  CHECK(CanRun(args));
  const auto refused = [](PrefillAttentionArgs with, auto change) {
    change(with);
    return PrefillAttention(with, nullptr) == cudaErrorInvalidValue;
  };
  CHECK(refused(args, [](auto& a) { a.kv.element = KvElement::kF32; }));
  CHECK(refused(args, [](auto& a) { a.kv.head_dim = 60; }));
  CHECK(refused(args, [](auto& a) { a.kv.head_dim = 264; }));
  CHECK(refused(args, [](auto& a) { a.heads = 5; }));
  CHECK(refused(args, [](auto& a) { a.q_stride = 257; }));
  CHECK(refused(args, [](auto& a) { a.tile_count = kGridYMax + 1; }));
}

}  // namespace
}  // namespace baton::cuda
