#include "engine/exec/cpu/encoder_forward.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "engine/base/status_macros.h"
#include "engine/base/strings.h"

namespace baton {
namespace {

// Rows beyond which more do not make the weights' reading cheaper, and what a waiting question may
// have to wait for at most.
constexpr int32_t kStepTokens = 512;
// Rows of one head that a thread takes at once: enough that laying out the text's keys for them is
// a small part of their work.
constexpr int64_t kQueryRows = 64;

bool IsCrossEncoder(const EncoderShape& shape) { return shape.pooling == Pooling::kRank; }

int32_t StepTokensMax(const EncoderShape& shape) {
  return std::max(shape.context_tokens, kStepTokens);
}

MatrixProducts::Bounds ProductBounds(const EncoderShape& shape) {
  return {.rows_max = StepTokensMax(shape), .cols_max = std::max(shape.dim, shape.ffn_dim)};
}

int64_t PreparedBytes(const TextEncoder& encoder, const CpuKernels& kernels) {
  const EncoderWeights& weights = encoder.weights();
  int64_t bytes = 0;
  for (const EncoderLayerWeights& w : weights.layers) {
    for (const LinearView* linear : {&w.query, &w.key, &w.value, &w.output, &w.up, &w.down}) {
      bytes += MatrixProducts::PreparedBytes(kernels, linear->w);
    }
  }
  if (IsCrossEncoder(encoder.shape()) && weights.dense.w.data != nullptr) {
    bytes += MatrixProducts::PreparedBytes(kernels, weights.dense.w);
  }
  return bytes;
}

}  // namespace

int64_t EncoderForward::Bytes(const TextEncoder& encoder, const CpuKernels& kernels, int threads) {
  const EncoderShape& shape = encoder.shape();
  const EncoderWeights& weights = encoder.weights();
  const int64_t bytes = MatrixProducts::WorkspaceBytes(kernels, threads, ProductBounds(shape)) +
                        PreparedBytes(encoder, kernels);
  const int64_t tables = IsCrossEncoder(shape) && shape.token_types > 1 ? 2 : 1;
  const int64_t rows = StepTokensMax(shape);
  const int64_t floats = rows * (5 * int64_t{shape.dim} + shape.ffn_dim) +
                         3 * int64_t{shape.layers} * shape.dim +
                         tables * weights.position_embedding.rows * shape.dim +
                         threads * EncoderAttentionScratch(shape.context_tokens, shape.head_dim);
  return bytes + floats * int64_t{sizeof(float)} +
         rows * static_cast<int64_t>(sizeof(Text) + sizeof(Queries));
}

EncoderForward::EncoderForward(std::shared_ptr<const TextEncoder> encoder,
                               const CpuKernels& kernels, ThreadTeam& team, ThreadTeam* packers)
    : encoder_(std::move(encoder)),
      shape_(encoder_->shape()),
      weights_(encoder_->weights()),
      kernels_(kernels),
      team_(team),
      step_tokens_max_(StepTokensMax(shape_)),
      products_(kernels, team, ProductBounds(shape_)) {
  const auto rows = static_cast<size_t>(step_tokens_max_);
  const auto dim = static_cast<size_t>(shape_.dim);
  HugeArena prepared(static_cast<size_t>(PreparedBytes(*encoder_, kernels)));
  const auto prepare = [&](const LinearView& linear) {
    return products_.Prepare(linear.w, packers == nullptr ? team : *packers, prepared);
  };
  for (const EncoderLayerWeights& w : weights_.layers) {
    LayerMatrices& layer = layers_.emplace_back(LayerMatrices{.query = prepare(w.query),
                                                              .key = prepare(w.key),
                                                              .value = prepare(w.value),
                                                              .output = prepare(w.output),
                                                              .up = prepare(w.up),
                                                              .down = prepare(w.down),
                                                              .qkv_bias = {}});
    for (const float* bias : {w.query.bias, w.key.bias, w.value.bias}) {
      layer.qkv_bias.insert(layer.qkv_bias.end(), bias, bias + dim);
    }
  }

  const MatrixView& table = weights_.position_embedding;
  positions_.resize(static_cast<size_t>(table.rows) * dim);
  DequantizeRow(table.type, table.data, table.rows * table.cols, positions_.data());
  if (IsCrossEncoder(shape_)) {
    if (shape_.token_types > 1) second_positions_ = positions_;
    score_.resize(dim);
    DequantizeRow(weights_.score.w.type, weights_.score.w.data, shape_.dim, score_.data());
    if (weights_.dense.w.data != nullptr) dense_ = prepare(weights_.dense);
  }
  const auto add_type = [&](int64_t type, std::vector<float>& positions) {
    const MatrixView& types = weights_.type_embedding;
    if (types.data == nullptr || positions.empty()) return;
    std::vector<float> values(dim);
    DequantizeRow(types.type, types.data + type * RowBytes(types.type, types.cols), types.cols,
                  values.data());
    for (size_t i = 0; i < positions.size(); ++i) positions[i] += values[i % dim];
  };
  add_type(0, positions_);
  add_type(1, second_positions_);

  texts_.reserve(rows);
  queries_.reserve(rows);
  x_.resize(rows * dim);
  qkv_.resize(rows * 3 * dim);
  attended_.resize(rows * dim);
  up_.resize(rows * static_cast<size_t>(shape_.ffn_dim));
  scratch_.resize(static_cast<size_t>(
      team_.threads() * EncoderAttentionScratch(shape_.context_tokens, shape_.head_dim)));
}

absl::Status EncoderForward::Run(std::span<const EncoderText> texts,
                                 std::vector<std::vector<float>>* embeddings) {
  RETURN_IF_ERROR(Check(texts));
  Plan(texts);
  AddBiasAndNorm(nullptr, weights_.embedding_norm);
  for (size_t layer = 0; layer < layers_.size(); ++layer) RunLayer(layer);
  const size_t before = embeddings->size();
  if (IsCrossEncoder(shape_)) {
    const std::vector<float> scores = Score();
    if (!std::all_of(scores.begin(), scores.end(), [](float s) { return std::isfinite(s); })) {
      return absl::InternalError(
          StrCat("model ", encoder_->name(), " gave a score that is not finite"));
    }
    for (const float score : scores) embeddings->push_back({score});
    return absl::OkStatus();
  }
  for (const Text& text : texts_) {
    if (!Pool(text, embeddings->emplace_back(static_cast<size_t>(shape_.dim)))) {
      embeddings->resize(before);
      return absl::InternalError(
          StrCat("model ", encoder_->name(), " gave an embedding that is not finite"));
    }
  }
  return absl::OkStatus();
}

absl::Status EncoderForward::Check(std::span<const EncoderText> texts) const {
  int64_t tokens = 0;
  for (const EncoderText& text : texts) {
    const int64_t count = std::ssize(text.tokens);
    tokens += count;
    if (count < 1 || count > shape_.context_tokens) {
      return absl::InvalidArgumentError(StrCat("a text of ", count, " tokens, model ",
                                               encoder_->name(), " takes 1 to ",
                                               shape_.context_tokens));
    }
    for (const TokenId token : text.tokens) {
      if (token < 0 || token >= shape_.vocabulary) {
        return absl::InvalidArgumentError(StrCat("token ", token, " is not in [0, ",
                                                 shape_.vocabulary, ") of model ",
                                                 encoder_->name()));
      }
    }
  }
  if (tokens > step_tokens_max_) {
    return absl::InvalidArgumentError(
        StrCat("a step of ", tokens, " tokens, at most ", step_tokens_max_, " fit"));
  }
  return absl::OkStatus();
}

// Lines up the texts' tokens as rows: the sum of their embeddings.
void EncoderForward::Plan(std::span<const EncoderText> texts) {
  texts_.clear();
  queries_.clear();
  rows_ = 0;
  const MatrixView& table = weights_.token_embedding;
  const int64_t row_bytes = RowBytes(table.type, table.cols);
  const int64_t dim = shape_.dim;
  for (const EncoderText& from : texts) {
    const Text text = {.first_row = rows_, .rows = std::ssize(from.tokens)};
    for (int64_t i = 0; i < text.rows; ++i) {
      float* const x = x_.data() + (text.first_row + i) * dim;
      DequantizeRow(table.type, table.data + from.tokens[static_cast<size_t>(i)] * row_bytes, dim,
                    x);
      const bool is_second = from.second > 0 && i >= from.second && !second_positions_.empty();
      const std::vector<float>& positions = is_second ? second_positions_ : positions_;
      kernels_.add_bias({.x = x, .bias = positions.data() + i * dim, .rows = 1, .dim = dim});
    }
    for (int64_t i = 0; i < text.rows; i += kQueryRows) {
      queries_.push_back({.text = text,
                          .first_row = text.first_row + i,
                          .rows = std::min(kQueryRows, text.rows - i)});
    }
    texts_.push_back(text);
    rows_ += text.rows;
  }
}

void EncoderForward::RunLayer(size_t layer) {
  const EncoderLayerWeights& weights = weights_.layers[layer];
  const LayerMatrices& w = layers_[layer];
  const int64_t dim = shape_.dim;
  using Product = MatrixProducts::Product;

  const Product qkv[] = {{w.query, qkv_.data(), 3 * dim},
                         {w.key, qkv_.data() + dim, 3 * dim},
                         {w.value, qkv_.data() + 2 * dim, 3 * dim}};
  products_.Multiply({.x = x_.data()}, {.prompt = rows_}, qkv, /*add=*/false);
  team_.ParallelFor(rows_, WorkGrain(3 * dim), [&](int64_t begin, int64_t end, int) {
    kernels_.add_bias({.x = qkv_.data() + begin * 3 * dim,
                       .bias = w.qkv_bias.data(),
                       .rows = end - begin,
                       .dim = 3 * dim});
  });
  Attend();
  const Product output[] = {{w.output, x_.data(), dim}};
  products_.Multiply({.x = attended_.data()}, {.prompt = rows_}, output, /*add=*/true);
  AddBiasAndNorm(weights.output.bias, weights.attention_norm);

  const Product up[] = {{w.up, up_.data(), shape_.ffn_dim}};
  products_.Multiply({.x = x_.data()}, {.prompt = rows_}, up, /*add=*/false);
  team_.ParallelFor(rows_, WorkGrain(24 * shape_.ffn_dim), [&](int64_t begin, int64_t end, int) {
    kernels_.gelu({.x = up_.data() + begin * shape_.ffn_dim,
                   .bias = weights.up.bias,
                   .rows = end - begin,
                   .dim = shape_.ffn_dim});
  });
  const Product down[] = {{w.down, x_.data(), dim}};
  products_.Multiply({.x = up_.data()}, {.prompt = rows_}, down, /*add=*/true);
  AddBiasAndNorm(weights.down.bias, weights.ffn_norm);
}

// Each row's heads over all rows of its own text, one task per head and some rows.
void EncoderForward::Attend() {
  const int64_t dim = shape_.dim;
  const int64_t head_dim = shape_.head_dim;
  const int64_t scratch_size = EncoderAttentionScratch(shape_.context_tokens, head_dim);
  const float scale = 1.0f / std::sqrt(static_cast<float>(head_dim));
  const auto tasks = std::ssize(queries_) * shape_.heads;
  int64_t work = 0;
  for (const Queries& queries : queries_) work += 2 * queries.rows * queries.text.rows * head_dim;
  const int64_t task_work = queries_.empty() ? 0 : work / std::ssize(queries_);
  team_.ParallelFor(tasks, WorkGrain(task_work), [&](int64_t begin, int64_t end, int thread) {
    for (int64_t task = begin; task < end; ++task) {
      const Queries& queries = queries_[static_cast<size_t>(task / shape_.heads)];
      const int64_t head = task % shape_.heads * head_dim;
      const float* const text = qkv_.data() + queries.text.first_row * 3 * dim + head;
      kernels_.encoder_attention({.q = qkv_.data() + queries.first_row * 3 * dim + head,
                                  .k = text + dim,
                                  .v = text + 2 * dim,
                                  .out = attended_.data() + queries.first_row * dim + head,
                                  .row_stride = 3 * dim,
                                  .out_stride = dim,
                                  .queries = queries.rows,
                                  .positions = queries.text.rows,
                                  .key_stride = EncoderAttentionStride(queries.text.rows),
                                  .head_dim = head_dim,
                                  .scale = scale,
                                  .scratch = scratch_.data() + thread * scratch_size});
    }
  });
}

void EncoderForward::AddBiasAndNorm(const float* bias, const LayerNormView& norm) {
  const int64_t dim = shape_.dim;
  team_.ParallelFor(rows_, WorkGrain(8 * dim), [&](int64_t begin, int64_t end, int) {
    float* const x = x_.data() + begin * dim;
    if (bias != nullptr) {
      kernels_.add_bias({.x = x, .bias = bias, .rows = end - begin, .dim = dim});
    }
    kernels_.layer_norm({.x = x,
                         .weight = norm.weight,
                         .bias = norm.bias,
                         .y = x,
                         .rows = end - begin,
                         .dim = dim,
                         .epsilon = shape_.norm_epsilon});
  });
}

std::vector<float> EncoderForward::Score() {
  const int64_t dim = shape_.dim;
  const int64_t count = std::ssize(texts_);
  float* const cls = attended_.data();  // [texts, dim]
  for (int64_t i = 0; i < count; ++i) {
    const float* const row = x_.data() + texts_[static_cast<size_t>(i)].first_row * dim;
    std::copy(row, row + dim, cls + i * dim);
  }
  const float* pooled = cls;
  if (weights_.dense.w.data != nullptr) {
    const MatrixProducts::Product dense[] = {{dense_, qkv_.data(), dim}};
    products_.Multiply({.x = cls}, {.prompt = count}, dense, /*add=*/false);
    for (int64_t i = 0; i < count * dim; ++i) {
      const float bias = weights_.dense.bias == nullptr ? 0 : weights_.dense.bias[i % dim];
      qkv_[static_cast<size_t>(i)] = std::tanh(qkv_[static_cast<size_t>(i)] + bias);
    }
    pooled = qkv_.data();
  }
  std::vector<float> scores;
  for (int64_t i = 0; i < count; ++i) {
    double score = weights_.score.bias == nullptr ? 0 : double{*weights_.score.bias};
    for (int64_t d = 0; d < dim; ++d) {
      score += double{pooled[i * dim + d]} * score_[static_cast<size_t>(d)];
    }
    scores.push_back(static_cast<float>(score));
  }
  return scores;
}

bool EncoderForward::Pool(const Text& text, std::vector<float>& embedding) const {
  const size_t dim = embedding.size();
  const float* const rows = x_.data() + static_cast<size_t>(text.first_row) * dim;
  const int64_t count = shape_.pooling == Pooling::kCls ? 1 : text.rows;
  std::vector<double> sums(dim);
  for (int64_t row = 0; row < count; ++row) {
    for (size_t i = 0; i < dim; ++i) sums[i] += rows[static_cast<size_t>(row) * dim + i];
  }
  double squares = 0;
  for (const double sum : sums) squares += sum * sum;
  if (!std::isfinite(squares)) return false;
  // Of the direction alone: the mean's division would not change it.
  if (squares == 0) {
    embedding[0] = 1;
    return true;
  }
  const double length = std::sqrt(squares);
  for (size_t i = 0; i < dim; ++i) embedding[i] = static_cast<float>(sums[i] / length);
  return true;
}

}  // namespace baton
