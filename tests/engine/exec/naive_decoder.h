#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include "engine/base/check.h"
#include "engine/model/architectures.h"
#include "engine/model/language_model.h"

namespace baton {

// A decoder in plain loops and doubles, one token at a time, the keys and values of each layer in
// one growing list: what the executors' forward pass is compared with. Only the numbers are taken
// from the loaded shape; what an architecture does with them is decided here once more.
class NaiveDecoder {
 public:
  explicit NaiveDecoder(const LanguageModel& model)
      : shape_(model.shape()),
        weights_(model.weights()),
        architecture_(*FindArchitecture(shape_.architecture)),
        keys_(shape_.layers),
        values_(shape_.layers) {}

  // The logits after the sequence's next token.
  std::vector<double> Next(TokenId token) {
    std::vector<double> x = Row(weights_.token_embedding, token);
    if (architecture_.scaled_embedding) {
      for (double& value : x) value *= std::sqrt(shape_.dim);
    }
    for (int layer = 0; layer < shape_.layers; ++layer) {
      const LlmLayerWeights& w = weights_.layers[layer];
      AddTo(x, AttentionBranch(layer, Norm(x, w.attention_norm)));
      AddTo(x, FeedForwardBranch(w, Norm(x, w.ffn_norm)));
    }
    ++position_;
    std::vector<double> logits = Multiply(weights_.output, Norm(x, weights_.output_norm));
    for (double& logit : logits) logit = Capped(logit, shape_.logit_cap);
    return logits;
  }

 private:
  static std::vector<double> Row(const MatrixView& w, int64_t row) {
    std::vector<float> values(static_cast<size_t>(w.cols));
    DequantizeRow(w.type, w.data + row * RowBytes(w.type, w.cols), w.cols, values.data());
    return {values.begin(), values.end()};
  }

  static std::vector<double> Multiply(const MatrixView& w, const std::vector<double>& x) {
    std::vector<double> y;
    for (int64_t r = 0; r < w.rows; ++r) {
      const std::vector<double> row = Row(w, r);
      double sum = 0;
      for (int64_t c = 0; c < w.cols; ++c) sum += x[c] * row[c];
      y.push_back(sum);
    }
    return y;
  }

  static void AddTo(std::vector<double>& x, const std::vector<double>& y) {
    for (size_t i = 0; i < x.size(); ++i) x[i] += y[i];
  }

  static void AddBias(std::vector<double>& x, const float* bias) {
    for (size_t i = 0; bias != nullptr && i < x.size(); ++i) x[i] += bias[i];
  }

  static double Capped(double x, double cap) { return cap > 0 ? cap * std::tanh(x / cap) : x; }

  std::vector<double> Norm(const std::vector<double>& x, const float* weight) const {
    double squares = 0;
    for (const double value : x) squares += value * value;
    const double mean = squares / static_cast<double>(x.size());
    std::vector<double> y;
    for (size_t i = 0; i < x.size(); ++i) {
      y.push_back(x[i] / std::sqrt(mean + shape_.rms_epsilon) * weight[i]);
    }
    return y;
  }

  bool HasWindow(int layer) const {
    if (shape_.windows[layer] == 0) return false;
    const int period = architecture_.window_period;
    BATON_CHECK(period == 0 || (layer + 1) % period != 0);
    return true;
  }

  double Angle(const RopeParameters& rope, int pair) const {
    const double dims = shape_.rope_dims;
    const double turned = 1 / std::pow(rope.base, 2 * pair / dims) /
                          (rope.factors != nullptr ? rope.factors[pair] : 1.0f);
    if (rope.yarn_mix == 0) return position_ * turned * rope.scale;
    // As Hugging Face's reference has it: a ramp between the dimensions that turn beta_fast and
    // beta_slow times within the original context.
    const auto dimension = [&](double turns) {
      return dims * std::log(rope.original_context_tokens / (turns * 2 * M_PI)) /
             (2 * std::log(rope.base));
    };
    const double low = std::max(std::floor(dimension(rope.yarn_beta_fast)), 0.0);
    const double high = std::min(std::ceil(dimension(rope.yarn_beta_slow)), dims - 1);
    const double ramp =
        std::min(std::max((pair - low) / (high == low ? 0.001 : high - low), 0.0), 1.0);
    const double extrapolated = (1 - ramp) * rope.yarn_mix;
    return position_ * (turned * rope.scale * (1 - extrapolated) + turned * extrapolated);
  }

  // Of the head that begins at x.
  void Rotate(int layer, double* x) const {
    const bool own = HasWindow(layer) && architecture_.window_rope_base > 0;
    const RopeParameters& rope = own ? *shape_.window_rope : shape_.rope;
    const int pairs = shape_.rope_dims / 2;
    for (int i = 0; i < pairs; ++i) {
      const bool halves = architecture_.rope_pairs == RopePairs::kHalves;
      double& a = x[halves ? i : 2 * i];
      double& b = x[halves ? i + pairs : 2 * i + 1];
      const double angle = Angle(rope, i);
      const double rotated = (a * std::cos(angle) - b * std::sin(angle)) * rope.magnitude;
      b = (a * std::sin(angle) + b * std::cos(angle)) * rope.magnitude;
      a = rotated;
    }
  }

  // Queries or keys: bias, norm of each head, rotation.
  std::vector<double> Projected(int layer, const MatrixView& w, const float* bias,
                                const float* norm, const std::vector<double>& h) const {
    std::vector<double> all = Multiply(w, h);
    AddBias(all, bias);
    for (auto head = all.begin(); head != all.end(); head += shape_.head_dim) {
      if (norm != nullptr) {
        const std::vector<double> normed = Norm({head, head + shape_.head_dim}, norm);
        std::copy(normed.begin(), normed.end(), head);
      }
      Rotate(layer, &*head);
    }
    return all;
  }

  std::vector<double> AttentionBranch(int layer, const std::vector<double>& h) {
    const LlmLayerWeights& w = weights_.layers[layer];
    const auto q = Projected(layer, w.query, w.query_bias, w.query_norm, h);
    keys_[layer].push_back(Projected(layer, w.key, w.key_bias, w.key_norm, h));
    values_[layer].push_back(Multiply(w.value, h));
    AddBias(values_[layer].back(), w.value_bias);

    const int first = HasWindow(layer) ? std::max(0, position_ - shape_.windows[layer] + 1) : 0;
    std::vector<double> attended(q.size(), 0.0);
    for (int head = 0; head < shape_.heads; ++head) {
      const int kv = head / (shape_.heads / shape_.kv_heads) * shape_.head_dim;
      std::vector<double> scores;
      double sum = 0;
      for (int p = first; p <= position_; ++p) {
        double score = 0;
        for (int d = 0; d < shape_.head_dim; ++d) {
          score += q[head * shape_.head_dim + d] * keys_[layer][p][kv + d];
        }
        scores.push_back(std::exp(Capped(score * shape_.attention_scale, shape_.score_cap)));
        sum += scores.back();
      }
      for (int p = first; p <= position_; ++p) {
        for (int d = 0; d < shape_.head_dim; ++d) {
          attended[head * shape_.head_dim + d] +=
              scores[p - first] / sum * values_[layer][p][kv + d];
        }
      }
    }
    std::vector<double> out = Multiply(w.output, attended);
    AddBias(out, w.output_bias);
    return architecture_.post_norms ? Norm(out, w.attention_post_norm) : out;
  }

  std::vector<double> FeedForwardBranch(const LlmLayerWeights& w,
                                        const std::vector<double>& h) const {
    std::vector<double> gate = Multiply(w.gate, h);
    const std::vector<double> up = Multiply(w.up, h);
    for (size_t i = 0; i < gate.size(); ++i) {
      const double x = gate[i];
      const double inner = std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x);
      gate[i] = up[i] * (architecture_.activation == Activation::kGeluTanh
                             ? 0.5 * x * (1 + std::tanh(inner))
                             : x / (1 + std::exp(-x)));
    }
    const std::vector<double> out = Multiply(w.down, gate);
    return architecture_.post_norms ? Norm(out, w.ffn_post_norm) : out;
  }

  const LlmShape& shape_;
  const LlmWeights& weights_;
  const Architecture& architecture_;
  int position_ = 0;
  std::vector<std::vector<std::vector<double>>> keys_;  // [layers][positions][kv_dim]
  std::vector<std::vector<std::vector<double>>> values_;
};

}  // namespace baton
