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

int64_t ByteTiles(const CpuKernels& kernels, const MatrixProducts::Bounds& bounds) {
  return kernels.token_tiles ? bounds.cols_max / kActivationBlock : 0;
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

// Panels that are multiplied in both ways before the next ones: as many as leave the second cache
// room for the activations, and at least what is read side by side.
constexpr int64_t kSharedBytes = 256 * 1024;
int64_t SharedPanels(const PreparedMatrix& w, int64_t matrices) {
  const int64_t panels = (w.file.rows + kPackedRows - 1) / kPackedRows;
  const int64_t bytes = w.packed.empty() ? w.file.rows * RowBytes(w.file.type, w.file.cols)
                                         : PackedMatrix::Bytes(w.file);
  const int64_t panel_bytes = std::max<int64_t>(1, matrices * bytes / panels);
  const int64_t fitting = kSharedBytes / panel_bytes / kPackedPanels * kPackedPanels;
  return std::max(fitting, kPackedPanels);
}

bool IsTiled(const CpuKernels& kernels, const MatrixView& file) {
  if (kernels.tile_matmul == nullptr) return false;
  return PackedMatrix::Bytes(file) > 0 ||
         (file.type == TensorType::kBF16 && file.cols % kActivationBlock == 0);
}

}  // namespace

PackedWeights PreparedMatrix::TileWeights() const {
  if (!packed.empty()) return packed.weights();
  return {.kind = PackedKind::kRowsBF16, .data = file.data, .rows = file.rows, .cols = file.cols};
}

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
    byte_tiles_.resize(static_cast<size_t>(ByteTiles(kernels, bounds)));
    quantised_ = {quants_.data(),  scales_.data(),     sums_16_.data(),
                  sums_32_.data(), byte_tiles_.data(), tiles_.data()};
  }
  bf16_tiles_.resize(static_cast<size_t>(Bf16Tiles(kernels, bounds)));
  gated_tiles_.resize(bounds.gated ? bf16_tiles_.size() : 0);
  scratch_.resize(static_cast<size_t>(team_.threads() * scratch_per_thread_));
}

PreparedMatrix MatrixProducts::Prepare(const MatrixView& file, ThreadTeam& packers,
                                       HugeArena& memory) const {
  PreparedMatrix matrix{.file = file, .packed = {}, .tiled = IsTiled(kernels_, file)};
  if (kernels_.packed_matmul != nullptr) matrix.packed = PackedMatrix(file, packers, memory);
  return matrix;
}

int64_t MatrixProducts::PreparedBytes(const CpuKernels& kernels, const MatrixView& file) {
  const int64_t bytes = kernels.packed_matmul == nullptr ? 0 : PackedMatrix::Bytes(file);
  return bytes == 0 ? 0 : static_cast<int64_t>(HugeArena::Share(static_cast<size_t>(bytes)));
}

int64_t MatrixProducts::WorkspaceBytes(const CpuKernels& kernels, int threads,
                                       const Bounds& bounds) {
  const int64_t quants = kernels.quantise == nullptr ? 0 : bounds.rows_max * bounds.cols_max;
  // Of each 32 quants a scale and three sums, of 4 bytes.
  return quants + quants / 32 * 16 + TokenTiles(kernels, bounds) * int64_t{sizeof(TokenTile)} +
         ByteTiles(kernels, bounds) * int64_t{sizeof(ByteTile)} +
         Bf16Tiles(kernels, bounds) * int64_t{sizeof(Bf16Tile)} * (bounds.gated ? 2 : 1) +
         threads * ScratchPerThread(kernels, bounds.cols_max) * int64_t{sizeof(float)};
}

bool MatrixProducts::TellsPromptsApart(const CpuKernels& kernels, const MatrixView& file) {
  return IsTiled(kernels, file);
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

void MatrixProducts::Multiply(const Input& input, Rows rows, std::span<const Product> products,
                              bool add) {
  const int64_t cols = products[0].w.file.cols;
  BATON_CHECK(rows.count() <= bounds_.rows_max && cols <= bounds_.cols_max);
  const auto is_tiled = [](const Product& product) { return product.w.tiled; };
  const bool any_tiled = std::any_of(products.begin(), products.end(), is_tiled);
  const bool all_tiled = std::all_of(products.begin(), products.end(), is_tiled);
  // The first row of those that are multiplied in the way of generated text.
  const int64_t tiled_m = any_tiled ? rows.prompt : 0;
  if (tiled_m > 0) RoundToTiles(input, tiled_m, cols);
  if (all_tiled && tiled_m > 0 && tiled_m < rows.count()) {
    const float* const x = Normed(input, tiled_m, rows.count(), cols);
    MultiplyInBoth({bf16_tiles_.data(), tiled_m}, {x + tiled_m * cols, rows.count() - tiled_m},
                   products, add);
    return;
  }
  if (tiled_m > 0) MultiplyInTiles(bf16_tiles_.data(), tiled_m, products, add);
  const int64_t others_from = all_tiled ? tiled_m : 0;
  if (others_from == rows.count()) return;
  const float* const x = Normed(input, others_from, rows.count(), cols);
  MultiplyInRows(x, rows.count(), tiled_m, products, add);
}

const float* MatrixProducts::Normed(const Input& input, int64_t begin, int64_t end, int64_t cols) {
  if (input.norm == nullptr) return input.x;
  team_.ParallelFor(end - begin, WorkGrain(4 * cols), [&](int64_t from, int64_t to, int) {
    kernels_.rms_norm({.x = input.x + (begin + from) * cols,
                       .weight = input.norm,
                       .y = input.normed + (begin + from) * cols,
                       .rows = to - from,
                       .dim = cols,
                       .epsilon = input.epsilon});
  });
  return input.normed;
}

bool MatrixProducts::GatesInTiles(const Gated& gated, const Product& down) const {
  if (kernels_.tile_matmul == nullptr || gated_tiles_.empty()) return false;
  return gated.gate.tiled && gated.up.tiled && down.w.tiled &&
         gated.gate.TileWeights().kind == gated.up.TileWeights().kind;
}

void MatrixProducts::MultiplyGated(const Input& input, Rows rows, const Gated& gated,
                                   const Product& down, bool add) {
  const int64_t cols = gated.gate.file.cols;
  const int64_t width = gated.gate.file.rows;
  const bool silu = gated.activation == Activation::kSilu;
  const int64_t in_tiles = GatesInTiles(gated, down) ? rows.prompt : 0;
  const Rows others = {.prompt = rows.prompt - in_tiles, .generated = rows.generated};
  const int64_t in_rows = others.count();
  Input others_input = input;
  others_input.x += in_tiles * cols;
  if (input.norm != nullptr) others_input.normed += in_tiles * cols;
  if (in_tiles > 0) {
    BATON_CHECK(rows.count() <= bounds_.rows_max && std::max(cols, width) <= bounds_.cols_max);
    RoundToTiles(input, in_tiles, cols);
    GateInBoth(in_tiles, {Normed(others_input, 0, in_rows, cols), in_rows}, gated);
  } else {
    const Product gate_up[] = {{gated.gate, gated.gate_y, width}, {gated.up, gated.up_y, width}};
    Multiply(others_input, others, gate_up, /*add=*/false);
  }
  if (in_rows > 0) {
    const auto gate = silu ? kernels_.silu_gate : kernels_.gelu_gate;
    team_.ParallelFor(in_rows, WorkGrain(8 * width), [&](int64_t begin, int64_t end, int) {
      gate({.gate = gated.gate_y + begin * width,
            .up = gated.up_y + begin * width,
            .count = (end - begin) * width});
    });
  }
  if (in_tiles > 0) {
    MultiplyInBoth({gated_tiles_.data(), in_tiles}, {gated.gate_y, in_rows}, {&down, 1}, add);
  } else {
    Multiply({.x = gated.gate_y}, others, {&down, 1}, add);
  }
}

void MatrixProducts::TilesByPanels(Tiled tiled, const Product& product, PanelRange panels,
                                   bool add) {
  kernels_.tile_matmul({.w = product.w.TileWeights(),
                        .x = tiled.x,
                        .y = product.y,
                        .y_stride = product.y_stride,
                        .m = tiled.m,
                        .panel_begin = panels.begin,
                        .panel_end = panels.end,
                        .add = add,
                        .scratch = reinterpret_cast<std::byte*>(panels.scratch),
                        .ahead_panels = panels.ahead});
}

void MatrixProducts::GatesByPanels(int64_t m, const Gated& gated, PanelRange panels) {
  const bool silu = gated.activation == Activation::kSilu;
  const auto gate = silu ? kernels_.tile_silu_gate : kernels_.tile_gelu_gate;
  gate({.gate = gated.gate.TileWeights(),
        .up = gated.up.TileWeights(),
        .x = bf16_tiles_.data(),
        .out = gated_tiles_.data(),
        .m = m,
        .panel_begin = panels.begin,
        .panel_end = panels.end,
        .scratch = reinterpret_cast<std::byte*>(panels.scratch),
        .ahead_panels = panels.ahead});
}

void MatrixProducts::RowsByPanels(int64_t from, Rowed rowed, const Product& product,
                                  PanelRange panels, bool add) {
  float* const y = product.y + from * product.y_stride;
  if (!product.w.packed.empty()) {
    kernels_.packed_matmul({.w = product.w.packed.weights(),
                            .x = quantised_,
                            .y = y,
                            .y_stride = product.y_stride,
                            .m = rowed.m,
                            .panel_begin = panels.begin,
                            .panel_end = panels.end,
                            .add = add,
                            .scratch = reinterpret_cast<std::byte*>(panels.scratch)});
    return;
  }
  const MatrixView& w = product.w.file;
  kernels_.matmul({.x = rowed.x,
                   .w = w.data,
                   .type = w.type,
                   .y = y,
                   .y_stride = product.y_stride,
                   .m = rowed.m,
                   .cols = w.cols,
                   .row_begin = panels.begin * kMatmulPanelRows,
                   .row_end = std::min(panels.end * kMatmulPanelRows, w.rows),
                   .add = add,
                   .scratch = panels.scratch});
}

void MatrixProducts::MultiplyInBoth(Tiled tiled, Rowed rowed, std::span<const Product> products,
                                    bool add) {
  if (rowed.m == 0) return MultiplyInTiles(tiled.x, tiled.m, products, add);
  Quantise(rowed, products);
  ForPanels(products, SharedPanels(products[0].w, 1),
            [&](const Product& product, int64_t begin, int64_t end, float* scratch) {
              const int64_t step = SharedPanels(product.w, 1);
              for (int64_t at = begin; at < end; at += step) {
                PanelRange panels = {at, std::min(at + step, end), scratch, step};
                RowsByPanels(tiled.m, rowed, product, panels, add);
                TilesByPanels(tiled, product, panels, add);
              }
            });
}

void MatrixProducts::GateInBoth(int64_t tiled_m, Rowed rowed, const Gated& gated) {
  const int64_t cols = gated.gate.file.cols;
  const int64_t width = gated.gate.file.rows;
  const Product gate = {gated.gate, gated.gate_y, width};
  const Product up = {gated.up, gated.up_y, width};
  if (rowed.m == 0) {
    ForPanels({&gate, 1}, TileGrain(tiled_m, 2 * cols),
              [&](const Product&, int64_t begin, int64_t end, float* scratch) {
                GatesByPanels(tiled_m, gated, {begin, end, scratch});
              });
    return;
  }
  Quantise(rowed, {&gate, 1});
  const int64_t step = SharedPanels(gated.gate, 2);
  ForPanels({&gate, 1}, step, [&](const Product&, int64_t begin, int64_t end, float* scratch) {
    for (int64_t at = begin; at < end; at += step) {
      const PanelRange panels = {at, std::min(at + step, end), scratch, step};
      RowsByPanels(0, rowed, gate, panels, /*add=*/false);
      RowsByPanels(0, rowed, up, panels, /*add=*/false);
      GatesByPanels(tiled_m, gated, panels);
    }
  });
}

void MatrixProducts::MultiplyInRows(const float* x, int64_t m, int64_t tiled_m,
                                    std::span<const Product> products, bool add) {
  const int64_t cols = products[0].w.file.cols;
  const Rowed all = {x, m};
  const Rowed behind = {x + tiled_m * cols, m - tiled_m};
  const bool packed = Quantise(behind, products);
  int64_t grain = WorkGrain(m * cols * kPackedRows);
  if (packed) grain = (grain + kPackedPanels - 1) / kPackedPanels * kPackedPanels;
  if (m >= kWideRows) grain = std::max(grain, kernels_.token_tiles ? kTilePanels : kWidePanels);
  ForPanels(products, grain,
            [&](const Product& product, int64_t begin, int64_t end, float* scratch) {
              const bool tiled = product.w.tiled;
              if (tiled && behind.m == 0) return;
              RowsByPanels(tiled ? tiled_m : 0, tiled ? behind : all, product,
                           {begin, end, scratch}, add);
            });
}

void MatrixProducts::RoundToTiles(const Input& input, int64_t m, int64_t cols) {
  // Whole tiles of tokens.
  const int64_t tokens = (WorkGrain(2 * cols) + kTileTokens - 1) / kTileTokens * kTileTokens;
  team_.ParallelFor(m, tokens, [&](int64_t begin, int64_t end, int) {
    kernels_.round_to_tiles({.x = input.x,
                             .m = m,
                             .cols = cols,
                             .token_begin = begin,
                             .token_end = end,
                             .out = bf16_tiles_.data(),
                             .norm = input.norm,
                             .epsilon = input.epsilon});
  });
}

void MatrixProducts::MultiplyInTiles(const Bf16Tile* x, int64_t m,
                                     std::span<const Product> products, bool add) {
  ForPanels(products, TileGrain(m, products[0].w.file.cols),
            [&](const Product& product, int64_t begin, int64_t end, float* scratch) {
              if (!product.w.tiled) return;
              TilesByPanels({x, m}, product, {begin, end, scratch}, add);
            });
}

bool MatrixProducts::Quantise(Rowed rowed, std::span<const Product> products) {
  const bool packed = std::any_of(products.begin(), products.end(),
                                  [](const Product& product) { return !product.w.packed.empty(); });
  if (!packed || rowed.m == 0) return packed;
  const int64_t cols = products[0].w.file.cols;
  team_.ParallelFor(rowed.m, WorkGrain(8 * cols), [&](int64_t begin, int64_t end, int) {
    kernels_.quantise({.x = rowed.x,
                       .m = rowed.m,
                       .cols = cols,
                       .token_begin = begin,
                       .token_end = end,
                       .out = quantised_});
  });
  return true;
}

}  // namespace baton
