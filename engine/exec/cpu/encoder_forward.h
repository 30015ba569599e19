#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "engine/base/ids.h"
#include "engine/exec/cpu/kernels/kernels.h"
#include "engine/exec/cpu/matrix_products.h"
#include "engine/exec/cpu/thread_team.h"
#include "engine/exec/encoder_pass.h"
#include "engine/model/text_encoder.h"

namespace baton {

// The forward pass of a BERT encoder over several texts at once: their tokens are the rows of one
// product with each matrix, so that weights are read once for all of them; each attends to itself
// alone. An embedding is the same bits whatever else is in the step.
//
// The workspace is allocated at construction; Run allocates only what it returns. Not thread safe;
// uses the team while it runs. `kernels` and `team` outlive it.
class EncoderForward final : public EncoderPass {
 public:
  // `packers` and Bytes() as of DecoderForward.
  EncoderForward(std::shared_ptr<const TextEncoder> encoder, const CpuKernels& kernels,
                 ThreadTeam& team, ThreadTeam* packers = nullptr);
  static int64_t Bytes(const TextEncoder& encoder, const CpuKernels& kernels, int threads);

  int32_t step_tokens_max() const override { return step_tokens_max_; }

  absl::Status Run(std::span<const EncoderText> texts,
                   std::vector<std::vector<float>>* embeddings) override;

 private:
  struct LayerMatrices {
    PreparedMatrix query, key, value, output, up, down;
    std::vector<float> qkv_bias;  // [3 * dim]
  };
  // One text: its rows of every activation.
  struct Text {
    int64_t first_row = 0;
    int64_t rows = 0;
  };
  // Some rows of a text, which one thread attends for.
  struct Queries {
    Text text;
    int64_t first_row = 0;
    int64_t rows = 0;
  };

  absl::Status Check(std::span<const EncoderText> texts) const;
  void Plan(std::span<const EncoderText> texts);
  void RunLayer(size_t layer);
  void Attend();
  // x_ = norm(x_ + bias), where bias is not null.
  void AddBiasAndNorm(const float* bias, const LayerNormView& norm);
  // False: a value is not finite.
  bool Pool(const Text& text, std::vector<float>& embedding) const;
  // The scores of the step's texts, [texts].
  std::vector<float> Score();

  const std::shared_ptr<const TextEncoder> encoder_;
  const EncoderShape& shape_;
  const EncoderWeights& weights_;
  const CpuKernels& kernels_;
  ThreadTeam& team_;
  const int32_t step_tokens_max_;
  MatrixProducts products_;
  std::vector<LayerMatrices> layers_;
  std::vector<float> positions_;  // [context, dim]: of a token's position and first type
  // The same of the second type, where a cross-encoder has one.
  std::vector<float> second_positions_;
  PreparedMatrix dense_;      // of a cross-encoder that has one
  std::vector<float> score_;  // [dim], of a cross-encoder

  // The step's plan; [m] below is its number of tokens.
  std::vector<Text> texts_;
  std::vector<Queries> queries_;
  int64_t rows_ = 0;

  // Activations, row-major, f32.
  std::vector<float> x_;         // [m, dim], the residual stream
  std::vector<float> qkv_;       // [m, 3, dim]
  std::vector<float> attended_;  // [m, dim]
  std::vector<float> up_;        // [m, ffn_dim]
  std::vector<float> scratch_;   // [threads, EncoderAttentionScratch]
};

}  // namespace baton
