#pragma once

#include <cstdint>
#include <span>

#include "absl/functional/function_ref.h"
#include "engine/base/huge_allocator.h"
#include "engine/base/huge_arena.h"
#include "engine/exec/cpu/kernels/kernels.h"
#include "engine/exec/cpu/packed_matrix.h"
#include "engine/exec/cpu/thread_team.h"
#include "engine/model/architectures.h"
#include "engine/model/matrix_view.h"

namespace baton {

// The range length, in units of `unit_work` multiplications each, that is worth handing to another
// thread.
int64_t WorkGrain(int64_t unit_work);

// A matrix of weights as the kernels take it: packed, where it is quantised and the instruction set
// has a use for that; else as the file holds it.
struct PreparedMatrix {
  MatrixView file;
  PackedMatrix packed;
  bool tiled = false;  // rows of prompts are multiplied in tile registers

  // As tile registers take it.
  PackedWeights TileWeights() const;
};

// Products of activations with matrices of weights, shared by the threads of a team. Each element
// of a product is summed in an order that does not depend on how many rows there are.
//
// The workspace is allocated at construction; Multiply allocates nothing. Not thread safe; uses the
// team while it runs. `kernels` and `team` outlive it.
class MatrixProducts {
 public:
  struct Bounds {
    int64_t rows_max;    // of the activations
    int64_t cols_max;    // of the activations and the matrices
    bool gated = false;  // whether MultiplyGated is called
  };
  // The rows of the activations: those of given text first, then those of generated text. Some
  // instruction sets multiply the former in a way that pays for many rows; which way, depends on
  // what a row is of, never on how many there are.
  struct Rows {
    int64_t prompt = 0;
    int64_t generated = 0;
    int64_t count() const { return prompt + generated; }
  };
  // What is multiplied: x, or RmsNorm of it. Rows that become tiles are normed on the way there.
  struct Input {
    const float* x;               // [rows, cols], cols the number of columns of every matrix
    const float* norm = nullptr;  // [cols], RmsNorm's weight; null: no norm
    float epsilon = 0;
    float* normed = nullptr;  // [rows, cols], workspace with a norm; not x
  };
  // A matrix, and where its product with the input goes.
  struct Product {
    const PreparedMatrix& w;
    float* y;          // [m, y_stride], the first w.file.rows of each row
    int64_t y_stride;  // elements
  };

  MatrixProducts(const CpuKernels& kernels, ThreadTeam& team, const Bounds& bounds);

  // `packers` share the packing; they may be other threads than those of the products. `memory`:
  // for what PreparedBytes tells.
  PreparedMatrix Prepare(const MatrixView& file, ThreadTeam& packers, HugeArena& memory) const;

  // What a prepared matrix takes beside the file, and what the workspace takes.
  static int64_t PreparedBytes(const CpuKernels& kernels, const MatrixView& file);
  static int64_t WorkspaceBytes(const CpuKernels& kernels, int threads, const Bounds& bounds);

  // y = input . W^T for each product; adds to y where `add`.
  void Multiply(const Input& input, Rows rows, std::span<const Product> products, bool add);

  // The first half of a gated feed-forward block: f(input . gate^T) * (input . up^T), f the
  // activation.
  struct Gated {
    const PreparedMatrix& gate;
    const PreparedMatrix& up;
    Activation activation;
    float* gate_y;  // workspace, [m, gate.file.rows]
    float* up_y;    // the same
  };
  // down.y = gated(input) . down.w^T; adds to it where `add`. Prompts' rows go from tiles to tiles.
  void MultiplyGated(const Input& input, Rows rows, const Gated& gated, const Product& down,
                     bool add);

  // Whether rows of prompts are multiplied with such a matrix in a way of their own.
  static bool TellsPromptsApart(const CpuKernels& kernels, const MatrixView& file);

 private:
  // Panels of a matrix that a thread takes, and its workspace.
  struct PanelRange {
    int64_t begin;
    int64_t end;
    float* scratch;
    int64_t ahead = 0;
  };
  // What a loop over the products' panels of rows calls for some of one product's.
  using OnPanels =
      absl::FunctionRef<void(const Product& product, int64_t begin, int64_t end, float* scratch)>;
  void ForPanels(std::span<const Product> products, int64_t grain, OnPanels on_panels);
  // Of rows [0, m), into bf16_tiles_.
  void RoundToTiles(const Input& input, int64_t m, int64_t cols);
  // The input as f32, with rows [begin, end) normed.
  const float* Normed(const Input& input, int64_t begin, int64_t end, int64_t cols);
  // Of rows [0, m) in tiles, with matrices that are tiled.
  void MultiplyInTiles(const Bf16Tile* x, int64_t m, std::span<const Product> products, bool add);
  // The rows behind the first tiled_m, with matrices that are tiled; all rows with others.
  void MultiplyInRows(const float* x, int64_t m, int64_t tiled_m, std::span<const Product> products,
                      bool add);
  // Both, `tiled` the ones and `rowed` the others, with tiled matrices alone: each panel comes from
  // memory once, for both.
  struct Tiled {
    const Bf16Tile* x;
    int64_t m;
  };
  struct Rowed {
    const float* x;  // [m, cols]; behind the tiled ones in y
    int64_t m;
  };
  void MultiplyInBoth(Tiled tiled, Rowed rowed, std::span<const Product> products, bool add);
  // The same of gate and up, from bf16_tiles_ into gated_tiles_, and from x into their y.
  void GateInBoth(int64_t tiled_m, Rowed rowed, const Gated& gated);
  // Of some panels. Tiles: `ahead` as in TileMatmulArgs. Rows: the m from `from` on, of x, or, with
  // a packed matrix, of quantised_.
  void TilesByPanels(Tiled tiled, const Product& product, PanelRange panels, bool add);
  void GatesByPanels(int64_t m, const Gated& gated, PanelRange panels);
  void RowsByPanels(int64_t from, Rowed rowed, const Product& product, PanelRange panels, bool add);
  bool GatesInTiles(const Gated& gated, const Product& down) const;
  // Into quantised_, where a product's matrix is packed; says whether one is.
  bool Quantise(Rowed rowed, std::span<const Product> products);

  const CpuKernels& kernels_;
  ThreadTeam& team_;
  const Bounds bounds_;
  QuantisedRows quantised_ = {};  // the input of a product with packed matrices, in these:
  HugeVector<int8_t> quants_;     // [m, cols_max]
  HugeVector<float> scales_;
  HugeVector<int32_t> sums_16_;
  HugeVector<int32_t> sums_32_;
  HugeVector<ByteTile> byte_tiles_;  // where the kernels take some tokens so: [cols_max / 32]
  HugeVector<TokenTile> tiles_;  // where the kernels take many tokens so: [m / 16, cols_max / 32]
  HugeVector<Bf16Tile> bf16_tiles_;   // of prompts: [TileCount(rows_max, cols_max)]
  HugeVector<Bf16Tile> gated_tiles_;  // the same, of a gated product
  // Each thread's workspace: for packed products, or [kMatmulPanelRows, cols_max] f32.
  int64_t scratch_per_thread_ = 0;  // floats
  HugeVector<float> scratch_;
};

}  // namespace baton
