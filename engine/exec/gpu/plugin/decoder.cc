#include "engine/exec/gpu/plugin/decoder.h"

#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "cuda_kernels/decode_attention.h"
#include "cuda_kernels/embedding.h"
#include "cuda_kernels/gate.h"
#include "cuda_kernels/place_qkv.h"
#include "cuda_kernels/prefill_attention.h"
#include "cuda_kernels/prefill_attention_f32.h"
#include "cuda_kernels/rms_norm.h"
#include "engine/exec/gpu/plugin/answers.h"
#include "engine/exec/gpu/plugin/arena.h"
#include "engine/exec/gpu/plugin/layer_progress.h"
#include "engine/exec/gpu/plugin/products.h"
#include "engine/exec/gpu/plugin/step_graphs.h"
#include "engine/exec/gpu/plugin/step_plan.h"
#include "engine/exec/gpu/plugin/weights.h"

namespace baton::gpu {
namespace {

// Of attention that is split: more splits than fit are not taken.
constexpr int64_t kAttentionWorkspaceBytes = 32 << 20;

constexpr int64_t kHeadDimMax = 256;  // of attention

// What of the model there is no kernel for.
Fault CheckCanRun(const baton_llm_model& model) {
  const auto refuse = [&](const auto&... why) -> Fault {
    return {BATON_UNIMPLEMENTED, Text("the GPU cannot run model ", model.name, ": ", why...)};
  };
  if (model.head_dim % 8 != 0 || model.head_dim > kHeadDimMax) {
    return refuse("heads of ", model.head_dim, " dimensions, must be a multiple of 8 up to ",
                  kHeadDimMax);
  }
  if (model.kv_heads < 1 || model.heads % model.kv_heads != 0) {
    return refuse(model.heads, " heads are no multiple of ", model.kv_heads, " key/value heads");
  }
  if (model.dim > cuda::kNormDimMax) {
    return refuse("a residual stream of ", model.dim, " dimensions, the limit is ",
                  cuda::kNormDimMax);
  }
  if (model.rope_dims % 2 != 0 || model.rope_dims > model.head_dim) {
    return refuse(model.rope_dims, " dimensions that rotate in heads of ", model.head_dim);
  }
  return {};
}

template <typename T>
class DecoderOf final : public Decoder {
 public:
  explicit DecoderOf(Device& device)
      : device_(device), products_(device), progress_(device), graphs_(device) {}

  Fault Load(const baton_llm_model& model);
  Fault Run(const baton_llm_batch& batch) override;
  bool WarmUpStep(uint32_t index, int32_t* sequences, int32_t* positions) const override;

 private:
  struct Layer {
    const float* attention_norm = nullptr;
    const float* ffn_norm = nullptr;
    const float* qkv_bias = nullptr;
    const float* query_norm = nullptr;
    const float* key_norm = nullptr;
    const float* output_bias = nullptr;
    const float* attention_post_norm = nullptr;
    const float* ffn_post_norm = nullptr;
    const float2* rotations = nullptr;
    DeviceMatrix qkv;
    DeviceMatrix output;
    DeviceMatrix gate_up;
    DeviceMatrix down;
    int32_t window = 0;
  };

  Fault Place(const baton_llm_model& model, Arena& arena);
  Fault PlaceLayer(const baton_llm_model& model, const baton_llm_layer& from,
                   WeightLoader<T>& loader, Layer* layer);
  Fault PlaceRope(const baton_rope& rope, WeightLoader<T>& loader, const float2** rotations);
  Fault Forward(const baton_llm_batch& batch);
  // A step of decodes alone, by a graph.
  bool IsDecode(const baton_llm_batch& batch) const;
  Fault Decode(const baton_llm_batch& batch);
  Fault LaunchDecode(bool chooses);
  // What is launched for a step, up to its last norm.
  Fault RunLayers();
  Fault RunLayer(size_t index);
  Fault Attend(const Layer& layer, int32_t index);
  Fault AttendTiles(const Layer& layer, const cuda::PagedKv& kv);
  Fault AttendRows(const Layer& layer, const cuda::PagedKv& kv, int64_t first_row, int64_t rows,
                   int32_t positions_max);
  // x += the branch, and normed = what comes next.
  struct Branch {
    const T* x = nullptr;
    const float* bias = nullptr;
    const float* weight = nullptr;
  };
  Fault Norm(const Branch& branch, const float* weight);

  Device& device_;
  Stream stream_;
  std::string name_;
  StepLimits limits_ = {};
  int64_t dim_ = 0;
  int64_t ffn_dim_ = 0;
  int64_t query_dim_ = 0;
  int64_t qkv_dim_ = 0;
  int32_t heads_ = 0;
  int32_t rope_dims_ = 0;
  cuda::RopeKind rope_kind_ = {};
  cuda::GateKind gate_kind_ = {};
  float epsilon_ = 0;
  float embedding_scale_ = 0;
  float attention_scale_ = 0;
  float score_cap_ = 0;
  bool deterministic_ = false;          // the step at hand
  cuda::LaunchStream order_ = nullptr;  // where its kernels go

  DeviceMemory memory_;  // weights, then workspace
  const T* embedding_ = nullptr;
  const float* output_norm_ = nullptr;
  DeviceMatrix output_;
  std::vector<Layer> layers_;

  // [rows of a step, ...], row-major.
  float* x_ = nullptr;          // [dim]
  T* normed_ = nullptr;         // [dim]
  T* qkv_ = nullptr;            // [qkv_dim]: queries, keys, values
  T* attended_ = nullptr;       // [query_dim]
  T* branch_ = nullptr;         // [dim]
  T* gate_up_ = nullptr;        // [2 * ffn_dim]
  float* attention_ = nullptr;  // kAttentionWorkspaceBytes
  Products<T> products_;
  Answers<T> answers_;
  StepPlan plan_;
  LayerProgress progress_;
  StepGraphs graphs_;
  uint64_t graphs_moves_ = 0;  // of plan_, that they know
};

// ---- Loading

template <typename T>
Fault DecoderOf<T>::Load(const baton_llm_model& model) {
  BATON_GPU_TRY(CheckCanRun(model));
  BATON_GPU_TRY(stream_.Create(device_));
  name_ = model.name;
  limits_ = {.model = name_.c_str(),
             .layers = model.layer_count,
             .kv_heads = model.kv_heads,
             .head_dim = model.head_dim,
             .vocabulary = model.vocabulary,
             .context_tokens = model.context_tokens,
             .step_tokens_max = device_.step_tokens_max()};
  dim_ = model.dim;
  ffn_dim_ = model.ffn_dim;
  heads_ = model.heads;
  query_dim_ = int64_t{model.heads} * model.head_dim;
  qkv_dim_ = (int64_t{model.heads} + 2 * int64_t{model.kv_heads}) * model.head_dim;
  rope_dims_ = model.rope_dims;
  rope_kind_ = model.rope_halves != 0 ? cuda::RopeKind::kHalves : cuda::RopeKind::kAdjacent;
  gate_kind_ = model.gate == BATON_GATE_SILU ? cuda::GateKind::kSilu : cuda::GateKind::kGelu;
  epsilon_ = model.rms_epsilon;
  embedding_scale_ = model.embedding_scale;
  attention_scale_ = model.attention_scale;
  score_cap_ = model.score_cap;

  Arena counts;
  BATON_GPU_TRY(Place(model, counts));
  BATON_GPU_TRY(device_.Allocate(Text("model ", name_).c_str(), counts.bytes(), &memory_));
  Arena arena(memory_.data());
  BATON_GPU_TRY(Place(model, arena));
  graphs_.Start(device_.decode_graphs_max());
  return answers_.Start(device_, limits_.vocabulary, model.logit_cap);
}

// Twice: to count, and to take.
template <typename T>
Fault DecoderOf<T>::Place(const baton_llm_model& model, Arena& arena) {
  WeightLoader<T> loader(device_, arena);
  if (!arena.counting()) BATON_GPU_TRY(loader.Start());
  BATON_GPU_TRY(loader.LoadDense(model.token_embedding, &embedding_));
  BATON_GPU_TRY(loader.LoadVector(model.output_norm, dim_, &output_norm_));
  cuda::QuantFormat format;
  const bool tied = model.output.data == model.token_embedding.data;
  if (tied && !HasPlanes(model.output.type, &format)) {
    output_ = {.parts = {{.rows = model.output.rows, .dense = embedding_}},
               .rows = model.output.rows,
               .cols = model.output.cols};
  } else {
    BATON_GPU_TRY(loader.Load({&model.output}, &output_));
  }
  const float2* rotations = nullptr;
  const float2* window_rotations = nullptr;
  BATON_GPU_TRY(PlaceRope(model.rope, loader, &rotations));
  if (model.window_rope.frequency != nullptr) {
    BATON_GPU_TRY(PlaceRope(model.window_rope, loader, &window_rotations));
  }
  layers_.assign(static_cast<size_t>(model.layer_count), Layer());
  for (int32_t i = 0; i < model.layer_count; ++i) {
    Layer& layer = layers_[static_cast<size_t>(i)];
    BATON_GPU_TRY(PlaceLayer(model, *baton_layer_at(&model, i), loader, &layer));
    const bool own = layer.window > 0 && window_rotations != nullptr;
    layer.rotations = own ? window_rotations : rotations;
  }
  if (!arena.counting()) BATON_GPU_TRY(loader.Finish());

  const int64_t rows = limits_.step_tokens_max;
  x_ = arena.Take<float>(rows * dim_);
  normed_ = arena.Take<T>(rows * dim_);
  qkv_ = arena.Take<T>(rows * qkv_dim_);
  attended_ = arena.Take<T>(rows * query_dim_);
  branch_ = arena.Take<T>(rows * dim_);
  gate_up_ = arena.Take<T>(rows * 2 * ffn_dim_);
  attention_ = arena.Take<float>(kAttentionWorkspaceBytes / int64_t{sizeof(float)});
  int64_t quantised_max = QuantisedWeights(output_);
  for (const Layer& layer : layers_) {
    for (const DeviceMatrix* w : {&layer.qkv, &layer.output, &layer.gate_up, &layer.down}) {
      quantised_max = std::max(quantised_max, QuantisedWeights(*w));
    }
  }
  products_.Place(
      arena, {.cols_max = std::max({dim_, query_dim_, ffn_dim_}), .quantised_max = quantised_max});
  answers_.Place(arena, dim_, limits_.vocabulary);
  return {};
}

template <typename T>
Fault DecoderOf<T>::PlaceLayer(const baton_llm_model& model, const baton_llm_layer& from,
                               WeightLoader<T>& loader, Layer* layer) {
  layer->window = from.window;
  BATON_GPU_TRY(loader.LoadVector(from.attention_norm, dim_, &layer->attention_norm));
  BATON_GPU_TRY(loader.LoadVector(from.ffn_norm, dim_, &layer->ffn_norm));
  BATON_GPU_TRY(loader.LoadVector(from.query_norm, model.head_dim, &layer->query_norm));
  BATON_GPU_TRY(loader.LoadVector(from.key_norm, model.head_dim, &layer->key_norm));
  BATON_GPU_TRY(loader.LoadVector(from.output_bias, dim_, &layer->output_bias));
  BATON_GPU_TRY(loader.LoadVector(from.attention_post_norm, dim_, &layer->attention_post_norm));
  BATON_GPU_TRY(loader.LoadVector(from.ffn_post_norm, dim_, &layer->ffn_post_norm));
  if (from.query_bias != nullptr || from.key_bias != nullptr || from.value_bias != nullptr) {
    std::vector<float> bias;  // one behind the other, zeros where there is none
    const int64_t kv_dim = int64_t{model.kv_heads} * model.head_dim;
    for (const auto& [values, count] :
         {std::pair{from.query_bias, query_dim_}, std::pair{from.key_bias, kv_dim},
          std::pair{from.value_bias, kv_dim}}) {
      const auto begin = bias.size();
      bias.resize(begin + static_cast<size_t>(count));
      if (values != nullptr) std::copy_n(values, count, bias.data() + begin);
    }
    BATON_GPU_TRY(loader.LoadVector(bias.data(), qkv_dim_, &layer->qkv_bias));
  }
  BATON_GPU_TRY(loader.Load({&from.query, &from.key, &from.value}, &layer->qkv));
  BATON_GPU_TRY(loader.Load({&from.output}, &layer->output));
  BATON_GPU_TRY(loader.Load({&from.gate, &from.up}, &layer->gate_up));
  return loader.Load({&from.down}, &layer->down);
}

// [context_tokens, rope_dims / 2] of cos and sin, for all positions once.
template <typename T>
Fault DecoderOf<T>::PlaceRope(const baton_rope& rope, WeightLoader<T>& loader,
                              const float2** rotations) {
  const int64_t pairs = rope_dims_ / 2;
  std::vector<float> angles(static_cast<size_t>(2 * pairs * limits_.context_tokens));
  size_t at = 0;
  for (int32_t position = 0; !loader.counting() && position < limits_.context_tokens; ++position) {
    for (int64_t pair = 0; pair < pairs; ++pair) {
      const double angle = position * rope.frequency[pair];
      angles[at++] = static_cast<float>(std::cos(angle) * rope.magnitude);
      angles[at++] = static_cast<float>(std::sin(angle) * rope.magnitude);
    }
  }
  const float* placed = nullptr;
  const auto count = static_cast<int64_t>(angles.size());
  BATON_GPU_TRY(loader.LoadVector(angles.data(), count, &placed));
  *rotations = reinterpret_cast<const float2*>(placed);
  return {};
}

// ---- A step

template <typename T>
Fault DecoderOf<T>::Run(const baton_llm_batch& batch) {
  if (batch.item_count == 0) return {};
  Fault fault = progress_.Begin(batch, layers_.size());
  if (!fault.failed()) fault = Forward(batch);
  if (const Fault told = progress_.End(); !fault.failed()) fault = told;
  if (!fault.failed() || fault.code() == BATON_UNAVAILABLE) return fault;
  BATON_GPU_TRY(stream_.Wait());  // what was launched still reads the step's inputs
  return fault;
}

template <typename T>
Fault DecoderOf<T>::Forward(const baton_llm_batch& batch) {
  deterministic_ = (batch.flags & BATON_BATCH_DETERMINISTIC) != 0;
  const bool decodes = IsDecode(batch);
  order_ = stream_.get();
  order_.early = decodes && device_.programmatic_launches();
  products_.Begin(order_, deterministic_);
  if (decodes) return Decode(batch);
  BATON_GPU_TRY(plan_.Make(device_, limits_, batch, /*room=*/{}, stream_));
  BATON_GPU_TRY(RunLayers());
  BATON_GPU_TRY(answers_.Give(batch, plan_.logit_rows(), normed_, output_, products_, stream_));
  return stream_.Wait();
}

template <typename T>
bool DecoderOf<T>::WarmUpStep(uint32_t index, int32_t* sequences, int32_t* positions) const {
  if (graphs_.wanted() && index >= static_cast<uint32_t>(graphs_.graphs_max())) return false;
  const int64_t rows_max = std::min<int64_t>(Answers<T>::kRows, limits_.step_tokens_max);
  uint32_t at = 0;
  for (int32_t longest = 1;; ++longest) {
    longest = std::min(StepGraphs::PositionsFor(longest), limits_.context_tokens);
    for (int64_t rows = 1; rows <= rows_max; rows = StepGraphs::RowsFor(rows + 1), ++at) {
      if (at < index) continue;
      *sequences = static_cast<int32_t>(rows);
      *positions = longest;
      return true;
    }
    if (!graphs_.wanted() || longest >= limits_.context_tokens) return false;
  }
}

template <typename T>
bool DecoderOf<T>::IsDecode(const baton_llm_batch& batch) const {
  // Of layers that are done nothing is told from within a graph.
  if (!graphs_.wanted() || progress_.asked() || batch.item_count > Answers<T>::kRows) return false;
  for (int64_t i = 0; i < batch.item_count; ++i) {
    const baton_llm_item& item = *baton_item_at(&batch, i);
    if (item.token_count != 1 || item.logits != 1) return false;
  }
  return true;
}

template <typename T>
Fault DecoderOf<T>::Decode(const baton_llm_batch& batch) {
  int32_t positions = 0;
  for (int64_t i = 0; i < batch.item_count; ++i) {
    const int32_t position = baton_item_at(&batch, i)->position;  // which Make checks
    positions = std::max(positions, std::min(position, limits_.context_tokens - 1) + 1);
  }
  const StepPlan::Room room = {
      .rows = std::min<int64_t>(StepGraphs::RowsFor(batch.item_count), limits_.step_tokens_max),
      .positions = std::min(StepGraphs::PositionsFor(positions), limits_.context_tokens)};
  BATON_GPU_TRY(plan_.Make(device_, limits_, batch, room, stream_));
  if (std::exchange(graphs_moves_, plan_.moves()) != plan_.moves()) graphs_.Forget();
  const bool chooses = answers_.Stage(batch, plan_.logit_rows());
  const StepGraphs::Key key = {.rows = plan_.rows(),
                               .positions = plan_.single_positions_max(),
                               .pool = plan_.kv().pool,
                               .block_bytes = plan_.kv().block_bytes,
                               .block_tokens = plan_.kv().block_tokens,
                               .element = static_cast<int32_t>(plan_.kv().element),
                               .deterministic = deterministic_,
                               .chooses = chooses};
  BATON_GPU_TRY(graphs_.Run(key, stream_, [&] { return LaunchDecode(chooses); }));
  return answers_.Finish(batch, plan_.logit_rows(), chooses, stream_);
}

template <typename T>
Fault DecoderOf<T>::LaunchDecode(bool chooses) {
  BATON_GPU_TRY(RunLayers());
  return answers_.Launch(normed_, plan_.rows(), chooses, output_, products_, stream_);
}

template <typename T>
Fault DecoderOf<T>::RunLayers() {
  BATON_GPU_TRY(plan_.Upload(device_, stream_));
  BATON_GPU_TRY(device_.Check(cuda::Embedding<T>({.tokens = plan_.tokens(),
                                                  .table = embedding_,
                                                  .y = x_,
                                                  .rows = plan_.rows(),
                                                  .dim = dim_,
                                                  .vocabulary = limits_.vocabulary,
                                                  .scale = embedding_scale_},
                                                 stream_.get()),
                              "Embedding"));
  for (size_t i = 0; i < layers_.size(); ++i) {
    BATON_GPU_TRY(RunLayer(i));
    BATON_GPU_TRY(progress_.Follow(stream_.get(), static_cast<int32_t>(i) + 1));
  }
  return Norm({.x = branch_, .weight = layers_.back().ffn_post_norm}, output_norm_);
}

template <typename T>
Fault DecoderOf<T>::Norm(const Branch& branch, const float* weight) {
  return device_.Check(cuda::RmsNorm<T>({.x = x_,
                                         .branch = branch.x,
                                         .branch_bias = branch.bias,
                                         .branch_weight = branch.weight,
                                         .weight = weight,
                                         .y = normed_,
                                         .rows = plan_.rows(),
                                         .dim = dim_,
                                         .epsilon = epsilon_},
                                        order_),
                       "RmsNorm");
}

template <typename T>
Fault DecoderOf<T>::RunLayer(size_t index) {
  const Layer& layer = layers_[index];
  const int64_t rows = plan_.rows();
  Branch before;  // of the layer before, which is added first
  if (index > 0) before = {.x = branch_, .weight = layers_[index - 1].ffn_post_norm};
  BATON_GPU_TRY(Norm(before, layer.attention_norm));
  BATON_GPU_TRY(products_.Multiply({normed_, rows, dim_}, layer.qkv, qkv_, qkv_dim_));
  BATON_GPU_TRY(Attend(layer, static_cast<int32_t>(index)));
  BATON_GPU_TRY(products_.Multiply({attended_, rows, query_dim_}, layer.output, branch_, dim_));

  BATON_GPU_TRY(Norm({.x = branch_, .bias = layer.output_bias, .weight = layer.attention_post_norm},
                     layer.ffn_norm));
  BATON_GPU_TRY(products_.Multiply({normed_, rows, dim_}, layer.gate_up, gate_up_, 2 * ffn_dim_));
  BATON_GPU_TRY(device_.Check(cuda::Gate<T>({.gate = gate_up_,
                                             .up = gate_up_ + ffn_dim_,
                                             .y = gate_up_,
                                             .rows = rows,
                                             .dim = ffn_dim_,
                                             .stride = 2 * ffn_dim_,
                                             .y_stride = 2 * ffn_dim_,
                                             .kind = gate_kind_},
                                            order_),
                              "Gate"));
  return products_.Multiply({gate_up_, rows, 2 * ffn_dim_}, layer.down, branch_, dim_);
}

// Appends keys and values to the sequences' blocks, and attends to what is in them.
template <typename T>
Fault DecoderOf<T>::Attend(const Layer& layer, int32_t index) {
  const cuda::PagedKv kv = plan_.Kv(index);
  BATON_GPU_TRY(device_.Check(cuda::PlaceQkv<T>({.qkv = qkv_,
                                                 .bias = layer.qkv_bias,
                                                 .query_norm = layer.query_norm,
                                                 .key_norm = layer.key_norm,
                                                 .rotations = layer.rotations,
                                                 .positions = plan_.positions(),
                                                 .sequences = plan_.sequences(),
                                                 .q = qkv_,
                                                 .kv = kv,
                                                 .rows = plan_.rows(),
                                                 .stride = qkv_dim_,
                                                 .q_stride = qkv_dim_,
                                                 .heads = heads_,
                                                 .rope_dims = rope_dims_,
                                                 .rope = rope_kind_,
                                                 .epsilon = epsilon_},
                                                order_),
                              "PlaceQkv"));
  constexpr bool kExact = std::is_same_v<T, float>;
  // A prompt that is cut into other chunks, or into single tokens, must come to the same.
  if (!deterministic_ && kExact == (kv.element == cuda::KvElement::kF32)) {
    BATON_GPU_TRY(AttendTiles(layer, kv));
  } else {
    for (const StepPlan::Run& run : plan_.runs()) {
      cuda::PagedKv of_run = kv;  // all rows are of one sequence
      of_run.block_table = kv.block_table + run.table_row * kv.table_stride;
      of_run.table_stride = 0;
      BATON_GPU_TRY(AttendRows(layer, of_run, run.first_row, run.rows, run.positions_max));
    }
  }
  cuda::PagedKv of_singles = kv;
  of_singles.block_table = kv.block_table + plan_.single_table_row() * kv.table_stride;
  return AttendRows(layer, of_singles, plan_.single_row(), plan_.single_count(),
                    plan_.single_positions_max());
}

template <typename T>
Fault DecoderOf<T>::AttendTiles(const Layer& layer, const cuda::PagedKv& kv) {
  using Args = std::conditional_t<std::is_same_v<T, float>, cuda::PrefillAttentionF32Args,
                                  cuda::PrefillAttentionArgs>;
  const int64_t step = cuda::kGridYMax;
  for (int64_t first = 0; first < plan_.tile_count(); first += step) {
    const Args args = {.q = qkv_,
                       .out = attended_,
                       .tiles = plan_.tiles() + first,
                       .kv = kv,
                       .tile_count = std::min(step, plan_.tile_count() - first),
                       .q_stride = qkv_dim_,
                       .heads = heads_,
                       .window = layer.window,
                       .scale = attention_scale_,
                       .score_cap = score_cap_};
    if constexpr (std::is_same_v<T, float>) {
      BATON_GPU_TRY(
          device_.Check(cuda::PrefillAttentionF32(args, stream_.get()), "PrefillAttentionF32"));
    } else {
      BATON_GPU_TRY(device_.Check(cuda::PrefillAttention(args, stream_.get()), "PrefillAttention"));
    }
  }
  return {};
}

template <typename T>
Fault DecoderOf<T>::AttendRows(const Layer& layer, const cuda::PagedKv& kv, int64_t first_row,
                               int64_t rows, int32_t positions_max) {
  if (rows == 0) return {};
  constexpr bool kExact = std::is_same_v<T, float>;
  const int64_t positions =
      layer.window > 0 ? std::min(layer.window, positions_max) : positions_max;
  // f32, too, is for results that do not depend on the company.
  int32_t splits =
      kExact || deterministic_
          ? 1
          : cuda::DecodeAttentionSplits({.sequences = rows,
                                         .kv_heads = kv.kv_heads,
                                         .positions_max = positions,
                                         .multiprocessors = device_.multiprocessors()});
  while (cuda::DecodeAttentionWorkspaceBytes(
             {.sequences = rows, .heads = heads_, .head_dim = kv.head_dim, .splits = splits}) >
         kAttentionWorkspaceBytes) {
    splits /= 2;
  }
  return device_.Check(cuda::DecodeAttention({.q = qkv_ + first_row * qkv_dim_,
                                              .out = attended_ + first_row * query_dim_,
                                              .element = kExact ? cuda::ActivationElement::kF32
                                                                : cuda::ActivationElement::kBF16,
                                              .lengths = plan_.lengths() + first_row,
                                              .kv = kv,
                                              .workspace = attention_,
                                              .sequences = rows,
                                              .q_stride = qkv_dim_,
                                              .heads = heads_,
                                              .splits = splits,
                                              .window = layer.window,
                                              .scale = attention_scale_,
                                              .score_cap = score_cap_},
                                             order_),
                       "DecodeAttention");
}

template <typename T>
Fault LoadAs(Device& device, const baton_llm_model& model, std::unique_ptr<Decoder>* decoder) {
  auto loaded = std::make_unique<DecoderOf<T>>(device);
  BATON_GPU_TRY(loaded->Load(model));
  *decoder = std::move(loaded);
  return {};
}

}  // namespace

Fault Decoder::Load(Device& device, const baton_llm_model& model,
                    std::unique_ptr<Decoder>* decoder) {
  return device.activations() == BATON_ACTIVATIONS_F32
             ? LoadAs<float>(device, model, decoder)
             : LoadAs<__nv_bfloat16>(device, model, decoder);
}

}  // namespace baton::gpu
