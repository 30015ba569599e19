// The CPU executor's matrix products and attention on one thread beside what the machine can do. A
// batch of one reads every weight from memory once, so its limit is the read bandwidth measured in
// the same run, of as many bytes; larger batches read it once for all their tokens. Figures:
// TYPE.mN.tokens_per_s is how often a second the whole matrix is multiplied with one token's
// activations.
//
// tiles.TYPE.mN.top_per_s: the product in tile registers that prompts take, with what comes before
// it, the rounding of activations; its limit is tiles.bare_top_per_s, tile products one after the
// other without a load.
//
// attention.TYPE.gN.tokens_per_s is how often a second one position attends to a long text, of N
// query heads for each key/value head; its limit is reading the keys and values once.
// attention.TYPE.promptN.top_per_s: the same of N positions of a prompt together, in the way that
// prompts take.
//
// --only PART,PART: products, tiles, attention.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/huge_allocator.h"
#include "engine/base/strings.h"
#include "engine/exec/cpu/kernels/kernels.h"
#include "engine/exec/cpu/matrix_products.h"
#include "engine/kv/kv_layout.h"
#include "tests/support/bench_report.h"
#include "tests/support/quantise.h"
#include "tests/support/read_bandwidth.h"

namespace baton {
namespace {

constexpr int64_t kBatches[] = {1, 2, 4, 8, 16, 64, 512};
constexpr int64_t kPrompts[] = {16, 32, 128, 512};
constexpr int64_t kPromptChunks[] = {8, 16, 32, 64};

struct Matrix {
  std::string bytes;
  MatrixView view;
};

// A few random rows over and over: as much memory as a large model's matrices.
Matrix MakeMatrix(TensorType type, int64_t rows, int64_t cols, uint64_t seed) {
  constexpr int64_t kRandomRows = 16;
  std::mt19937_64 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> weights(static_cast<size_t>(kRandomRows * cols));
  for (float& weight : weights) weight = normal(random);
  const std::string some = EncodeWeights(type, weights);
  Matrix matrix;
  for (int64_t r = 0; r < rows; r += kRandomRows) matrix.bytes += some;
  matrix.view = {.type = type,
                 .data = reinterpret_cast<const std::byte*>(matrix.bytes.data()),
                 .rows = rows,
                 .cols = cols};
  return matrix;
}

class Product {
 public:
  Product(const CpuKernels& kernels, const MatrixView& w, int64_t m_max)
      : kernels_(kernels),
        w_(w),
        team_(1),
        x_(static_cast<size_t>(m_max * w.cols), 0.5f),
        y_(static_cast<size_t>(m_max * w.rows)),
        scratch_(static_cast<size_t>(kMatmulPanelRows * w.cols)),
        quants_(x_.size()),
        scales_(x_.size() / 32),
        sums_16_(x_.size() / 16),
        sums_32_(x_.size() / 32),
        byte_tiles_(static_cast<size_t>(w.cols / 32)),
        tiles_(static_cast<size_t>((m_max + kTileTokens - 1) / kTileTokens * (w.cols / 32))),
        packed_scratch_(static_cast<size_t>(PackedScratchBytes(w.cols))) {
    if (kernels.packed_matmul != nullptr) packed_ = PackedMatrix(w, team_, arena_);
  }

  void Run(int64_t m) {
    if (packed_.empty()) {
      kernels_.matmul({.x = x_.data(),
                       .w = w_.data,
                       .type = w_.type,
                       .y = y_.data(),
                       .y_stride = w_.rows,
                       .m = m,
                       .cols = w_.cols,
                       .row_begin = 0,
                       .row_end = w_.rows,
                       .add = false,
                       .scratch = scratch_.data()});
      return;
    }
    const QuantisedRows rows = {quants_.data(),  scales_.data(),     sums_16_.data(),
                                sums_32_.data(), byte_tiles_.data(), tiles_.data()};
    kernels_.quantise(
        {.x = x_.data(), .m = m, .cols = w_.cols, .token_begin = 0, .token_end = m, .out = rows});
    kernels_.packed_matmul({.w = packed_.weights(),
                            .x = rows,
                            .y = y_.data(),
                            .y_stride = w_.rows,
                            .m = m,
                            .panel_begin = 0,
                            .panel_end = (w_.rows + kPackedRows - 1) / kPackedRows,
                            .add = false,
                            .scratch = packed_scratch_.data()});
  }

 private:
  const CpuKernels& kernels_;
  const MatrixView w_;
  ThreadTeam team_;
  HugeArena arena_;
  PackedMatrix packed_;
  std::vector<float> x_;
  std::vector<float> y_;
  std::vector<float> scratch_;
  std::vector<int8_t> quants_;
  std::vector<float> scales_;
  std::vector<int32_t> sums_16_;
  std::vector<int32_t> sums_32_;
  std::vector<ByteTile> byte_tiles_;
  std::vector<TokenTile> tiles_;
  std::vector<std::byte> packed_scratch_;
};

// A prompt's product, in tiles.
class TileProduct {
 public:
  TileProduct(const CpuKernels& kernels, const MatrixView& w, int64_t m_max)
      : kernels_(kernels),
        team_(1),
        w_{.file = w, .packed = PackedMatrix(w, team_, arena_), .tiled = true},
        x_(static_cast<size_t>(m_max * w.cols), 0.5f),
        y_(static_cast<size_t>(m_max * w.rows)),
        tiles_(static_cast<size_t>(TileCount(m_max, w.cols))),
        scratch_(static_cast<size_t>(kTileScratchBytes)) {}

  void Run(int64_t m) {
    const PackedWeights w = w_.TileWeights();
    kernels_.round_to_tiles({.x = x_.data(),
                             .m = m,
                             .cols = w.cols,
                             .token_begin = 0,
                             .token_end = m,
                             .out = tiles_.data()});
    kernels_.tile_matmul({.w = w,
                          .x = tiles_.data(),
                          .y = y_.data(),
                          .y_stride = w.rows,
                          .m = m,
                          .panel_begin = 0,
                          .panel_end = (w.rows + kPackedRows - 1) / kPackedRows,
                          .add = false,
                          .scratch = scratch_.data()});
  }

 private:
  const CpuKernels& kernels_;
  ThreadTeam team_;
  HugeArena arena_;
  const PreparedMatrix w_;
  HugeVector<float> x_;
  HugeVector<float> y_;
  HugeVector<Bf16Tile> tiles_;
  HugeVector<std::byte> scratch_;
};

// Products of bf16 tiles a second, each of 16 by 16 by 32 multiplications and additions: four sums
// take turns, so that none is waited for.
double BareTileTops(bool tiny) {
  struct alignas(64) {
    uint8_t palette = 1;
    uint8_t start_row = 0;
    uint8_t reserved[14] = {};
    uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
    uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
  } config;
  static_assert(sizeof(config) == 64);
  constexpr int kTurns = 1000;
  asm volatile("ldtilecfg %0" : : "m"(config));
  const double seconds = BestSecondsPerCall(tiny, [] {
    for (int i = 0; i < kTurns; ++i) {
      asm volatile(
          "tdpbf16ps %%tmm2, %%tmm0, %%tmm4\n\ttdpbf16ps %%tmm3, %%tmm0, %%tmm5\n\t"
          "tdpbf16ps %%tmm2, %%tmm1, %%tmm6\n\ttdpbf16ps %%tmm3, %%tmm1, %%tmm7" ::);
    }
  });
  asm volatile("tilerelease");
  return 4.0 * kTurns * 2 * 16 * 16 * 32 / seconds * 1e-12;
}

void RunTiles(const BenchArgs& args, const CpuKernels& kernels, BenchReport& report) {
  if (kernels.tile_matmul == nullptr) return;
  const int64_t rows = args.tiny ? 32 : 5632;
  const int64_t cols = args.tiny ? 256 : 2048;
  const double bare = BareTileTops(args.tiny);
  report.Add("tiles.bare_top_per_s", bare, "T multiplications and additions/s, without a load");
  for (const TensorType type : {TensorType::kBF16, TensorType::kQ8_0, TensorType::kQ4_0,
                                TensorType::kQ4K, TensorType::kQ5K, TensorType::kQ6K}) {
    const Matrix matrix = MakeMatrix(type, rows, cols, args.seed);
    TileProduct product(kernels, matrix.view, kPrompts[std::size(kPrompts) - 1]);
    for (const int64_t m : kPrompts) {
      const double seconds = BestSecondsPerCall(args.tiny, [&] { product.Run(m); });
      const std::string name = "tiles." + std::string(Name(type)) + ".m" + std::to_string(m);
      const double tops = 2e-12 * static_cast<double>(m * rows * cols) / seconds;
      report.Add(name + ".top_per_s", tops, "T multiplications and additions/s");
      report.Add(name + ".bare_share", tops / bare, "of the tiles' bare rate");
    }
  }
}

// Attention of one position over a text whose keys and values fill memory, not a cache.
class LongAttention {
 public:
  static constexpr int64_t kHeadDim = 64;
  static constexpr int32_t kKvHeads = 4;
  static constexpr int64_t kGroupMax = 8;
  static constexpr int64_t kQueriesMax = 64;

  LongAttention(const CpuKernels& kernels, KvType type, int64_t blocks)
      : kernels_(kernels),
        layout_({.layers = 1,
                 .kv_heads = kKvHeads,
                 .head_dim = kHeadDim,
                 .block_tokens = 64,
                 .type = type}),
        memory_(static_cast<size_t>(blocks * layout_.block_bytes())),
        q_(kQueriesMax * kGroupMax * kHeadDim, 0.5f),
        out_(q_.size()),
        scratch_(static_cast<size_t>(
            std::max(AttentionScratch(kQueriesMax * kGroupMax, layout_.block_tokens, kHeadDim),
                     TileAttentionScratch(kQueriesMax * kGroupMax, kHeadDim)))) {
    std::mt19937_64 random(1);
    std::normal_distribution<float> normal;
    std::vector<float> vectors(kKvHeads * kHeadDim);
    for (float& value : vectors) value = normal(random);
    for (int64_t block = 0; block < blocks; ++block) {
      std::byte* const data = memory_.data() + block * layout_.block_bytes();
      blocks_.push_back(data);
      for (int64_t i = 0; i < 2 * layout_.block_tokens; ++i) {
        kernels_.store_kv({.x = vectors.data(),
                           .out = data + i % 2 * layout_.plane_bytes(),
                           .type = type,
                           .area_bytes = layout_.area_bytes(),
                           .position = i / 2,
                           .block_tokens = layout_.block_tokens,
                           .heads = kKvHeads,
                           .head_dim = kHeadDim});
      }
    }
  }

  // The last `queries` positions, by the kernel of generated text or the one of prompts.
  void Run(int64_t group, int64_t queries, bool prompt) {
    const bool in_tiles = prompt && kernels_.tile_attention != nullptr;
    const auto attention = in_tiles ? kernels_.tile_attention : kernels_.attention;
    for (int64_t head = 0; head < kKvHeads; ++head) {
      attention({.q = q_.data(),
                 .out = out_.data(),
                 .stride = kGroupMax * kHeadDim,
                 .queries = queries,
                 .blocks = blocks_.data(),
                 .type = layout_.type,
                 .key_offset = head * layout_.area_bytes(),
                 .value_offset = layout_.plane_bytes() + head * layout_.area_bytes(),
                 .block_tokens = layout_.block_tokens,
                 .positions = positions() - queries + 1,
                 .window = 0,
                 .group = group,
                 .head_dim = kHeadDim,
                 .scale = 0.125f,
                 .score_cap = 0,
                 .scratch = scratch_.data()});
    }
  }

  int64_t positions() const { return std::ssize(blocks_) * layout_.block_tokens; }
  double bytes() const { return static_cast<double>(memory_.size()); }

 private:
  const CpuKernels& kernels_;
  const KvLayout layout_;
  std::vector<std::byte> memory_;
  std::vector<const std::byte*> blocks_;
  std::vector<float> q_;
  std::vector<float> out_;
  std::vector<float> scratch_;
};

void RunAttention(const BenchArgs& args, const CpuKernels& kernels, BenchReport& report) {
  for (const KvType type : {KvType::kF32, KvType::kF16, KvType::kBF16, KvType::kInt8}) {
    LongAttention attention(kernels, type, args.tiny ? 2 : 2048);
    const double read_gb_per_s = ReadBandwidth(static_cast<int64_t>(attention.bytes()), args.tiny);
    const std::string name = "attention." + std::string(Name(type));
    report.Add(name + ".read_gb_per_s", read_gb_per_s, "GB/s, one thread that only reads");
    for (const int64_t group : {1, 4, 8}) {
      const double seconds = BestSecondsPerCall(args.tiny, [&] { attention.Run(group, 1, false); });
      const std::string row = name + ".g" + std::to_string(group);
      const double gb_per_s = attention.bytes() / seconds * 1e-9;
      report.Add(row + ".tokens_per_s", 1 / seconds, "positions/s");
      report.Add(row + ".gb_per_s", gb_per_s, "GB/s of keys and values");
      report.Add(row + ".bandwidth_share", gb_per_s / read_gb_per_s, "of the read bandwidth");
    }
    for (const int64_t queries : kPromptChunks) {
      const int64_t group = LongAttention::kGroupMax;
      const double seconds =
          BestSecondsPerCall(args.tiny, [&] { attention.Run(group, queries, true); });
      const auto vectors = static_cast<double>(queries * group * LongAttention::kKvHeads);
      const double operations =
          4 * vectors * static_cast<double>(attention.positions()) * LongAttention::kHeadDim;
      report.Add(name + ".prompt" + std::to_string(queries) + ".top_per_s",
                 operations / seconds * 1e-12, "T multiplications and additions/s");
    }
  }
}

void RunProducts(const BenchArgs& args, const CpuKernels& kernels, BenchReport& report) {
  const int64_t rows = args.tiny ? 32 : 32768;
  const int64_t cols = args.tiny ? 256 : 2048;
  for (const TensorType type :
       {TensorType::kF32, TensorType::kF16, TensorType::kBF16, TensorType::kQ8_0, TensorType::kQ4_0,
        TensorType::kQ4K, TensorType::kQ5K, TensorType::kQ6K}) {
    const Matrix matrix = MakeMatrix(type, rows, cols, args.seed);
    const double read_gb_per_s = ReadBandwidth(std::ssize(matrix.bytes), args.tiny);
    Product product(kernels, matrix.view, kBatches[std::size(kBatches) - 1]);
    const std::string name(Name(type));
    report.Add(name + ".read_gb_per_s", read_gb_per_s, "GB/s, one thread that only reads");
    double one = 0;
    for (const int64_t m : kBatches) {
      const double seconds = BestSecondsPerCall(args.tiny, [&] { product.Run(m); });
      const std::string batch = name + ".m" + std::to_string(m);
      const double tokens_per_s = static_cast<double>(m) / seconds;
      report.Add(batch + ".tokens_per_s", tokens_per_s, "tokens/s");
      report.Add(batch + ".gop_per_s", 2e-9 * static_cast<double>(rows * cols) * tokens_per_s,
                 "G multiplications and additions/s");
      if (m == 1) {
        one = tokens_per_s;
        const double gb_per_s = static_cast<double>(matrix.bytes.size()) / seconds * 1e-9;
        report.Add(batch + ".gb_per_s", gb_per_s, "GB/s of the file's weights");
        report.Add(batch + ".bandwidth_share", gb_per_s / read_gb_per_s, "of the read bandwidth");
      } else {
        report.Add(batch + ".speedup", tokens_per_s / one, "times a batch of one");
      }
    }
  }
}

int Run(int argc, char** argv) {
  std::string only;
  const BenchArgs args = ParseBenchArgs(argc, argv, {{"--only", "PART,PART", &only}});
  BenchReport report(args);
  const auto wanted = [&only](std::string_view part) {
    return only.empty() || StrCat(",", only, ",").find(StrCat(",", part, ",")) != std::string::npos;
  };
  const CpuKernels& kernels = KernelsFor(DetectedSimdLevel());
  if (wanted("products")) RunProducts(args, kernels, report);
  if (wanted("tiles")) RunTiles(args, kernels, report);
  if (wanted("attention")) RunAttention(args, kernels, report);
  return report.Finish();
}

}  // namespace
}  // namespace baton

int main(int argc, char** argv) { return baton::Run(argc, argv); }
