#pragma once

#include <cmath>
#include <cstdint>
#include <random>
#include <vector>

#include "tests/fpga_kernels/naive_attention.h"

namespace baton::fpga {

// A decoder in doubles, with whatever keys and values it has met: what the kernels' logits are
// compared with. Knows nothing of integers.
struct DecoderShape {
  int dim = 64;
  int ffn_dim = 96;
  int heads = 4;
  int kv_heads = 2;
  int head_dim = 16;
  int layers = 2;
  int vocabulary = 100;
  bool rope_halves = true;
  bool biases = true;

  int qkv_rows() const { return (heads + 2 * kv_heads) * head_dim; }
};

struct NaiveDecoder {
  using Matrix = std::vector<float>;  // [rows, cols]
  struct Layer {
    std::vector<float> attention_norm, ffn_norm;    // [dim]
    Matrix qkv;                                     // [qkv_rows, dim]
    std::vector<float> qkv_bias;                    // [qkv_rows]
    Matrix output;                                  // [dim, heads * head_dim]
    Matrix gate_up;                                 // [2 * ffn_dim, dim]
    Matrix down;                                    // [dim, ffn_dim]
    std::vector<std::vector<double>> keys, values;  // of each kv head, [positions * head_dim]
  };

  explicit NaiveDecoder(const DecoderShape& shape, uint64_t seed) : s(shape) {
    std::mt19937_64 random(seed);
    const auto some = [&random](int64_t count, double mean, double deviation) {
      std::normal_distribution<float> normal(static_cast<float>(mean),
                                             static_cast<float>(deviation));
      std::vector<float> values(count);
      for (float& value : values) value = normal(random);
      return values;
    };
    const auto matrix = [&](int64_t rows, int64_t cols) {
      return some(rows * cols, 0, 1 / std::sqrt(static_cast<double>(cols)));
    };
    embedding = some(int64_t{s.vocabulary} * s.dim, 0, 1);
    for (int i = 0; i < s.layers; ++i) {
      Layer layer;
      layer.attention_norm = some(s.dim, 1, 0.2);
      layer.ffn_norm = some(s.dim, 1, 0.2);
      layer.qkv = matrix(s.qkv_rows(), s.dim);
      layer.qkv_bias = some(s.qkv_rows(), 0, s.biases ? 0.3 : 0);
      layer.output = matrix(s.dim, s.heads * s.head_dim);
      layer.gate_up = matrix(2 * s.ffn_dim, s.dim);
      layer.down = matrix(s.dim, s.ffn_dim);
      layer.keys.resize(s.kv_heads);
      layer.values.resize(s.kv_heads);
      layers.push_back(std::move(layer));
    }
    output_norm = some(s.dim, 2, 0.3);
    logits = matrix(s.vocabulary, s.dim);
  }

  static std::vector<double> Times(const Matrix& m, const std::vector<double>& x) {
    std::vector<double> y(m.size() / x.size());
    for (size_t row = 0; row < y.size(); ++row) {
      for (size_t col = 0; col < x.size(); ++col) y[row] += m[row * x.size() + col] * x[col];
    }
    return y;
  }
  std::vector<double> Norm(const std::vector<double>& x, const std::vector<float>& weights) const {
    double sum = 0;
    for (const double value : x) sum += value * value;
    std::vector<double> y(x);
    for (size_t i = 0; i < y.size(); ++i) {
      y[i] *= weights[i] / std::sqrt(sum / static_cast<double>(x.size()) + kEpsilon);
    }
    return y;
  }
  static double Frequency(int i, int head_dim) { return std::pow(10000.0, -2.0 * i / head_dim); }
  void Turn(double* head, int position) const {
    for (int i = 0; i < s.head_dim / 2; ++i) {
      double& a = head[s.rope_halves ? i : 2 * i];
      double& b = head[s.rope_halves ? i + s.head_dim / 2 : 2 * i + 1];
      const double angle = position * Frequency(i, s.head_dim);
      const double turned = a * std::cos(angle) - b * std::sin(angle);
      b = a * std::sin(angle) + b * std::cos(angle);
      a = turned;
    }
  }

  // The next token's logits, [vocabulary].
  std::vector<double> Step(int token) {
    std::vector<double> x(embedding.begin() + int64_t{token} * s.dim,
                          embedding.begin() + int64_t{token + 1} * s.dim);
    for (Layer& layer : layers) {
      std::vector<double> qkv = Times(layer.qkv, Norm(x, layer.attention_norm));
      for (size_t i = 0; i < qkv.size(); ++i) qkv[i] += layer.qkv_bias[i];
      for (int head = 0; head < s.heads + s.kv_heads; ++head) Turn(&qkv[head * s.head_dim], length);
      std::vector<double> attended;
      for (int head = 0; head < s.heads; ++head) {
        const int kv_head = head / (s.heads / s.kv_heads);
        if (head % (s.heads / s.kv_heads) == 0) {
          const auto key = qkv.begin() + (s.heads + kv_head) * s.head_dim;
          const auto value = key + s.kv_heads * s.head_dim;
          layer.keys[kv_head].insert(layer.keys[kv_head].end(), key, key + s.head_dim);
          layer.values[kv_head].insert(layer.values[kv_head].end(), value, value + s.head_dim);
        }
        const std::vector<double> query(qkv.begin() + head * s.head_dim,
                                        qkv.begin() + (head + 1) * s.head_dim);
        const std::vector<double> out = NaiveAttention(
            query, layer.keys[kv_head], layer.values[kv_head], 1 / std::sqrt(s.head_dim));
        attended.insert(attended.end(), out.begin(), out.end());
      }
      const std::vector<double> projected = Times(layer.output, attended);
      for (int i = 0; i < s.dim; ++i) x[i] += projected[i];
      std::vector<double> gate_up = Times(layer.gate_up, Norm(x, layer.ffn_norm));
      std::vector<double> gated(s.ffn_dim);
      for (int i = 0; i < s.ffn_dim; ++i) {
        gated[i] = gate_up[i] / (1 + std::exp(-gate_up[i])) * gate_up[s.ffn_dim + i];
      }
      const std::vector<double> down = Times(layer.down, gated);
      for (int i = 0; i < s.dim; ++i) x[i] += down[i];
    }
    ++length;
    return Times(logits, Norm(x, output_norm));
  }

  static constexpr double kEpsilon = 1e-5;
  const DecoderShape s;
  Matrix embedding;  // [vocabulary, dim]
  std::vector<Layer> layers;
  std::vector<float> output_norm;
  Matrix logits;  // [vocabulary, dim]
  int length = 0;
};

}  // namespace baton::fpga
