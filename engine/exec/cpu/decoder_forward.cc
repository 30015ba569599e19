#include "engine/exec/cpu/decoder_forward.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <utility>

#include "engine/base/check.h"
#include "engine/base/status_macros.h"
#include "engine/base/strings.h"

namespace baton {
namespace {

// Rows whose logits are computed in one pass over the output matrix. Bounds the workspace: 64 rows
// of 128,000 tokens are 33 MB.
constexpr size_t kLogitRows = 64;

// y += x; a null x is none.
void AddTo(const float* x, int64_t count, float* y) {
  for (int64_t i = 0; x != nullptr && i < count; ++i) y[i] += x[i];
}

int64_t LongestRow(const LlmShape& shape) {
  return std::max(
      {int64_t{shape.dim}, int64_t{shape.ffn_dim}, int64_t{shape.heads} * shape.head_dim});
}

MatrixProducts::Bounds ProductBounds(const LlmShape& shape, int32_t step_tokens_max) {
  return {.rows_max = std::max<int64_t>(step_tokens_max, kLogitRows),
          .cols_max = LongestRow(shape),
          .gated = true};
}

constexpr int64_t kBlockTokensMax = 64;

// Positions of a sequence whose attention is one task for each key/value head.
int64_t RowsPerTask(const LlmShape& shape, bool in_tiles) {
  const int64_t vectors = in_tiles ? kTileAttentionVectors : kAttentionVectors;
  return std::max<int64_t>(1, vectors / (shape.heads / shape.kv_heads));
}
int64_t ScratchPerThread(const LlmShape& shape, bool in_tiles) {
  const int64_t group = shape.heads / shape.kv_heads;
  const int64_t floats =
      AttentionScratch(RowsPerTask(shape, false) * group, kBlockTokensMax, shape.head_dim);
  if (!in_tiles) return floats;
  return std::max(floats, TileAttentionScratch(RowsPerTask(shape, true) * group, shape.head_dim));
}

int64_t PreparedBytes(const LlmWeights& weights, const CpuKernels& kernels) {
  int64_t bytes = MatrixProducts::PreparedBytes(kernels, weights.output);
  for (const LlmLayerWeights& w : weights.layers) {
    for (const MatrixView* matrix :
         {&w.query, &w.key, &w.value, &w.output, &w.gate, &w.up, &w.down}) {
      bytes += MatrixProducts::PreparedBytes(kernels, *matrix);
    }
  }
  return bytes;
}

}  // namespace

int64_t DecoderForward::Bytes(const LanguageModel& model, const CpuKernels& kernels, int threads,
                              int32_t step_tokens_max) {
  const LlmShape& shape = model.shape();
  const int64_t bytes =
      MatrixProducts::WorkspaceBytes(kernels, threads, ProductBounds(shape, step_tokens_max)) +
      PreparedBytes(model.weights(), kernels);
  const int64_t rows = step_tokens_max;
  const int64_t logit_rows = kLogitRows;
  const int64_t ropes = shape.window_rope.has_value() ? 2 : 1;
  const int64_t of_pass = rows * (shape.dim + ropes * shape.rope_dims);
  const int64_t floats =
      std::tuple_size_v<decltype(passes_)> * of_pass +
      rows * (2 * int64_t{shape.heads} * shape.head_dim +
              2 * int64_t{shape.kv_heads} * shape.head_dim + 2 * int64_t{shape.ffn_dim}) +
      std::max(rows, logit_rows) * shape.dim + std::min(rows, logit_rows) * shape.vocabulary +
      threads * ScratchPerThread(shape, TellsPromptsApart(model, kernels));
  return bytes + floats * int64_t{sizeof(float)};
}

DecoderForward::DecoderForward(std::shared_ptr<const LanguageModel> model,
                               const CpuKernels& kernels, ThreadTeam& team, int32_t step_tokens_max,
                               ThreadTeam* packers)
    : model_(std::move(model)),
      shape_(model_->shape()),
      weights_(model_->weights()),
      kernels_(kernels),
      team_(team),
      step_tokens_max_(step_tokens_max),
      query_dim_(int64_t{shape_.heads} * shape_.head_dim),
      kv_dim_(int64_t{shape_.kv_heads} * shape_.head_dim),
      pairs_(shape_.rope_dims / 2),
      prompts_in_tiles_(TellsPromptsApart(*model_, kernels)),
      products_(kernels, team, ProductBounds(shape_, step_tokens_max)) {
  const auto rows = static_cast<size_t>(step_tokens_max);
  for (Pass& pass : passes_) {
    pass.rows.reserve(rows);
    pass.attention_tasks.reserve(rows);
    pass.item_rows.reserve(rows);
    pass.x.resize(rows * shape_.dim);
  }
  normed_.resize(std::max<size_t>(rows, kLogitRows) * shape_.dim);
  q_.resize(rows * query_dim_);
  k_.resize(rows * kv_dim_);
  v_.resize(rows * kv_dim_);
  attended_.resize(rows * query_dim_);
  gate_.resize(rows * shape_.ffn_dim);
  up_.resize(rows * shape_.ffn_dim);
  logits_.resize(std::min<size_t>(rows, kLogitRows) * shape_.vocabulary);

  HugeArena prepared(static_cast<size_t>(PreparedBytes(weights_, kernels)));
  const auto prepare = [&](const MatrixView& file) {
    return products_.Prepare(file, packers == nullptr ? team : *packers, prepared);
  };
  for (const LlmLayerWeights& w : weights_.layers) {
    layers_.push_back({.query = prepare(w.query),
                       .key = prepare(w.key),
                       .value = prepare(w.value),
                       .output = prepare(w.output),
                       .gate = prepare(w.gate),
                       .up = prepare(w.up),
                       .down = prepare(w.down)});
  }
  output_ = prepare(weights_.output);

  scratch_per_thread_ = ScratchPerThread(shape_, prompts_in_tiles_);
  scratch_.resize(static_cast<size_t>(team_.threads() * scratch_per_thread_));

  AddRope(shape_.rope);
  if (shape_.window_rope.has_value()) AddRope(*shape_.window_rope);
}

bool DecoderForward::TellsPromptsApart(const LanguageModel& model, const CpuKernels& kernels) {
  const std::vector<LlmLayerWeights>& layers = model.weights().layers;
  return std::any_of(layers.begin(), layers.end(), [&](const LlmLayerWeights& w) {
    const auto apart = [&](const MatrixView& matrix) {
      return MatrixProducts::TellsPromptsApart(kernels, matrix);
    };
    return apart(w.query) || apart(w.key) || apart(w.value) || apart(w.output) || apart(w.gate) ||
           apart(w.up) || apart(w.down);
  });
}

void DecoderForward::AddRope(const RopeParameters& parameters) {
  ropes_.push_back({.frequency = RopeFrequencies(parameters, shape_.rope_dims),
                    .magnitude = parameters.magnitude});
  const auto angles = static_cast<size_t>(step_tokens_max_ * pairs_);
  for (Pass& pass : passes_) {
    pass.angles.push_back({.cos = std::vector<float>(angles), .sin = std::vector<float>(angles)});
  }
}

absl::Status DecoderForward::Run(const KvLayout& layout, std::span<const ForwardItem> items,
                                 OnLogits on_logits, OnLayers on_layers, OnPause on_pause) {
  if (items.empty()) return absl::OkStatus();
  RETURN_IF_ERROR(Check(layout, items));
  BATON_CHECK(passes_under_way_ < passes_.size());
  Pass* const paused = std::exchange(pass_, &passes_[passes_under_way_++]);
  Plan(items);
  for (int32_t layer = 0; layer < shape_.layers; ++layer) {
    if (layer > 0) on_pause();
    RunAttention(layout, layer);
    on_pause();
    RunFeedForward(layer);
    on_layers(layer + 1);
  }
  EmitLogits(items, on_logits);
  --passes_under_way_;
  pass_ = paused;
  return absl::OkStatus();
}

absl::Status DecoderForward::Check(const KvLayout& layout,
                                   std::span<const ForwardItem> items) const {
  if (layout.layers != shape_.layers || layout.kv_heads != shape_.kv_heads ||
      layout.head_dim != shape_.head_dim || layout.block_tokens < 1 || layout.block_tokens > 64) {
    return absl::InvalidArgumentError(StrCat(
        "KV layout [", layout.layers, " layers, ", layout.kv_heads, " heads, ", layout.head_dim,
        "] x ", layout.block_tokens, " tokens is not model ", model_->name(), "'s [", shape_.layers,
        " layers, ", shape_.kv_heads, " heads, ", shape_.head_dim, "] x 1 to 64 tokens"));
  }
  int64_t tokens = 0;
  for (const ForwardItem& item : items) {
    const int64_t count = std::ssize(item.tokens);
    const int64_t end = item.position + count;
    tokens += count;
    BATON_CHECK(item.logits >= 0 && item.logits <= count);
    BATON_CHECK(item.generated >= 0 && item.generated <= count);
    if (count < 1 || item.position < 0 || end > shape_.context_tokens) {
      return absl::InvalidArgumentError(StrCat("positions [", item.position, ", ", end,
                                               ") are not within the ", shape_.context_tokens,
                                               " tokens of model ", model_->name()));
    }
    if (std::ssize(item.blocks) * layout.block_tokens < end) {
      return absl::InvalidArgumentError(StrCat(item.blocks.size(), " KV blocks of ",
                                               layout.block_tokens, " tokens do not hold ", end,
                                               " positions"));
    }
    for (const TokenId token : item.tokens) {
      if (token < 0 || token >= shape_.vocabulary) {
        return absl::InvalidArgumentError(StrCat("token ", token, " is not in [0, ",
                                                 shape_.vocabulary, ") of model ", model_->name()));
      }
    }
  }
  if (tokens > step_tokens_max_) {
    return absl::InvalidArgumentError(
        StrCat("a step of ", tokens, " tokens, step_tokens_max is ", step_tokens_max_));
  }
  return absl::OkStatus();
}

// Lines up the step's tokens as rows: embedding, position, rotation.
void DecoderForward::Plan(std::span<const ForwardItem> items) {
  pass_->rows.clear();
  pass_->attention_tasks.clear();
  pass_->item_rows.clear();
  for (const ForwardItem& item : items) {
    pass_->item_rows.push_back({.prompt = std::ssize(pass_->rows)});
    AddRows(item, 0, std::ssize(item.tokens) - item.generated, prompts_in_tiles_);
  }
  pass_->counts.prompt = std::ssize(pass_->rows);
  for (size_t i = 0; i < items.size(); ++i) {
    pass_->item_rows[i].generated = std::ssize(pass_->rows);
    const int64_t count = std::ssize(items[i].tokens);
    AddRows(items[i], count - items[i].generated, count, /*in_tiles=*/false);
  }
  pass_->counts.generated = std::ssize(pass_->rows) - pass_->counts.prompt;
}

void DecoderForward::AddRows(const ForwardItem& item, int64_t begin, int64_t end, bool in_tiles) {
  const int64_t task_rows = RowsPerTask(shape_, in_tiles);
  const MatrixView& embedding = weights_.token_embedding;
  const int64_t embedding_bytes = RowBytes(embedding.type, embedding.cols);
  for (int64_t i = begin; i < end; ++i) {
    const auto row = static_cast<int64_t>(pass_->rows.size());
    if ((i - begin) % task_rows == 0) {
      pass_->attention_tasks.push_back({.first_row = row, .rows = 0, .in_tiles = in_tiles});
    }
    ++pass_->attention_tasks.back().rows;
    pass_->rows.push_back({.item = &item, .position = item.position + static_cast<int32_t>(i)});
    float* const x = pass_->x.data() + row * shape_.dim;
    const TokenId token = item.tokens[static_cast<size_t>(i)];
    DequantizeRow(embedding.type, embedding.data + token * embedding_bytes, embedding.cols, x);
    for (int32_t d = 0; d < shape_.dim; ++d) x[d] *= shape_.embedding_scale;
    for (size_t r = 0; r < ropes_.size(); ++r) {
      const Rope& rope = ropes_[r];
      Angles& angles = pass_->angles[r];
      for (int64_t pair = 0; pair < pairs_; ++pair) {
        const double angle = pass_->rows.back().position * rope.frequency[pair];
        angles.cos[row * pairs_ + pair] = static_cast<float>(std::cos(angle) * rope.magnitude);
        angles.sin[row * pairs_ + pair] = static_cast<float>(std::sin(angle) * rope.magnitude);
      }
    }
  }
}

void DecoderForward::RunAttention(const KvLayout& layout, int32_t layer) {
  const LlmLayerWeights& weights = weights_.layers[layer];
  const LayerMatrices& w = layers_[layer];

  const MatrixProducts::Product qkv[] = {
      {w.query, q_.data(), query_dim_}, {w.key, k_.data(), kv_dim_}, {w.value, v_.data(), kv_dim_}};
  products_.Multiply(Normed(weights.attention_norm), pass_->counts, qkv, /*add=*/false);
  PlaceQueriesAndKeys(layout, layer);
  Attend(layout, layer);
  AddBranch(
      w.output,
      [&](const MatrixProducts::Product& product, bool add) {
        products_.Multiply({.x = attended_.data()}, pass_->counts, {&product, 1}, add);
      },
      weights.output_bias, weights.attention_post_norm);
}

void DecoderForward::RunFeedForward(int32_t layer) {
  const LlmLayerWeights& weights = weights_.layers[layer];
  const LayerMatrices& w = layers_[layer];
  const MatrixProducts::Gated gated = {.gate = w.gate,
                                       .up = w.up,
                                       .activation = shape_.activation,
                                       .gate_y = gate_.data(),
                                       .up_y = up_.data()};
  AddBranch(
      w.down,
      [&](const MatrixProducts::Product& product, bool add) {
        products_.MultiplyGated(Normed(weights.ffn_norm), pass_->counts, gated, product, add);
      },
      /*bias=*/nullptr, weights.ffn_post_norm);
}

// Finishes queries, keys and values: biases, norms of each head, rotation by position; appends keys
// and values to the sequences' blocks.
void DecoderForward::PlaceQueriesAndKeys(const KvLayout& layout, int32_t layer) {
  const LlmLayerWeights& weights = weights_.layers[layer];
  const Angles& angles = shape_.windows[layer] > 0 ? pass_->angles.back() : pass_->angles.front();
  const auto finish = [&](int64_t row, int64_t heads, const float* bias, const float* norm,
                          float* x) {
    AddTo(bias, heads * shape_.head_dim, x);
    if (norm != nullptr) {
      kernels_.rms_norm({.x = x,
                         .weight = norm,
                         .y = x,
                         .rows = heads,
                         .dim = shape_.head_dim,
                         .epsilon = shape_.rms_epsilon});
    }
    kernels_.rope({.x = x,
                   .cos = angles.cos.data() + row * pairs_,
                   .sin = angles.sin.data() + row * pairs_,
                   .heads = heads,
                   .head_dim = shape_.head_dim,
                   .pairs = pairs_,
                   .halves = shape_.rope_pairs == RopePairs::kHalves});
  };
  const auto m = static_cast<int64_t>(pass_->rows.size());
  team_.ParallelFor(m, WorkGrain(4 * (query_dim_ + kv_dim_)), [&](int64_t begin, int64_t end, int) {
    for (int64_t row = begin; row < end; ++row) {
      float* const k = k_.data() + row * kv_dim_;
      float* const v = v_.data() + row * kv_dim_;
      finish(row, shape_.heads, weights.query_bias, weights.query_norm,
             q_.data() + row * query_dim_);
      finish(row, shape_.kv_heads, weights.key_bias, weights.key_norm, k);
      AddTo(weights.value_bias, kv_dim_, v);

      const int32_t position = pass_->rows[row].position;
      std::byte* const keys = pass_->rows[row].item->blocks[position / layout.block_tokens] +
                              layer * layout.layer_bytes();
      StoreKvArgs store = {.x = k,
                           .out = keys,
                           .type = layout.type,
                           .area_bytes = layout.area_bytes(),
                           .position = position % layout.block_tokens,
                           .block_tokens = layout.block_tokens,
                           .heads = shape_.kv_heads,
                           .head_dim = shape_.head_dim};
      kernels_.store_kv(store);
      store.x = v;
      store.out = keys + layout.plane_bytes();
      kernels_.store_kv(store);
    }
  });
}

// Each row's heads over its own sequence's blocks.
void DecoderForward::Attend(const KvLayout& layout, int32_t layer) {
  const int64_t group = shape_.heads / shape_.kv_heads;
  const int64_t window = shape_.windows[layer];
  int64_t positions = 0;
  for (const Row& row : pass_->rows) {
    const int64_t all = row.position + 1;
    positions += window > 0 ? std::min(all, window) : all;
  }
  const int64_t count = std::ssize(pass_->attention_tasks);
  const int64_t task_work = 2 * positions / count * group * shape_.head_dim;
  team_.ParallelFor(
      count * shape_.kv_heads, WorkGrain(task_work), [&](int64_t begin, int64_t end, int thread) {
        for (int64_t i = begin; i < end; ++i) {
          const int64_t kv_head = i / count;  // neighbouring tasks share keys and values
          const AttentionTask& task = pass_->attention_tasks[i % count];
          const Row& row = pass_->rows[task.first_row];
          const int64_t first_head =
              task.first_row * query_dim_ + kv_head * group * shape_.head_dim;
          const int64_t keys = layer * layout.layer_bytes() + kv_head * layout.area_bytes();
          const AttentionArgs args = {.q = q_.data() + first_head,
                                      .out = attended_.data() + first_head,
                                      .stride = query_dim_,
                                      .queries = task.rows,
                                      .blocks = row.item->blocks.data(),
                                      .type = layout.type,
                                      .key_offset = keys,
                                      .value_offset = keys + layout.plane_bytes(),
                                      .block_tokens = layout.block_tokens,
                                      .positions = row.position + 1,
                                      .window = window,
                                      .group = group,
                                      .head_dim = shape_.head_dim,
                                      .scale = shape_.attention_scale,
                                      .score_cap = shape_.score_cap,
                                      .scratch = scratch_.data() + thread * scratch_per_thread_};
          (task.in_tiles ? kernels_.tile_attention : kernels_.attention)(args);
        }
      });
}

MatrixProducts::Input DecoderForward::Normed(const float* weight) {
  return {.x = pass_->x.data(),
          .norm = weight,
          .epsilon = shape_.rms_epsilon,
          .normed = normed_.data()};
}

void DecoderForward::AddBranch(const PreparedMatrix& w, OnProduct multiply, const float* bias,
                               const float* post_norm) {
  const auto m = static_cast<int64_t>(pass_->rows.size());
  if (bias == nullptr && post_norm == nullptr) {
    multiply({w, pass_->x.data(), shape_.dim}, /*add=*/true);
    return;
  }
  multiply({w, normed_.data(), shape_.dim}, /*add=*/false);
  team_.ParallelFor(m, WorkGrain(8 * shape_.dim), [&](int64_t begin, int64_t end, int) {
    for (int64_t row = begin; row < end; ++row) {
      float* const branch = normed_.data() + row * shape_.dim;
      AddTo(bias, shape_.dim, branch);
      if (post_norm != nullptr) {
        kernels_.rms_norm({.x = branch,
                           .weight = post_norm,
                           .y = branch,
                           .rows = 1,
                           .dim = shape_.dim,
                           .epsilon = shape_.rms_epsilon});
      }
      AddTo(branch, shape_.dim, pass_->x.data() + row * shape_.dim);
    }
  });
}

void DecoderForward::EmitLogits(std::span<const ForwardItem> items, OnLogits on_logits) {
  // The items of the rows that are gathered in normed_ and whose logits are not yet given.
  std::array<size_t, kLogitRows> gathered;
  size_t count = 0;
  const auto emit = [&] {
    const auto m = static_cast<int64_t>(count);
    team_.ParallelFor(m, WorkGrain(4 * shape_.dim), [&](int64_t begin, int64_t end, int) {
      float* const x = normed_.data() + begin * shape_.dim;
      kernels_.rms_norm({.x = x,
                         .weight = weights_.output_norm,
                         .y = x,
                         .rows = end - begin,
                         .dim = shape_.dim,
                         .epsilon = shape_.rms_epsilon});
    });
    const MatrixProducts::Product output[] = {{output_, logits_.data(), shape_.vocabulary}};
    products_.Multiply({.x = normed_.data()}, {.generated = m}, output, /*add=*/false);
    if (shape_.logit_cap > 0) {
      team_.ParallelFor(m * shape_.vocabulary, WorkGrain(8), [&](int64_t begin, int64_t end, int) {
        kernels_.soft_cap(
            {.x = logits_.data() + begin, .count = end - begin, .cap = shape_.logit_cap});
      });
    }
    const auto vocabulary = static_cast<size_t>(shape_.vocabulary);
    for (size_t i = 0; i < count; ++i) {
      on_logits(gathered[i], {logits_.data() + i * vocabulary, vocabulary});
    }
    count = 0;
  };
  for (size_t i = 0; i < items.size(); ++i) {
    const int64_t tokens = std::ssize(items[i].tokens);
    const int64_t in_prompt = tokens - items[i].generated;
    for (int64_t token = tokens - items[i].logits; token < tokens; ++token) {
      const int64_t row = token < in_prompt ? pass_->item_rows[i].prompt + token
                                            : pass_->item_rows[i].generated + token - in_prompt;
      std::copy_n(pass_->x.data() + row * shape_.dim, shape_.dim,
                  normed_.data() + count * shape_.dim);
      gathered[count] = i;
      if (++count == gathered.size()) emit();
    }
  }
  if (count > 0) emit();
}

}  // namespace baton
