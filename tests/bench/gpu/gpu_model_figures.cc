// The executor's steps with a model of an 8B shape, through the plug-in's functions as the daemon
// calls them: prefill, decode, and KV blocks handed to the host while prefill goes on. Weights are
// random; what the host holds of them is one layer's, which all layers share.

#include <algorithm>
#include <chrono>
#include <cmath>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "engine/exec/executor_abi.h"
#include "engine/exec/gpu/gpu_options.h"
#include "tests/bench/bench_tools.h"
#include "tests/bench/gpu/bench_kernels.h"
#include "tests/bench/gpu/gpu_bench.h"
#include "tests/support/quantise.h"
#include "tests/support/synthetic_shapes.h"

namespace baton::gpu_bench {
namespace {

constexpr int32_t kBlockTokens = 16;

// A model as the ABI takes it.
class HostModel {
 public:
  HostModel(const RandomModelOptions& shape, TensorType type) : shape_(shape) {
    std::mt19937_64 random(1);
    std::uniform_real_distribution<float> values(-1, 1);
    norm_.assign(static_cast<size_t>(shape.dim), 1.0f);
    const int64_t head_dim = shape.dim / shape.heads;
    for (int64_t i = 0; i < head_dim / 2; ++i) {
      frequencies_.push_back(
          std::pow(10000.0, -2 * static_cast<double>(i) / static_cast<double>(head_dim)));
    }
    const auto matrix = [&](int64_t rows, int64_t cols) {
      constexpr int64_t kRandomRows = 64;
      std::vector<float> weights(static_cast<size_t>(kRandomRows * cols));
      for (float& weight : weights) {
        weight = values(random) * std::sqrt(3.0f / static_cast<float>(cols));
      }
      const std::string some = EncodeWeights(type, weights);
      const int64_t row_bytes = RowBytes(type, cols);
      std::string bytes;
      bytes.reserve(static_cast<size_t>(rows * row_bytes));
      while (std::ssize(bytes) < rows * row_bytes) {
        bytes.append(some, 0, static_cast<size_t>(rows * row_bytes) - bytes.size());
      }
      bytes_.push_back(std::move(bytes));
      return baton_matrix{.data = bytes_.back().data(),
                          .rows = rows,
                          .cols = cols,
                          .row_bytes = row_bytes,
                          .type = static_cast<uint32_t>(type),
                          .reserved = 0};
    };
    layer_.attention_norm = layer_.ffn_norm = norm_.data();
    layer_.query = matrix(shape.dim, shape.dim);
    layer_.key = matrix(shape.kv_heads * head_dim, shape.dim);
    layer_.value = matrix(shape.kv_heads * head_dim, shape.dim);
    layer_.output = matrix(shape.dim, shape.dim);
    layer_.gate = matrix(shape.ffn_dim, shape.dim);
    layer_.up = matrix(shape.ffn_dim, shape.dim);
    layer_.down = matrix(shape.dim, shape.ffn_dim);
    layers_.assign(static_cast<size_t>(shape.layers), layer_);
    model_ = {.struct_size = sizeof(baton_llm_model),
              .layer_struct_size = sizeof(baton_llm_layer),
              .name = "synthetic",
              .dim = shape.dim,
              .ffn_dim = shape.ffn_dim,
              .layer_count = shape.layers,
              .heads = shape.heads,
              .kv_heads = shape.kv_heads,
              .head_dim = static_cast<int32_t>(head_dim),
              .vocabulary = shape.vocabulary,
              .context_tokens = shape.context_tokens,
              .rope_dims = static_cast<int32_t>(head_dim),
              .rope_halves = 0,
              .gate = BATON_GATE_SILU,
              .rms_epsilon = 1e-5f,
              .embedding_scale = 1,
              .attention_scale = 1 / std::sqrt(static_cast<float>(head_dim)),
              .score_cap = 0,
              .logit_cap = 0,
              .rope = {.frequency = frequencies_.data(), .magnitude = 1, .reserved = 0},
              .window_rope = {},
              .token_embedding = matrix(shape.vocabulary, shape.dim),
              .layers = layers_.data(),
              .output_norm = norm_.data(),
              .output = matrix(shape.vocabulary, shape.dim)};
    for (const baton_matrix* its : {&layer_.query, &layer_.key, &layer_.value, &layer_.output,
                                    &layer_.gate, &layer_.up, &layer_.down}) {
      layer_weights_ += its->rows * its->cols;
      layer_bytes_ += its->rows * its->row_bytes;
    }
  }
  HostModel(const HostModel&) = delete;
  HostModel& operator=(const HostModel&) = delete;

  const baton_llm_model& model() const { return model_; }
  baton_kv_layout layout() const {
    return {.layers = shape_.layers,
            .kv_heads = shape_.kv_heads,
            .head_dim = model_.head_dim,
            .block_tokens = kBlockTokens,
            .type = BATON_KV_BF16,
            .reserved = 0};
  }
  int64_t block_bytes() const {
    return int64_t{shape_.layers} * 2 * shape_.kv_heads * kBlockTokens * model_.head_dim * 2;
  }
  // What a step reads of weights, the embedding's few rows left out.
  double step_bytes() const {
    return static_cast<double>(shape_.layers * layer_bytes_ +
                               model_.output.rows * model_.output.row_bytes);
  }
  // Of a prompt from its beginning: each layer for each token, attention over what stands before
  // it, the head after the last token alone.
  double PrefillFlops(int64_t tokens) const {
    const auto n = static_cast<double>(tokens);
    const double attention = 4.0 * shape_.heads * model_.head_dim * n * (n + 1) / 2;
    return shape_.layers * (2.0 * static_cast<double>(layer_weights_) * n + attention) +
           2.0 * static_cast<double>(model_.output.rows * model_.output.cols);
  }

 private:
  const RandomModelOptions shape_;
  std::deque<std::string> bytes_;
  std::vector<float> norm_;
  std::vector<double> frequencies_;
  baton_llm_layer layer_ = {};
  std::vector<baton_llm_layer> layers_;
  baton_llm_model model_ = {};
  int64_t layer_weights_ = 0;
  int64_t layer_bytes_ = 0;
};

// The plug-in's device with one model and memory for KV.
class Session {
 public:
  ~Session() {
    if (loaded_ != nullptr) plugin_.model_unload(device_, loaded_);
    if (kv_ != nullptr) plugin_.kv_free(device_, kv_);
    if (device_ != nullptr) plugin_.close(device_);
  }
  struct Room {
    int32_t step_tokens_max;
    int64_t blocks;
    bool programmatic_launches = false;
  };
  Error Open(const Bench& bench, const HostModel& model, const Room& room) {
    baton_error error = {.struct_size = sizeof(error), .message = {}};
    const baton_device_options options = {
        .struct_size = sizeof(options),
        .index = 0,
        .activations = BATON_ACTIVATIONS_BF16,
        .step_tokens_max = room.step_tokens_max,
        .decode_graphs_max = static_cast<int32_t>(GpuOptions().decode_graphs),
        .programmatic_launches = room.programmatic_launches ? 1 : 0};
    GPU_BENCH_TRY(ErrorOf(plugin_.open(bench.host, &options, &device_, &error), error));
    model_ = &model;
    GPU_BENCH_TRY(ErrorOf(plugin_.model_load(device_, &model.model(), &loaded_, &error), error));
    const int64_t bytes = room.blocks * model.block_bytes();
    GPU_BENCH_TRY(
        ErrorOf(plugin_.kv_allocate(device_, static_cast<uint64_t>(bytes), &kv_, &error), error));
    GPU_BENCH_TRY(ErrorOf(
        Fill(static_cast<__nv_bfloat16*>(kv_), FillUniform{bytes / 2, 1, bench.seed}, bench.stream),
        "filling"));
    return ErrorOf(cudaStreamSynchronize(bench.stream), "filling");
  }

  void* Block(int64_t index) const {
    return static_cast<std::byte*>(kv_) + index * model_->block_bytes();
  }
  const baton_executor_plugin& plugin() const { return plugin_; }
  baton_open_device* device() const { return device_; }

  // Items of `tokens` each from `position` on, sequence s in blocks [s * stride, ...); a token is
  // chosen after the last of each.
  struct StepShape {
    int64_t first_sequence;
    int64_t sequences;
    int32_t position;
    int32_t tokens;
    int64_t blocks_to_sequence;
  };
  Error Step(const StepShape& shape) {
    const int64_t blocks = (shape.position + shape.tokens + kBlockTokens - 1) / kBlockTokens;
    tokens_.resize(static_cast<size_t>(shape.tokens));
    for (size_t i = 0; i < tokens_.size(); ++i) {
      tokens_[i] =
          static_cast<int32_t>((i * 7919 + 3) % static_cast<size_t>(model_->model().vocabulary));
    }
    std::vector<std::vector<void*>> tables;
    std::vector<baton_llm_item> items;
    for (int64_t s = 0; s < shape.sequences; ++s) {
      std::vector<void*> table;
      for (int64_t b = 0; b < blocks; ++b) {
        table.push_back(Block((shape.first_sequence + s) * shape.blocks_to_sequence + b));
      }
      tables.push_back(std::move(table));
    }
    static constexpr baton_sampling kGreedy = {
        .temperature = 0, .top_k = 0, .top_p = 1, .min_p = 0, .random_state = 0};
    for (const std::vector<void*>& table : tables) {
      items.push_back({.tokens = tokens_.data(),
                       .token_count = shape.tokens,
                       .position = shape.position,
                       .blocks = table.data(),
                       .block_count = static_cast<int32_t>(blocks),
                       .logits = 1,
                       .sampling = &kGreedy});
    }
    const baton_llm_batch batch = {.struct_size = sizeof(batch),
                                   .item_struct_size = sizeof(baton_llm_item),
                                   .items = items.data(),
                                   .item_count = std::ssize(items),
                                   .layout = model_->layout(),
                                   .context = nullptr,
                                   .on_logits = [](void*, int64_t, const float*) {},
                                   .on_token = [](void*, int64_t, int32_t, uint64_t) {}};
    baton_error error = {.struct_size = sizeof(error), .message = {}};
    return ErrorOf(plugin_.llm_run(device_, loaded_, &batch, &error), error);
  }
  // A step's seconds.
  Error Time(const SustainedGoal& goal, const StepShape& shape, Sustained* measured) {
    Error error;
    *measured = MeasureSustained(goal, [&](int64_t calls) {
      const auto begin = SteadyClock::now();
      for (int64_t i = 0; i < calls && error.empty(); ++i) error = Step(shape);
      return error.empty() ? SecondsSince(begin) : goal.seconds_min + 1;
    });
    return error;
  }

 private:
  const baton_executor_plugin& plugin_ = *baton_executor_plugin_v1();
  const HostModel* model_ = nullptr;
  baton_open_device* device_ = nullptr;
  baton_loaded_model* loaded_ = nullptr;
  void* kv_ = nullptr;
  std::vector<int32_t> tokens_;
};

// Blocks [first, first + count) to the host's memory; blocks until they are there.
Error CopyOut(const Session& session, int64_t block_bytes, int64_t first, int64_t count,
              std::vector<std::byte>& to) {
  std::vector<const void*> sources;
  std::vector<void*> destinations;
  for (int64_t i = 0; i < count; ++i) {
    sources.push_back(session.Block(first + i));
    destinations.push_back(to.data() + (first + i) * block_bytes);
  }
  const baton_copy copy = {.struct_size = sizeof(copy),
                           .direction = BATON_COPY_FROM_DEVICE,
                           .sources = sources.data(),
                           .destinations = destinations.data(),
                           .count = count,
                           .block_bytes = block_bytes};
  baton_error error = {.struct_size = sizeof(error), .message = {}};
  uint64_t ticket = 0;
  GPU_BENCH_TRY(
      ErrorOf(session.plugin().copy_post(session.device(), &copy, &ticket, &error), error));
  uint32_t done = 0;
  uint64_t copy_us = 0;
  while (done == 0) {
    GPU_BENCH_TRY(ErrorOf(
        session.plugin().copy_poll(session.device(), ticket, &done, &copy_us, &error), error));
    if (done == 0) std::this_thread::sleep_for(std::chrono::microseconds(20));
  }
  return "";
}

// Prompts are computed in groups of tokens; each group's blocks leave for the host while the next
// ones are computed.
struct HandoffShape {
  int64_t sequences;
  int32_t tokens;  // of each
  int32_t group_tokens;
};

class Handoff {
 public:
  Handoff(Session& session, const HostModel& model, const HandoffShape& shape)
      : session_(session),
        model_(model),
        shape_(shape),
        blocks_to_sequence_(shape.tokens / kBlockTokens),
        host_(static_cast<size_t>(shape.sequences * blocks_to_sequence_ * model.block_bytes())) {}

  int64_t groups() const { return shape_.sequences * (shape_.tokens / shape_.group_tokens); }
  int64_t bytes() const { return std::ssize(host_); }

  // copies: whether blocks leave; seconds: until all is computed and, if they do, copied.
  Error Prefill(bool copies, double* seconds) {
    std::mutex mutex;
    std::condition_variable changed;
    int64_t computed = 0;
    bool ended = false;
    Error copy_error;
    const auto begin = SteadyClock::now();
    std::thread copier;
    if (copies) {
      copier = std::thread([&] {
        for (int64_t group = 0; group < groups(); ++group) {
          {
            std::unique_lock lock(mutex);
            changed.wait(lock, [&] { return computed > group || ended; });
            if (computed <= group) return;
          }
          copy_error = CopyGroup(group);
          if (!copy_error.empty()) return;
        }
      });
    }
    Error error;
    for (int64_t group = 0; group < groups() && error.empty(); ++group) {
      const int64_t to_sequence = shape_.tokens / shape_.group_tokens;
      error = session_.Step(
          {.first_sequence = group / to_sequence,
           .sequences = 1,
           .position = static_cast<int32_t>(group % to_sequence) * shape_.group_tokens,
           .tokens = shape_.group_tokens,
           .blocks_to_sequence = blocks_to_sequence_});
      const std::scoped_lock lock(mutex);
      computed += error.empty() ? 1 : 0;
      ended = !error.empty();
      changed.notify_one();
    }
    if (copies) copier.join();
    *seconds = SecondsSince(begin);
    return error.empty() ? copy_error : error;
  }
  Error CopyAll(double* seconds) {
    const auto begin = SteadyClock::now();
    for (int64_t group = 0; group < groups(); ++group) GPU_BENCH_TRY(CopyGroup(group));
    *seconds = SecondsSince(begin);
    return "";
  }

 private:
  Error CopyGroup(int64_t group) {
    const int64_t blocks = shape_.group_tokens / kBlockTokens;
    return CopyOut(session_, model_.block_bytes(), group * blocks, blocks, host_);
  }

  Session& session_;
  const HostModel& model_;
  const HandoffShape shape_;
  const int64_t blocks_to_sequence_;
  std::vector<std::byte> host_;
};

Error MeasureHandoff(const Bench& bench, Session& session, const HostModel& model) {
  const HandoffShape shape = {.sequences = bench.Size(8, 2),
                              .tokens = static_cast<int32_t>(bench.Size(2048, 64)),
                              .group_tokens = static_cast<int32_t>(bench.Size(1024, 32))};
  Handoff handoff(session, model, shape);
  constexpr int kRounds = 5;
  std::vector<double> prefill;
  std::vector<double> copy;
  std::vector<double> both;
  for (int round = 0; round < (bench.tiny ? 1 : kRounds); ++round) {
    double seconds = 0;
    GPU_BENCH_TRY(handoff.Prefill(/*copies=*/false, &seconds));
    prefill.push_back(seconds);
    GPU_BENCH_TRY(handoff.CopyAll(&seconds));
    copy.push_back(seconds);
    GPU_BENCH_TRY(handoff.Prefill(/*copies=*/true, &seconds));
    both.push_back(seconds);
  }
  const double copy_seconds = Median(copy);
  const double exposed = std::max(0.0, Median(both) - Median(prefill));
  bench.report->Add("handoff.rate", static_cast<double>(handoff.bytes()) / copy_seconds * 1e-9,
                    "GB/s", CeilingOf::kPinned);
  bench.report->Add("handoff.hidden", 1 - exposed / copy_seconds, "");
  bench.report->Add("handoff.groups_exposed",
                    exposed / (copy_seconds / static_cast<double>(handoff.groups())), "groups");
  return "";
}

Error MeasurePrefill(const Bench& bench, Session& session, const HostModel& model) {
  const Session::StepShape shape = {.first_sequence = 0,
                                    .sequences = bench.Size(8, 2),
                                    .position = 0,
                                    .tokens = static_cast<int32_t>(bench.Size(2048, 32)),
                                    .blocks_to_sequence = bench.Size(128, 4)};
  Sustained measured;
  GPU_BENCH_TRY(
      session.Time(bench.tiny ? bench.goal : SustainedGoal{3, 0.02, 5}, shape, &measured));
  const double flops = static_cast<double>(shape.sequences) * model.PrefillFlops(shape.tokens);
  bench.report->Add("prefill.8b.bf16", flops / measured.call_seconds * 1e-12, "TFLOP/s",
                    CeilingOf::kGemm, measured.spread);
  bench.report->Add("prefill.8b.bf16.rate",
                    static_cast<double>(shape.sequences * shape.tokens) / measured.call_seconds,
                    "tokens/s");
  return "";
}

Error MeasureDecode(const Bench& bench, const std::string& name, Session& session,
                    const HostModel& model, int64_t sequences) {
  const auto context = static_cast<int32_t>(bench.Size(512, 40));
  const Session::StepShape shape = {.first_sequence = 0,
                                    .sequences = sequences,
                                    .position = context,
                                    .tokens = 1,
                                    .blocks_to_sequence = context / kBlockTokens + 1};
  Sustained measured;
  GPU_BENCH_TRY(
      session.Time(bench.tiny ? bench.goal : SustainedGoal{2, 0.02, 5}, shape, &measured));
  const double bytes = model.step_bytes() + static_cast<double>(sequences * (context + 1)) *
                                                static_cast<double>(model.block_bytes()) /
                                                kBlockTokens;
  bench.report->Add(name, bytes / measured.call_seconds * 1e-9, "GB/s", CeilingOf::kBandwidth,
                    measured.spread);
  bench.report->Add(name + ".rate", static_cast<double>(sequences) / measured.call_seconds,
                    "tokens/s");
  return "";
}

}  // namespace

Error MeasureModels(Bench& bench) {
  const RandomModelOptions shape = *SyntheticShape(bench.tiny ? "tiny" : "8b");
  const int64_t many = bench.Size(64, 4);
  {
    const HostModel model(shape, TensorType::kBF16);
    Session session;
    GPU_BENCH_TRY(session.Open(bench, model,
                               {.step_tokens_max = static_cast<int32_t>(bench.Size(16384, 64)),
                                .blocks = bench.Size(64 * 33, 16)}));
    GPU_BENCH_TRY(MeasurePrefill(bench, session, model));
    GPU_BENCH_TRY(MeasureDecode(bench, "decode.8b.bf16.b1", session, model, 1));
    GPU_BENCH_TRY(MeasureDecode(bench, "decode.8b.bf16.b64", session, model, many));
    GPU_BENCH_TRY(MeasureHandoff(bench, session, model));
  }
  for (const auto& [name, type] : {std::pair{"decode.8b.q8_0.b1", TensorType::kQ8_0},
                                   std::pair{"decode.8b.q4_0.b1", TensorType::kQ4_0}}) {
    const HostModel model(shape, type);
    // With programmatic launches, too, which are off unless this shows that they pay.
    for (const bool early : {false, true}) {
      Session session;
      GPU_BENCH_TRY(session.Open(
          bench, model,
          {.step_tokens_max = 64, .blocks = bench.Size(64, 16), .programmatic_launches = early}));
      const std::string figure = std::string(name) + (early ? ".early" : "");
      GPU_BENCH_TRY(MeasureDecode(bench, figure, session, model, 1));
    }
  }
  return "";
}

}  // namespace baton::gpu_bench
