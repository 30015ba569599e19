#include "engine/exec/cpu/matrix_products.h"

#include <algorithm>

#include "engine/base/check.h"

namespace baton {
namespace {

// Below about this many multiplications a range costs less than handing it to another thread.
constexpr int64_t kRangeWork = 64 * 1024;

// From kWideRows rows of activations on, a range's panels share what is prepared of them once.
constexpr int64_t kWideRows = 64;
constexpr int64_t kWidePanels = 8;
// In tiles the arithmetic is so fast that reading the activations again for each range would show.
constexpr int64_t kTilePanels = 32;

int64_t TokenTiles(const CpuKernels& kernels, const MatrixProducts::Bounds& bounds) {
  if (!kernels.token_tiles || bounds.rows_max < kPackedWideFrom) return 0;
  return (bounds.rows_max + kTileTokens - 1) / kTileTokens * (bounds.cols_max / kActivationBlock);
}

int64_t Bf16Tiles(const CpuKernels& kernels, const MatrixProducts::Bounds& bounds) {
  return kernels.tile_matmul == nullptr ? 0 : TileCount(bounds.rows_max, bounds.cols_max);
}

int64_t ScratchPerThread(const CpuKernels& kernels, int64_t cols_max) {
  const int64_t rows = kMatmulPanelRows * cols_max;
  if (kernels.packed_matmul == nullptr) return rows;
  int64_t bytes = PackedScratchBytes(cols_max);
  if (kernels.tile_matmul != nullptr) bytes = std::max(bytes, kTileScratchBytes);
  return std::max(rows, bytes / int64_t{sizeof(float)});
}

// Panels of so many columns that are worth handing to another thread, in tiles.
int64_t TileGrain(int64_t m, int64_t cols) {
  return std::max(WorkGrain(m * cols * kPackedRows / 8), m >= 64 ? kTilePanels : 2);
}

}  // namespace

int64_t WorkGrain(int64_t unit_work) { return std::max<int64_t>(1, kRangeWork / (unit_work + 1)); }

MatrixProducts::MatrixProducts(const CpuKernels& kernels, ThreadTeam& team, const Bounds& bounds)
    : kernels_(kernels),
      team_(team),
      bounds_(bounds),
      scratch_per_thread_(ScratchPerThread(kernels, bounds.cols_max)) {
  if (kernels_.quantise != nullptr) {
    const auto quants = static_cast<size_t>(bounds.rows_max * bounds.cols_max);
    quants_.resize(quants);
    scales_.resize(quants / 32 + 1);
    sums_16_.resize(quants / 16 + 1);
    sums_32_.resize(quants / 32 + 1);
    tiles_.resize(static_cast<size_t>(TokenTiles(kernels, bounds)));
    quantised_ = {quants_.data(), scales_.data(), sums_16_.data(), sums_32_.data(), tiles_.data()};
  }
  bf16_tiles_.resize(static_cast<size_t>(Bf16Tiles(kernels, bounds)));
  gated_tiles_.resize(bounds.gated ? bf16_tiles_.size() : 0);
  scratch_.resize(static_cast<size_t>(team_.threads() * scratch_per_thread_));
}

PreparedMatrix MatrixProducts::Prepare(const MatrixView& file, ThreadTeam& packers) const {
  PreparedMatrix matrix{.file = file, .packed = {}};
  if (kernels_.packed_matmul != nullptr) matrix.packed = PackedMatrix(file, packers);
  return matrix;
}

int64_t MatrixProducts::PreparedBytes(const CpuKernels& kernels, const MatrixView& file) {
  return kernels.packed_matmul == nullptr ? 0 : PackedMatrix::Bytes(file);
}

int64_t MatrixProducts::WorkspaceBytes(const CpuKernels& kernels, int threads,
                                       const Bounds& bounds) {
  const int64_t quants = kernels.quantise == nullptr ? 0 : bounds.rows_max * bounds.cols_max;
  // Of each 32 quants a scale and three sums, of 4 bytes.
  return quants + quants / 32 * 16 + TokenTiles(kernels, bounds) * int64_t{sizeof(TokenTile)} +
         Bf16Tiles(kernels, bounds) * int64_t{sizeof(Bf16Tile)} * (bounds.gated ? 2 : 1) +
         threads * ScratchPerThread(kernels, bounds.cols_max) * int64_t{sizeof(float)};
}

bool MatrixProducts::TellsPromptsApart(const CpuKernels& kernels, const MatrixView& file) {
  return kernels.tile_matmul != nullptr && PreparedBytes(kernels, file) > 0;
}

void MatrixProducts::ForPanels(std::span<const Product> products, int64_t grain,
                               OnPanels on_panels) {
  // The matrices' panels of rows, one matrix after the other, split among the threads.
  static_assert(kMatmulPanelRows == kPackedRows);
  const auto panels = [](const Product& product) {
    return (product.w.file.rows + kPackedRows - 1) / kPackedRows;
  };
  int64_t panel_count = 0;
  for (const Product& product : products) panel_count += panels(product);
  team_.ParallelFor(panel_count, grain, [&](int64_t begin, int64_t end, int thread) {
    float* const scratch = scratch_.data() + thread * scratch_per_thread_;
    for (const Product& product : products) {
      const int64_t count = panels(product);
      if (begin < count && end > 0) {
        on_panels(product, std::max<int64_t>(begin, 0), std::min(end, count), scratch);
      }
      begin -= count;
      end -= count;
    }
  });
}

void MatrixProducts::Multiply(const float* x, Rows rows, std::span<const Product> products,
                              bool add) {
  const int64_t cols = products[0].w.file.cols;
  BATON_CHECK(rows.count() <= bounds_.rows_max && cols <= bounds_.cols_max);
  const bool any_packed = std::any_of(products.begin(), products.end(), [](const Product& product) {
    return !product.w.packed.empty();
  });
  // The first row of those that are multiplied in the way of generated text.
  const int64_t packed_from = kernels_.tile_matmul == nullptr ? 0 : rows.prompt;
  if (any_packed && packed_from > 0) {
    RoundToTiles(x, packed_from, cols);
    MultiplyInTiles(bf16_tiles_.data(), packed_from, products, add);
  }
  MultiplyInRows(x, rows.count(), packed_from, products, add);
}

bool MatrixProducts::GatesInTiles(const Gated& gated, const Product& down) const {
  if (kernels_.tile_matmul == nullptr || gated_tiles_.empty()) return false;
  return !gated.gate.packed.empty() && !gated.up.packed.empty() && !down.w.packed.empty() &&
         gated.gate.packed.weights().kind == gated.up.packed.weights().kind;
}

void MatrixProducts::MultiplyGated(const float* x, Rows rows, const Gated& gated,
                                   const Product& down, bool add) {
  const int64_t cols = gated.gate.file.cols;
  const int64_t width = gated.gate.file.rows;
  const bool silu = gated.activation == Activation::kSilu;
  const int64_t in_tiles = GatesInTiles(gated, down) ? rows.prompt : 0;
  if (in_tiles > 0) {
    BATON_CHECK(rows.count() <= bounds_.rows_max && std::max(cols, width) <= bounds_.cols_max);
    RoundToTiles(x, in_tiles, cols);
    const auto gate = silu ? kernels_.tile_silu_gate : kernels_.tile_gelu_gate;
    const Product panels[] = {{gated.gate, gated.gate_y, width}};
    ForPanels(panels, TileGrain(in_tiles, 2 * cols),
              [&](const Product&, int64_t begin, int64_t end, float* scratch) {
                gate({.gate = gated.gate.packed.weights(),
                      .up = gated.up.packed.weights(),
                      .x = bf16_tiles_.data(),
                      .out = gated_tiles_.data(),
                      .m = in_tiles,
                      .panel_begin = begin,
                      .panel_end = end,
                      .scratch = reinterpret_cast<std::byte*>(scratch)});
              });
    MultiplyInTiles(gated_tiles_.data(), in_tiles, {&down, 1}, add);
  }
  const Rows others = {.prompt = rows.prompt - in_tiles, .generated = rows.generated};
  if (others.count() == 0) return;
  const Product gate_up[] = {{gated.gate, gated.gate_y, width}, {gated.up, gated.up_y, width}};
  Multiply(x + in_tiles * cols, others, gate_up, /*add=*/false);
  const auto gate = silu ? kernels_.silu_gate : kernels_.gelu_gate;
  team_.ParallelFor(others.count(), WorkGrain(8 * width), [&](int64_t begin, int64_t end, int) {
    gate({.gate = gated.gate_y + begin * width,
          .up = gated.up_y + begin * width,
          .count = (end - begin) * width});
  });
  const Product rest[] = {{down.w, down.y + in_tiles * down.y_stride, down.y_stride}};
  Multiply(gated.gate_y, others, rest, add);
}

void MatrixProducts::MultiplyInRows(const float* x, int64_t m, int64_t packed_from,
                                    std::span<const Product> products, bool add) {
  const int64_t cols = products[0].w.file.cols;
  const bool any_packed = std::any_of(products.begin(), products.end(), [](const Product& product) {
    return !product.w.packed.empty();
  });
  const int64_t packed_m = m - packed_from;
  if (any_packed && packed_m > 0) Quantise(x + packed_from * cols, packed_m, cols);
  int64_t grain = WorkGrain(m * cols * kPackedRows);
  if (any_packed) grain = (grain + kPackedPanels - 1) / kPackedPanels * kPackedPanels;
  if (m >= kWideRows) grain = std::max(grain, kernels_.token_tiles ? kTilePanels : kWidePanels);
  ForPanels(products, grain,
            [&](const Product& product, int64_t begin, int64_t end, float* scratch) {
              const MatrixView& w = product.w.file;
              if (product.w.packed.empty()) {
                kernels_.matmul({.x = x,
                                 .w = w.data,
                                 .type = w.type,
                                 .y = product.y,
                                 .y_stride = product.y_stride,
                                 .m = m,
                                 .cols = cols,
                                 .row_begin = begin * kMatmulPanelRows,
                                 .row_end = std::min(end * kMatmulPanelRows, w.rows),
                                 .add = add,
                                 .scratch = scratch});
              } else if (packed_m > 0) {
                kernels_.packed_matmul({.w = product.w.packed.weights(),
                                        .x = quantised_,
                                        .y = product.y + packed_from * product.y_stride,
                                        .y_stride = product.y_stride,
                                        .m = packed_m,
                                        .panel_begin = begin,
                                        .panel_end = end,
                                        .add = add,
                                        .scratch = reinterpret_cast<std::byte*>(scratch)});
              }
            });
}

void MatrixProducts::RoundToTiles(const float* x, int64_t m, int64_t cols) {
  // Whole tiles of tokens.
  const int64_t tokens = (WorkGrain(2 * cols) + kTileTokens - 1) / kTileTokens * kTileTokens;
  team_.ParallelFor(m, tokens, [&](int64_t begin, int64_t end, int) {
    kernels_.round_to_tiles({.x = x,
                             .m = m,
                             .cols = cols,
                             .token_begin = begin,
                             .token_end = end,
                             .out = bf16_tiles_.data()});
  });
}

void MatrixProducts::MultiplyInTiles(const Bf16Tile* x, int64_t m,
                                     std::span<const Product> products, bool add) {
  ForPanels(products, TileGrain(m, products[0].w.file.cols),
            [&](const Product& product, int64_t begin, int64_t end, float* scratch) {
              if (product.w.packed.empty()) return;
              kernels_.tile_matmul({.w = product.w.packed.weights(),
                                    .x = x,
                                    .y = product.y,
                                    .y_stride = product.y_stride,
                                    .m = m,
                                    .panel_begin = begin,
                                    .panel_end = end,
                                    .add = add,
                                    .scratch = reinterpret_cast<std::byte*>(scratch)});
            });
}

void MatrixProducts::Quantise(const float* x, int64_t m, int64_t cols) {
  team_.ParallelFor(m, WorkGrain(8 * cols), [&](int64_t begin, int64_t end, int) {
    kernels_.quantise(
        {.x = x, .m = m, .cols = cols, .token_begin = begin, .token_end = end, .out = quantised_});
  });
}

}  // namespace baton
