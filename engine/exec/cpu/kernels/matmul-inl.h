#pragma once

#include "engine/exec/cpu/kernels/dot-inl.h"
#include "engine/exec/cpu/kernels/kernels.h"

namespace baton::BATON_SIMD_NAMESPACE {

// A tile of 4 weight rows by kTokenTile rows of x keeps its sums in registers: 16 of AVX-512's 32;
// 8 of the 16 that SSE and AVX2 have, which leaves room for the operands.
constexpr int kRowTile = 4;
constexpr int kTokenTile = kLanes == 16 ? 4 : 2;

// What a range of weight rows is multiplied with, and where the products go.
struct MatmulTarget {
  const float* x;  // [tokens, cols]
  float* y;        // [tokens, y_stride]
  int64_t y_stride;
  int64_t cols;
  bool add;
};

template <class Row, int kTokens, int kRows>
static void MatmulTile(const MatmulTarget& target, const std::byte* w, int64_t row_bytes) {
  Row rows[kRows];
  for (int r = 0; r < kRows; ++r) rows[r] = Row::At(w + r * row_bytes);
  float products[kTokens][kRows];
  DotTile(rows, target.x, target.cols, target.cols, products);
  for (int t = 0; t < kTokens; ++t) {
    float* y = target.y + t * target.y_stride;
    for (int r = 0; r < kRows; ++r) y[r] = target.add ? y[r] + products[t][r] : products[t][r];
  }
}

// `row_count` weight rows for kTokens rows of x.
template <class Row, int kTokens>
static void MatmulRows(MatmulTarget target, const std::byte* w, int64_t row_bytes,
                       int64_t row_count) {
  int64_t r = 0;
  for (; r + kRowTile <= row_count; r += kRowTile, target.y += kRowTile) {
    MatmulTile<Row, kTokens, kRowTile>(target, w + r * row_bytes, row_bytes);
  }
  for (; r < row_count; ++r, ++target.y) {
    MatmulTile<Row, kTokens, 1>(target, w + r * row_bytes, row_bytes);
  }
}

// `row_count` weight rows for m rows of x: each tile of x meets all the weight rows.
template <class Row>
static void MatmulPanel(MatmulTarget target, int64_t m, const std::byte* w, int64_t row_bytes,
                        int64_t row_count) {
  int64_t t = 0;
  for (; t + kTokenTile <= m; t += kTokenTile) {
    MatmulRows<Row, kTokenTile>(target, w, row_bytes, row_count);
    target.x += kTokenTile * target.cols;
    target.y += kTokenTile * target.y_stride;
  }
  for (; t < m; ++t) {
    MatmulRows<Row, 1>(target, w, row_bytes, row_count);
    target.x += target.cols;
    target.y += target.y_stride;
  }
}

// Writes rows as f32: [row_count, cols].
template <class Row>
static void ExpandRows(const std::byte* w, int64_t row_bytes, int64_t row_count, int64_t cols,
                       float* out) {
  for (int64_t r = 0; r < row_count; ++r, out += cols) {
    const Row row = Row::At(w + r * row_bytes);
    int64_t c = 0;
    for (; c + kSegment <= cols; c += kSegment) {
      const typename Row::Shared shared = row.Segment(c);
      for (int64_t i = c; i < c + kSegment; i += kLanes) Store(row.Lanes(shared, i), out + i);
    }
    for (; c + kLanes <= cols; c += kLanes) {
      Store(row.Lanes(typename Row::Shared{}, c), out + c);
    }
    if (c < cols) StorePartial(row.Partial(c, cols - c), out + c, cols - c);
  }
}

template <class Row>
static void MatmulPanels(const MatmulArgs& args, int64_t row_bytes) {
  for (int64_t row = args.row_begin; row < args.row_end; row += kMatmulPanelRows) {
    const int64_t left = args.row_end - row;
    const int64_t count = left < kMatmulPanelRows ? left : kMatmulPanelRows;
    const std::byte* w = args.w + row * row_bytes;
    const MatmulTarget target = {args.x, args.y + row, args.y_stride, args.cols, args.add};
    if (args.m <= kTokenTile || args.type == TensorType::kF32) {
      MatmulPanel<Row>(target, args.m, w, row_bytes, count);
    } else {  // expanding a row once is cheaper than in every tile of x, and gives the same values
      ExpandRows<Row>(w, row_bytes, count, args.cols, args.scratch);
      MatmulPanel<F32Row>(target, args.m, reinterpret_cast<const std::byte*>(args.scratch),
                          args.cols * int64_t{sizeof(float)}, count);
    }
  }
}

// Types without a row form of their own: expanded one row at a time, then as F32.
static void MatmulExpanded(const MatmulArgs& args) {
  const int64_t row_bytes = RowBytes(args.type, args.cols);
  for (int64_t row = args.row_begin; row < args.row_end; row += kMatmulPanelRows) {
    const int64_t left = args.row_end - row;
    const int64_t count = left < kMatmulPanelRows ? left : kMatmulPanelRows;
    for (int64_t r = 0; r < count; ++r) {
      DequantizeRow(args.type, args.w + (row + r) * row_bytes, args.cols,
                    args.scratch + r * args.cols);
    }
    const MatmulTarget target = {args.x, args.y + row, args.y_stride, args.cols, args.add};
    MatmulPanel<F32Row>(target, args.m, reinterpret_cast<const std::byte*>(args.scratch),
                        args.cols * int64_t{sizeof(float)}, count);
  }
}

static void Matmul(const MatmulArgs& args) {
  switch (args.type) {
    case TensorType::kF32:
      return MatmulPanels<F32Row>(args, args.cols * int64_t{sizeof(float)});
    case TensorType::kF16:
      return MatmulPanels<F16Row>(args, args.cols * int64_t{sizeof(uint16_t)});
    case TensorType::kBF16:
      return MatmulPanels<BF16Row>(args, args.cols * int64_t{sizeof(uint16_t)});
    case TensorType::kQ8_0:
      return MatmulPanels<Q8Row>(args, args.cols / kSegment * int64_t{sizeof(BlockQ8)});
    default:
      return MatmulExpanded(args);
  }
}

}  // namespace baton::BATON_SIMD_NAMESPACE
