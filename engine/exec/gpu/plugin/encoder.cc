#include "engine/exec/gpu/plugin/encoder.h"

#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "cuda_kernels/add_bias.h"
#include "cuda_kernels/embedding.h"
#include "cuda_kernels/launch.h"
#include "cuda_kernels/layer_norm.h"
#include "cuda_kernels/pool_rows.h"
#include "cuda_kernels/prefill_attention.h"
#include "cuda_kernels/prefill_attention_f32.h"
#include "cuda_kernels/rms_norm.h"
#include "engine/exec/gpu/plugin/arena.h"
#include "engine/exec/gpu/plugin/encoder_plan.h"
#include "engine/exec/gpu/plugin/gemm.h"
#include "engine/exec/gpu/plugin/products.h"
#include "engine/exec/gpu/plugin/weights.h"

namespace baton::gpu {
namespace {

constexpr int32_t kHeadDimMax = 256;  // of attention

// What of the model there is no kernel for.
Fault CheckCanRun(const baton_encoder_model& model) {
  const auto refuse = [&](const auto&... why) -> Fault {
    return {BATON_UNIMPLEMENTED, Text("the GPU cannot run model ", model.name, ": ", why...)};
  };
  if (model.heads < 1 || model.dim % model.heads != 0) {
    return refuse(model.heads, " heads do not divide ", model.dim, " dimensions");
  }
  const int32_t head_dim = model.dim / model.heads;
  if (head_dim % 8 != 0 || head_dim > kHeadDimMax) {
    return refuse("heads of ", head_dim, " dimensions, must be a multiple of 8 up to ",
                  kHeadDimMax);
  }
  if (model.dim > cuda::kNormDimMax) {
    return refuse("a residual stream of ", model.dim, " dimensions, the limit is ",
                  cuda::kNormDimMax);
  }
  return {};
}

template <typename T>
class EncoderOf final : public Encoder {
 public:
  explicit EncoderOf(Device& device) : device_(device), products_(device) {}

  Fault Load(const baton_encoder_model& model);
  int32_t tokens_max() const override { return limits_.tokens_max; }
  Fault Run(const baton_encoder_batch& batch) override;

 private:
  struct LayerNorm {
    const float* weight = nullptr;
    const float* bias = nullptr;
  };
  struct Layer {
    DeviceMatrix qkv;
    DeviceMatrix output;
    DeviceMatrix up;
    DeviceMatrix down;
    const float* qkv_bias = nullptr;
    const float* output_bias = nullptr;
    const float* up_bias = nullptr;
    const float* down_bias = nullptr;
    LayerNorm attention_norm;
    LayerNorm ffn_norm;
  };

  Fault Place(const baton_encoder_model& model, Arena& arena);
  Fault PlaceLayer(const baton_encoder_layer& from, WeightLoader<T>& loader, Layer* layer);
  Fault PlaceNorm(const baton_layer_norm& from, WeightLoader<T>& loader, LayerNorm* norm);
  Fault PlaceOffsets(const baton_encoder_model& model, WeightLoader<T>& loader);
  bool scores() const { return pooling_ == BATON_POOLING_RANK; }

  Fault Launch();
  Fault RunLayer(const Layer& layer);
  Fault Attend();
  // x = norm(x + branch + bias), and normed = the same.
  Fault Norm(const T* branch, const float* bias, const LayerNorm& norm);
  Fault AddBias(T* x, const float* bias, int64_t dim, cuda::BiasThen then);
  // What of the last layer the host wants, into pooled_: [texts, dim].
  Fault Pool();
  Fault FinishEmbeddings(float* embeddings) const;
  Fault FinishScores(float* scores) const;

  Device& device_;
  Stream stream_;
  std::unique_ptr<Gemm> gemm_;  // encoders run beside decoders, and beside one another
  std::string name_;
  EncoderLimits limits_ = {};
  int64_t dim_ = 0;
  int64_t ffn_dim_ = 0;
  int32_t heads_ = 0;
  int32_t pooling_ = 0;
  int32_t second_offset_ = 0;
  float epsilon_ = 0;
  // Of a head that scores.
  std::vector<float> score_;       // [dim]
  std::vector<float> dense_bias_;  // [dim]
  float score_bias_ = 0;
  bool has_dense_ = false;

  DeviceMemory memory_;  // weights, then workspace
  const T* embedding_ = nullptr;
  const float* offsets_ = nullptr;  // [context, dim] of positions and the first type, then, where
                                    // there is a second one, of that
  LayerNorm embedding_norm_;
  DeviceMatrix dense_;
  std::vector<Layer> layers_;

  // [rows of a step, ...], row-major.
  float* x_ = nullptr;       // [dim], the residual stream
  T* normed_ = nullptr;      // [dim], the same as T
  T* qkv_ = nullptr;         // [3 * dim]
  T* attended_ = nullptr;    // [dim]
  T* branch_ = nullptr;      // [dim]
  T* up_ = nullptr;          // [ffn_dim]
  float* pooled_ = nullptr;  // [dim], of texts
  PinnedMemory host_pooled_;
  Products<T> products_;
  EncoderPlan plan_;
};

// ---- Loading

template <typename T>
Fault EncoderOf<T>::Load(const baton_encoder_model& model) {
  BATON_GPU_TRY(CheckCanRun(model));
  BATON_GPU_TRY(stream_.Create(device_));
  BATON_GPU_TRY(OpenGemm(device_, &gemm_));
  products_.UseGemm(*gemm_);
  name_ = model.name;
  limits_ = {.model = name_.c_str(),
             .vocabulary = model.vocabulary,
             .context_tokens = model.context_tokens,
             .tokens_max = std::max(device_.step_tokens_max(), model.context_tokens)};
  dim_ = model.dim;
  ffn_dim_ = model.ffn_dim;
  heads_ = model.heads;
  pooling_ = model.pooling;
  epsilon_ = model.norm_epsilon;
  second_offset_ =
      scores() && model.type_embedding.rows > 1 ? static_cast<int32_t>(model.context_tokens) : 0;
  has_dense_ = scores() && model.dense.w.data != nullptr;
  if (scores()) {
    const auto dim = static_cast<size_t>(dim_);
    score_.resize(dim);
    device_.host().dequantise_row(model.score.w.type, model.score.w.data, dim_, score_.data());
    if (model.score.bias != nullptr) score_bias_ = *model.score.bias;
    dense_bias_.resize(dim);
    if (model.dense.bias != nullptr) std::copy_n(model.dense.bias, dim, dense_bias_.data());
  }

  Arena counts;
  BATON_GPU_TRY(Place(model, counts));
  BATON_GPU_TRY(device_.Allocate(Text("model ", name_).c_str(), counts.bytes(), &memory_));
  Arena arena(memory_.data());
  BATON_GPU_TRY(Place(model, arena));
  BATON_GPU_TRY(device_.AllocatePinned(
      "embeddings", int64_t{limits_.tokens_max} * dim_ * int64_t{sizeof(float)}, &host_pooled_));
  return plan_.Start(device_, limits_);
}

// Twice: to count, and to take.
template <typename T>
Fault EncoderOf<T>::Place(const baton_encoder_model& model, Arena& arena) {
  WeightLoader<T> loader(device_, arena);
  if (!arena.counting()) BATON_GPU_TRY(loader.Start());
  BATON_GPU_TRY(loader.LoadDense(model.token_embedding, &embedding_));
  BATON_GPU_TRY(PlaceOffsets(model, loader));
  BATON_GPU_TRY(PlaceNorm(model.embedding_norm, loader, &embedding_norm_));
  if (has_dense_) BATON_GPU_TRY(loader.Load({&model.dense.w}, &dense_));
  layers_.assign(static_cast<size_t>(model.layer_count), Layer());
  for (int32_t i = 0; i < model.layer_count; ++i) {
    BATON_GPU_TRY(
        PlaceLayer(*baton_encoder_layer_at(&model, i), loader, &layers_[static_cast<size_t>(i)]));
  }
  if (!arena.counting()) BATON_GPU_TRY(loader.Finish());

  const int64_t rows = limits_.tokens_max;
  x_ = arena.Take<float>(rows * dim_);
  normed_ = arena.Take<T>(rows * dim_);
  qkv_ = arena.Take<T>(rows * 3 * dim_);
  attended_ = arena.Take<T>(rows * dim_);
  branch_ = arena.Take<T>(rows * dim_);
  up_ = arena.Take<T>(rows * ffn_dim_);
  pooled_ = arena.Take<float>(rows * dim_);
  int64_t quantised_max = QuantisedWeights(dense_);
  for (const Layer& layer : layers_) {
    for (const DeviceMatrix* w : {&layer.qkv, &layer.output, &layer.up, &layer.down}) {
      quantised_max = std::max(quantised_max, QuantisedWeights(*w));
    }
  }
  products_.Place(arena, {.cols_max = std::max(dim_, ffn_dim_), .quantised_max = quantised_max});
  return {};
}

// Of position and type, which are added to every token's embedding.
template <typename T>
Fault EncoderOf<T>::PlaceOffsets(const baton_encoder_model& model, WeightLoader<T>& loader) {
  const int64_t table = int64_t{model.context_tokens} * dim_;
  const int64_t tables = second_offset_ > 0 ? 2 : 1;
  std::vector<float> offsets(static_cast<size_t>(tables * table));
  std::vector<float> type(static_cast<size_t>(dim_));
  const auto* const host = &device_.host();
  for (int64_t t = 0; t < tables && !loader.counting(); ++t) {
    if (model.type_embedding.data != nullptr) {
      const auto* const rows = static_cast<const std::byte*>(model.type_embedding.data);
      host->dequantise_row(model.type_embedding.type, rows + t * model.type_embedding.row_bytes,
                           dim_, type.data());
    }
    for (int64_t position = 0; position < model.context_tokens; ++position) {
      const auto* const rows = static_cast<const std::byte*>(model.position_embedding.data);
      float* const to = offsets.data() + t * table + position * dim_;
      host->dequantise_row(model.position_embedding.type,
                           rows + position * model.position_embedding.row_bytes, dim_, to);
      for (int64_t i = 0; i < dim_; ++i) to[i] += type[static_cast<size_t>(i)];
    }
  }
  return loader.LoadVector(offsets.data(), tables * table, &offsets_);
}

template <typename T>
Fault EncoderOf<T>::PlaceNorm(const baton_layer_norm& from, WeightLoader<T>& loader,
                              LayerNorm* norm) {
  BATON_GPU_TRY(loader.LoadVector(from.weight, dim_, &norm->weight));
  return loader.LoadVector(from.bias, dim_, &norm->bias);
}

template <typename T>
Fault EncoderOf<T>::PlaceLayer(const baton_encoder_layer& from, WeightLoader<T>& loader,
                               Layer* layer) {
  std::vector<float> bias;  // one behind the other
  for (const baton_linear* linear : {&from.query, &from.key, &from.value}) {
    bias.insert(bias.end(), linear->bias, linear->bias + dim_);
  }
  BATON_GPU_TRY(loader.LoadVector(bias.data(), 3 * dim_, &layer->qkv_bias));
  BATON_GPU_TRY(loader.LoadVector(from.output.bias, dim_, &layer->output_bias));
  BATON_GPU_TRY(loader.LoadVector(from.up.bias, ffn_dim_, &layer->up_bias));
  BATON_GPU_TRY(loader.LoadVector(from.down.bias, dim_, &layer->down_bias));
  BATON_GPU_TRY(PlaceNorm(from.attention_norm, loader, &layer->attention_norm));
  BATON_GPU_TRY(PlaceNorm(from.ffn_norm, loader, &layer->ffn_norm));
  BATON_GPU_TRY(loader.Load({&from.query.w, &from.key.w, &from.value.w}, &layer->qkv));
  BATON_GPU_TRY(loader.Load({&from.output.w}, &layer->output));
  BATON_GPU_TRY(loader.Load({&from.up.w}, &layer->up));
  return loader.Load({&from.down.w}, &layer->down);
}

// ---- A step

template <typename T>
Fault EncoderOf<T>::Run(const baton_encoder_batch& batch) {
  if (batch.text_count == 0) return {};
  BATON_GPU_TRY(plan_.Make(batch, second_offset_));
  products_.Begin(stream_.get(), (batch.flags & BATON_BATCH_DETERMINISTIC) != 0);
  const Fault fault = Launch();
  if (fault.code() == BATON_UNAVAILABLE) return fault;
  BATON_GPU_TRY(stream_.Wait());  // also what was launched before something failed
  if (fault.failed()) return fault;
  return scores() ? FinishScores(batch.embeddings) : FinishEmbeddings(batch.embeddings);
}

template <typename T>
Fault EncoderOf<T>::Launch() {
  BATON_GPU_TRY(plan_.Upload(device_, stream_));
  BATON_GPU_TRY(device_.Check(cuda::Embedding<T>({.tokens = plan_.tokens(),
                                                  .table = embedding_,
                                                  .offsets = offsets_,
                                                  .offset = plan_.offsets(),
                                                  .y = x_,
                                                  .rows = plan_.rows(),
                                                  .dim = dim_,
                                                  .vocabulary = limits_.vocabulary,
                                                  .scale = 1},
                                                 stream_.get()),
                              "Embedding"));
  BATON_GPU_TRY(Norm(nullptr, nullptr, embedding_norm_));
  for (const Layer& layer : layers_) BATON_GPU_TRY(RunLayer(layer));
  return Pool();
}

template <typename T>
Fault EncoderOf<T>::RunLayer(const Layer& layer) {
  const int64_t rows = plan_.rows();
  BATON_GPU_TRY(products_.Multiply({normed_, rows, dim_}, layer.qkv, qkv_, 3 * dim_));
  BATON_GPU_TRY(AddBias(qkv_, layer.qkv_bias, 3 * dim_, cuda::BiasThen::kNothing));
  BATON_GPU_TRY(Attend());
  BATON_GPU_TRY(products_.Multiply({attended_, rows, dim_}, layer.output, branch_, dim_));
  BATON_GPU_TRY(Norm(branch_, layer.output_bias, layer.attention_norm));
  BATON_GPU_TRY(products_.Multiply({normed_, rows, dim_}, layer.up, up_, ffn_dim_));
  BATON_GPU_TRY(AddBias(up_, layer.up_bias, ffn_dim_, cuda::BiasThen::kGelu));
  BATON_GPU_TRY(products_.Multiply({up_, rows, ffn_dim_}, layer.down, branch_, dim_));
  return Norm(branch_, layer.down_bias, layer.ffn_norm);
}

// Each text's rows to all of its own. Their keys and values lie in the product as it is: a row is a
// block of one position.
template <typename T>
Fault EncoderOf<T>::Attend() {
  constexpr bool kExact = std::is_same_v<T, float>;
  using Args =
      std::conditional_t<kExact, cuda::PrefillAttentionF32Args, cuda::PrefillAttentionArgs>;
  constexpr auto kSize = static_cast<int64_t>(sizeof(T));
  const auto head_dim = static_cast<int32_t>(dim_ / heads_);
  const cuda::PagedKv kv = {.pool = reinterpret_cast<unsigned char*>(qkv_),
                            .block_table = plan_.numbers(),
                            .table_stride = 1,
                            .block_bytes = 3 * dim_ * kSize,
                            .layer_offset = dim_ * kSize,
                            .kv_heads = heads_,
                            .head_dim = head_dim,
                            .block_tokens = 1,
                            .element = kExact ? cuda::KvElement::kF32 : cuda::KvElement::kBF16};
  const int64_t step = cuda::kGridYMax;
  for (int64_t first = 0; first < plan_.tile_count(); first += step) {
    const Args args = {.q = qkv_,
                       .out = attended_,
                       .tiles = plan_.tiles() + first,
                       .lengths = plan_.lengths(),
                       .kv = kv,
                       .tile_count = std::min(step, plan_.tile_count() - first),
                       .q_stride = 3 * dim_,
                       .heads = heads_,
                       .window = 0,
                       .scale = 1 / std::sqrt(static_cast<float>(head_dim)),
                       .score_cap = 0};
    if constexpr (kExact) {
      BATON_GPU_TRY(
          device_.Check(cuda::PrefillAttentionF32(args, stream_.get()), "PrefillAttentionF32"));
    } else {
      BATON_GPU_TRY(device_.Check(cuda::PrefillAttention(args, stream_.get()), "PrefillAttention"));
    }
  }
  return {};
}

template <typename T>
Fault EncoderOf<T>::Norm(const T* branch, const float* bias, const LayerNorm& norm) {
  return device_.Check(cuda::LayerNorm<T>({.x = x_,
                                           .branch = branch,
                                           .branch_bias = bias,
                                           .weight = norm.weight,
                                           .bias = norm.bias,
                                           .y = normed_,
                                           .rows = plan_.rows(),
                                           .dim = dim_,
                                           .epsilon = epsilon_,
                                           .post_norm = true},
                                          stream_.get()),
                       "LayerNorm");
}

template <typename T>
Fault EncoderOf<T>::AddBias(T* x, const float* bias, int64_t dim, cuda::BiasThen then) {
  return device_.Check(
      cuda::AddBias<T>({.x = x, .bias = bias, .rows = plan_.rows(), .dim = dim, .then = then},
                       stream_.get()),
      "AddBias");
}

template <typename T>
Fault EncoderOf<T>::Pool() {
  const int64_t texts = plan_.texts();
  const int64_t row_bytes = dim_ * static_cast<int64_t>(sizeof(T));
  if (has_dense_) {
    for (int64_t i = 0; i < texts; ++i) {
      BATON_GPU_TRY(device_.Check(
          cudaMemcpyAsync(attended_ + i * dim_, normed_ + plan_.first_row(i) * dim_,
                          static_cast<size_t>(row_bytes), cudaMemcpyDeviceToDevice, stream_.get()),
          "cudaMemcpyAsync"));
    }
    BATON_GPU_TRY(products_.Multiply({attended_, texts, dim_}, dense_, pooled_, dim_));
  } else {
    BATON_GPU_TRY(device_.Check(
        cuda::PoolRows({.x = x_,
                        .begins = plan_.begins(),
                        .ends = pooling_ == BATON_POOLING_MEAN ? plan_.ends() : plan_.firsts(),
                        .y = pooled_,
                        .pools = texts,
                        .dim = dim_},
                       stream_.get()),
        "PoolRows"));
  }
  return device_.Check(cudaMemcpyAsync(host_pooled_.data(), pooled_,
                                       static_cast<size_t>(texts * dim_) * sizeof(float),
                                       cudaMemcpyDeviceToHost, stream_.get()),
                       "cudaMemcpyAsync");
}

// Of length one; of zeros the first axis, as on the CPU.
template <typename T>
Fault EncoderOf<T>::FinishEmbeddings(float* embeddings) const {
  const auto* const pooled = reinterpret_cast<const float*>(host_pooled_.data());
  for (int64_t text = 0; text < plan_.texts(); ++text) {
    const float* const sums = pooled + text * dim_;
    float* const embedding = embeddings + text * dim_;
    double squares = 0;
    for (int64_t i = 0; i < dim_; ++i) squares += double{sums[i]} * sums[i];
    if (!std::isfinite(squares)) {
      return {BATON_INTERNAL, Text("model ", name_, " gave an embedding that is not finite")};
    }
    const double length = std::sqrt(squares);
    for (int64_t i = 0; i < dim_; ++i) {
      embedding[i] = length == 0 ? 0 : static_cast<float>(sums[i] / length);
    }
    if (length == 0) embedding[0] = 1;
  }
  return {};
}

template <typename T>
Fault EncoderOf<T>::FinishScores(float* scores) const {
  const auto* const pooled = reinterpret_cast<const float*>(host_pooled_.data());
  for (int64_t text = 0; text < plan_.texts(); ++text) {
    double score = score_bias_;
    for (int64_t i = 0; i < dim_; ++i) {
      const auto at = static_cast<size_t>(i);
      float value = pooled[text * dim_ + i];
      if (has_dense_) value = std::tanh(value + dense_bias_[at]);
      score += double{value} * score_[at];
    }
    if (!std::isfinite(score)) {
      return {BATON_INTERNAL, Text("model ", name_, " gave a score that is not finite")};
    }
    scores[text] = static_cast<float>(score);
  }
  return {};
}

template <typename T>
Fault LoadAs(Device& device, const baton_encoder_model& model, std::unique_ptr<Encoder>* encoder) {
  auto loaded = std::make_unique<EncoderOf<T>>(device);
  BATON_GPU_TRY(loaded->Load(model));
  *encoder = std::move(loaded);
  return {};
}

}  // namespace

Fault Encoder::Load(Device& device, const baton_encoder_model& model,
                    std::unique_ptr<Encoder>* encoder) {
  return device.activations() == BATON_ACTIVATIONS_F32
             ? LoadAs<float>(device, model, encoder)
             : LoadAs<__nv_bfloat16>(device, model, encoder);
}

}  // namespace baton::gpu
