#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "engine/base/huge_allocator.h"
#include "engine/base/ids.h"
#include "engine/exec/cpu/kernels/kernels.h"
#include "engine/exec/cpu/matrix_products.h"
#include "engine/exec/cpu/thread_team.h"
#include "engine/exec/forward_item.h"
#include "engine/kv/kv_layout.h"
#include "engine/model/language_model.h"

namespace baton {

// The forward pass of a decoder of any architecture, as its LlmShape and LlmWeights describe it:
// embeds a step's tokens, runs the layers over all of them at once, appends their keys and values
// to their sequences' blocks, and gives the logits that are asked for. The values do not depend on
// what else is in the step nor on how a prompt is cut into chunks; but they may on which tokens are
// the prompt's, which have an arithmetic of their own where that is faster for many.
//
// A long step may be paused for another one: between two halves of a layer nothing is under way but
// the residual stream, of which there are three.
//
// The workspace is allocated at construction; Run allocates nothing. Not thread safe; uses the team
// while it runs. `kernels` and `team` outlive it.
class DecoderForward {
 public:
  // `packers`: the threads that rearrange the weights, which `team` would be too where it is in
  // use; null: `team`.
  DecoderForward(std::shared_ptr<const LanguageModel> model, const CpuKernels& kernels,
                 ThreadTeam& team, int32_t step_tokens_max, ThreadTeam* packers = nullptr);

  // What one takes with a team of `threads`: packed weights and workspace, the file's mapping left
  // out.
  static int64_t Bytes(const LanguageModel& model, const CpuKernels& kernels, int threads,
                       int32_t step_tokens_max);

  // Whether prompts have an arithmetic of their own.
  static bool TellsPromptsApart(const LanguageModel& model, const CpuKernels& kernels);

  // [item index], [vocabulary] f32; the logits are valid during the call only.
  using OnLogits = absl::FunctionRef<void(size_t item, std::span<const float> logits)>;

  // So many layers have written their keys and values.
  using OnLayers = absl::FunctionRef<void(int32_t layers)>;

  // Between two halves of a layer. Run may be called from it, for a step of other sequences, and
  // once more from that one's.
  using OnPause = absl::FunctionRef<void()>;

  // Calls on_logits for the tokens whose logits are wanted, in their order. INVALID_ARGUMENT: the
  // step does not fit the model or the workspace; nothing was written then.
  absl::Status Run(
      const KvLayout& layout, std::span<const ForwardItem> items, OnLogits on_logits,
      OnLayers on_layers = [](int32_t) {}, OnPause on_pause = [] {});

 private:
  // One token of the step, one row of every activation.
  struct Row {
    const ForwardItem* item = nullptr;
    int32_t position = 0;
  };
  // Where an item's rows are: of its prompt's tokens, and of those generated.
  struct ItemRows {
    int64_t prompt = 0;
    int64_t generated = 0;
  };
  // Consecutive rows of one item, whose attention reads the same keys and values.
  struct AttentionTask {
    int64_t first_row = 0;
    int64_t rows = 0;
    bool in_tiles = false;
  };
  struct LayerMatrices {
    PreparedMatrix query, key, value, output, gate, up, down;
  };
  // One way for positions to rotate.
  struct Rope {
    std::vector<double> frequency;  // [pairs], radians per position
    float magnitude = 1;
  };
  struct Angles {
    std::vector<float> cos;  // [m, pairs], times magnitude, as sin
    std::vector<float> sin;
  };
  // What a step keeps from one half of a layer to the next. [m]: its number of tokens.
  struct Pass {
    std::vector<Row> rows;  // [m], those of prompts first
    MatrixProducts::Rows counts;
    std::vector<ItemRows> item_rows;  // of each item
    std::vector<AttentionTask> attention_tasks;
    HugeVector<float> x;         // [m, dim], row-major, the residual stream
    std::vector<Angles> angles;  // of each rope
  };

  void AddRope(const RopeParameters& parameters);
  absl::Status Check(const KvLayout& layout, std::span<const ForwardItem> items) const;
  void Plan(std::span<const ForwardItem> items);
  // Tokens [begin, end) of an item, as the next rows.
  void AddRows(const ForwardItem& item, int64_t begin, int64_t end, bool in_tiles);
  // The two halves of a layer.
  void RunAttention(const KvLayout& layout, int32_t layer);
  void RunFeedForward(int32_t layer);
  void PlaceQueriesAndKeys(const KvLayout& layout, int32_t layer);
  void Attend(const KvLayout& layout, int32_t layer);
  // The rows behind a norm.
  MatrixProducts::Input Normed(const float* weight);
  // The end of one of a layer's branches: x_ += norm(product + bias), where multiply(product, add)
  // computes a product with `w`. Null: no bias, no norm.
  using OnProduct = absl::FunctionRef<void(const MatrixProducts::Product& product, bool add)>;
  void AddBranch(const PreparedMatrix& w, OnProduct multiply, const float* bias,
                 const float* post_norm);
  void EmitLogits(std::span<const ForwardItem> items, OnLogits on_logits);

  const std::shared_ptr<const LanguageModel> model_;
  const LlmShape& shape_;
  const LlmWeights& weights_;
  const CpuKernels& kernels_;
  ThreadTeam& team_;
  const int32_t step_tokens_max_;
  const int64_t query_dim_;  // heads * head_dim
  const int64_t kv_dim_;     // kv_heads * head_dim
  const int64_t pairs_;      // rotated per head
  const bool prompts_in_tiles_;
  MatrixProducts products_;
  std::vector<LayerMatrices> layers_;
  PreparedMatrix output_;
  std::vector<Rope> ropes_;  // of layers without a window first, with one last

  std::array<Pass, 3> passes_;
  size_t passes_under_way_ = 0;
  Pass* pass_ = nullptr;  // that runs

  // Activations of half a layer, row-major, f32; [m]: the pass's tokens.
  HugeVector<float> normed_;    // [m, dim]; also a branch's end before it is added
  HugeVector<float> q_;         // [m, query_dim]
  HugeVector<float> k_;         // [m, kv_dim]
  HugeVector<float> v_;         // [m, kv_dim]
  HugeVector<float> attended_;  // [m, query_dim]
  HugeVector<float> gate_;      // [m, ffn_dim]
  HugeVector<float> up_;        // [m, ffn_dim]
  HugeVector<float> logits_;    // [kLogitRows, vocabulary]
  int64_t scratch_per_thread_ = 0;
  HugeVector<float> scratch_;  // of attention: [threads, scratch_per_thread]
};

}  // namespace baton
