#pragma once

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "cuda_kernels/prefill_attention.h"
#include "tests/cuda_kernels/kernel_suite.h"
#include "tests/cuda_kernels/naive_attention.h"
#include "tests/cuda_kernels/paged_fixture.h"

namespace baton::cuda {

// Of a sequence, `rows` from `position` on are prefilled.
struct PrefillPart {
  int32_t position;
  int32_t rows;
};
struct PrefillShape {
  KvType type = KvType::kBF16;
  int32_t heads = 2;
  int32_t kv_heads = 1;
  int32_t head_dim = 64;
  int32_t window = 0;
  float score_cap = 0;
  bool sees_all = false;  // rows of what stands behind them, too
  std::vector<PrefillPart> parts = {{0, 5}, {3, 70}};
};
inline constexpr int32_t kPrefillLayer = 1;

// launch(device arguments): Args of either kernel, whose activations are T.
template <typename T, typename Args, typename Launcher>
std::string RunPrefill(const PrefillShape& s, Launcher launch, const Tolerance& tolerance) {
  const auto sequences = static_cast<int64_t>(s.parts.size());
  const int64_t q_stride = int64_t{s.heads} * s.head_dim + 8;
  int32_t positions_max = 1;
  int32_t rows = 0;
  std::vector<PrefillTile> tiles;
  std::vector<int32_t> lengths;
  for (int32_t sequence = 0; sequence < sequences; ++sequence) {
    const PrefillPart& part = s.parts[sequence];
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
  fixture.StoreRandom(lengths, kPrefillLayer, /*seed=*/200);
  const std::vector<T> q = RandomElements<T>(static_cast<size_t>(rows * q_stride), 19);
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
                            .layer = kPrefillLayer,
                            .begin = s.window > 0 ? std::max(0, position + 1 - s.window) : 0,
                            .end = s.sees_all ? lengths[sequence] : position + 1,
                            .scale = scale,
                            .score_cap = s.score_cap});
        want.insert(want.end(), out.begin(), out.end());
      }
    }
  }
  const DeviceArray<T> device_q(q);
  const DeviceArray<T> out(want.size());
  const DeviceArray<PrefillTile> device_tiles(tiles);
  const DeviceArray<int32_t> device_lengths(lengths);
  const DeviceArray<uint8_t> pool(fixture.pool());
  const DeviceArray<int32_t> table(fixture.table());
  const std::string failure =
      Failure(launch(Args{.q = device_q.data(),
                          .out = out.data(),
                          .tiles = device_tiles.data(),
                          .lengths = s.sees_all ? device_lengths.data() : nullptr,
                          .kv = fixture.Device(pool.data(), table.data(), kPrefillLayer),
                          .tile_count = static_cast<int64_t>(tiles.size()),
                          .q_stride = q_stride,
                          .heads = s.heads,
                          .window = s.window,
                          .scale = scale,
                          .score_cap = s.score_cap}));
  return failure.empty() ? Difference("out", Floats(out.Read()), want, tolerance) : failure;
}

}  // namespace baton::cuda
